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

    def exact(self, model: Any) -> nn.Module:
        """The module in float64, with some noise on every parameter that can be trained.

        In float64 rounding is far smaller than what the last pixel of a halo contributes; the noise wakes layers that
        begin as zero or as the identity, whose training would widen what the network sees.
        """
        import torch

        module = self.build(model).double()
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for value in module.parameters():
                if value.requires_grad:
                    value.add_(torch.randn(value.shape, generator=generator, dtype=torch.float64), alpha=0.02)
        return module

    def test_nothing_beyond_the_halo_is_felt(self) -> None:
        """The gradient of what a tile keeps, with respect to its input, is exactly zero beyond the halo.

        Runs the module in float64 (`.double()`): derive constants of a module from its input or register them as
        buffers.
        """
        import torch

        model = self.make()
        geometry = model.geometry
        if geometry.halo_px is None:
            return  # global context: the host never tiles such a model
        halo, multiple = geometry.halo_px, geometry.origin_multiple
        start = multiple * (halo // multiple + 2)
        stop = start + 2 * multiple
        module = self.exact(model)
        image = self.images(model, stop + halo + multiple + 3, stop + halo + multiple + 3).double().requires_grad_(True)
        output = module(image.clone())
        if not output.requires_grad:
            return  # computed outside autograd: only the tiles of the next test can judge it
        first, last = int(geometry.scale * start), int(geometry.scale * stop)
        kept = output[:, :, first:last, first:last]
        weights = torch.rand(kept.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        (kept * weights).sum().backward()
        assert image.grad is not None
        felt = image.grad[0].abs().sum(dim=0)
        assert bool(felt.any()), "the output does not depend on the input"
        places = felt.nonzero()  # (n, 2), the same cut in both axes
        reach = max(start - int(places.min()), int(places.max()) + 1 - stop)
        assert reach <= halo, f"the output feels at least {reach} input pixels beyond a core; halo_px is {halo}"

    def test_a_tile_gives_what_the_whole_gives(self) -> None:
        """Cut as the host cuts: from multiples of origin_multiple, with the halo around what is kept; in float64."""
        import torch

        model = self.make()
        geometry = model.geometry
        if geometry.halo_px is None:
            return
        scale, multiple, halo = geometry.scale, geometry.origin_multiple, geometry.halo_px
        assert (scale * multiple).denominator == 1, (
            f"a tile that starts at pixel {multiple} starts at output pixel {scale * multiple}, which is none: "
            f"origin_multiple must be a multiple of {scale.denominator}"
        )
        margin, core = -(-halo // multiple) * multiple, 2 * multiple
        side = 3 * multiple + margin + core + halo + 2
        module, image = self.exact(model), self.images(model, side, side).double()
        with torch.inference_mode():
            whole = module(image)
            tolerance = 1e4 * torch.finfo(whole.dtype).eps * float(whole.abs().max())
            for origin in (multiple, 2 * multiple, 3 * multiple):
                end = origin + margin + core + halo
                part = module(image[:, :, origin:end, origin:end])
                first, last, shift = (int(scale * at) for at in (origin + margin, origin + margin + core, origin))
                expected = whole[:, :, first:last, first:last]
                seen = part[:, :, first - shift : last - shift, first - shift : last - shift]
                # Sums of other shapes may be taken in another order: a few roundings, of 2e-16 each.
                error = float((seen - expected).abs().max())
                assert error <= tolerance, f"a tile from pixel {origin} is {error:.2g} off, rounding {tolerance:.2g}"

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
        before, version = image.clone(), image._version
        with torch.no_grad():
            self.build(model)(image)
        assert torch.equal(image, before)
        # Torch counts the writes to a tensor: one that changes nothing here (a clamp to [0, 1]) does elsewhere.
        assert image._version == version, "the input is written to in place"
