"""What a model promises: sizes, finite outputs, an exact halo, and a state that can be saved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from superres.testing.plugin import PluginContract

if TYPE_CHECKING:
    import torch
    from torch import nn


class ModelContract(PluginContract):
    """For subclasses of superres.api.Model."""

    sizes = ((8, 8), (9, 14), (23, 16))

    def build(self, model: Any, seed: int = 3) -> nn.Module:
        """The model's module with reproducible weights, in evaluation mode."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module: nn.Module = model.build()
        return module.eval()

    def images(self, model: Any, height: int, width: int, count: int = 1) -> torch.Tensor:
        import torch

        generator = torch.Generator().manual_seed(height * 1000 + width)
        return torch.rand(count, model.geometry.channels, height, width, generator=generator)

    @pytest.mark.parametrize("size", sizes)
    def test_output_is_ceil_of_l_times_input(self, size: tuple[int, int]) -> None:
        import torch

        model = self.make()
        with torch.inference_mode():
            output = self.build(model)(self.images(model, *size))
        scale = model.geometry.scale
        assert tuple(output.shape) == (
            1,
            model.geometry.channels,
            math.ceil(scale * size[0]),
            math.ceil(scale * size[1]),
        )
        assert tuple(output.shape[2:]) == model.geometry.output_shape(*size)
        assert output.dtype == torch.float32
        assert bool(torch.isfinite(output).all())

    def test_images_of_a_batch_do_not_mix(self) -> None:
        import torch

        model = self.make()
        module, batch = self.build(model), self.images(model, 12, 10, count=3)
        with torch.inference_mode():
            together = module(batch)
            alone = torch.cat([module(image[None]) for image in batch])
        # Convolution kernels may be chosen by batch size and sum in another order: rounding of float32.
        torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)

    def test_same_seed_same_weights(self) -> None:
        import torch

        model = self.make()
        first, second = self.build(model).state_dict(), self.build(model).state_dict()
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)

    def test_state_can_be_carried_to_a_fresh_module(self) -> None:
        import torch

        model = self.make()
        trained, fresh = self.build(model, seed=3), self.build(model, seed=4)
        fresh.load_state_dict({key: value.clone() for key, value in trained.state_dict().items()})
        image = self.images(model, 11, 9)
        with torch.inference_mode():
            assert torch.equal(trained(image), fresh(image))

    def test_halo_is_wide_enough(self) -> None:
        """Pixels farther than the halo from a cut do not feel what was cut away; the rule that exact tiling rests
        on."""
        import torch

        model = self.make()
        geometry = model.geometry
        if geometry.halo_px is None:
            return  # global context: the host never tiles such a model
        origin = geometry.origin_multiple * 2
        halo_top = -(-geometry.halo_px // geometry.origin_multiple) * geometry.origin_multiple
        core = 2 * geometry.down + 4
        side = origin + halo_top + core + geometry.halo_px + 7
        module, image = self.build(model), self.images(model, side, side)
        tile = image[
            :,
            :,
            origin : origin + halo_top + core + geometry.halo_px,
            origin : origin + halo_top + core + geometry.halo_px,
        ]
        with torch.inference_mode():
            whole, part = module(image), module(tile)
        scale = geometry.scale
        first, last = math.ceil(scale * (origin + halo_top)), math.floor(scale * (origin + halo_top + core))
        shift = int(scale * origin)
        expected = whole[:, :, first:last, first:last]
        seen = part[:, :, first - shift : last - shift, first - shift : last - shift]
        torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-4)

    def test_a_trainable_model_has_gradients_everywhere(self) -> None:
        import torch

        model = self.make()
        parameters = dict(self.build(model).named_parameters())
        if not model.trainable:
            assert not [name for name, value in parameters.items() if value.requires_grad]
            return
        module = self.build(model).train()
        module(self.images(model, 16, 16)).square().mean().backward()
        without = [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]
        assert parameters and not without, f"parameters without a gradient: {without}"
        assert all(bool(torch.isfinite(value.grad).all()) for value in module.parameters() if value.grad is not None)

    def test_input_is_untouched(self) -> None:
        import torch

        model = self.make()
        image = self.images(model, 10, 12)
        before = image.clone()
        with torch.inference_mode():
            self.build(model)(image)
        assert torch.equal(image, before)
