"""What a loss promises: a finite mean with a gradient, smaller for the truth than for something far from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from superres.testing.plugin import PluginContract

if TYPE_CHECKING:
    import torch


class LossContract(PluginContract):
    """For subclasses of superres.api.Loss."""

    def images(self, count: int = 2) -> torch.Tensor:
        """A smooth pattern in [0.2, 0.8], different in every image and channel."""
        import torch

        rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(25.0), indexing="ij")
        planes = [
            0.5 + 0.3 * torch.sin(0.3 * rows + 0.2 * (i + 1) * columns + channel)
            for i in range(count)
            for channel in range(3)
        ]
        return torch.stack(planes).reshape(count, 3, 20, 25)

    def test_is_a_finite_scalar(self) -> None:
        import torch

        truth = self.images()
        value = self.make().build()(truth + 0.1, truth)
        assert value.shape == () and bool(torch.isfinite(value))

    def test_is_a_mean_over_the_batch(self) -> None:
        import torch

        loss, truth = self.make().build(), self.images(1)
        prediction = truth.roll(3, dims=3)
        torch.testing.assert_close(
            loss(prediction.repeat(4, 1, 1, 1), truth.repeat(4, 1, 1, 1)), loss(prediction, truth), rtol=1e-4, atol=1e-7
        )

    def test_is_a_mean_over_the_pixels(self) -> None:
        """An image and its mirror images in a larger one cost what the image alone costs; a sum, four times as much.

        A factor of 1.5 is left for what windows and differences see at the borders, which are fewer.
        """
        loss, truth = self.make().build(), self.images(1)
        prediction = 0.8 * truth + 0.05
        alone, together = float(loss(prediction, truth)), float(loss(_mirrored(prediction), _mirrored(truth)))
        assert alone / 1.5 <= together <= alone * 1.5

    def test_prefers_the_truth_to_its_negative(self) -> None:
        loss, truth = self.make().build(), self.images()
        assert float(loss(truth, truth)) < float(loss(1 - truth, truth))

    def test_has_a_finite_gradient_even_at_the_truth(self) -> None:
        import torch

        truth = self.images()
        for prediction in (truth.clone(), truth + 0.2):
            prediction.requires_grad_(True)
            self.make().build()(prediction, truth).backward()
            assert prediction.grad is not None and bool(torch.isfinite(prediction.grad).all())

    def test_following_the_gradient_lowers_it(self) -> None:
        import torch

        loss, truth = self.make().build(), self.images()
        prediction = (truth + 0.2).requires_grad_(True)
        before = loss(prediction, truth)
        before.backward()
        assert prediction.grad is not None
        step = 1e-3 * prediction.grad / prediction.grad.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
        assert float(loss((prediction - step).detach(), truth)) < float(before.detach())

    def test_inputs_are_untouched(self) -> None:
        import torch

        truth = self.images()
        prediction = truth + 0.1
        before = prediction.clone(), truth.clone()
        self.make().build()(prediction, truth)
        assert torch.equal(prediction, before[0]) and torch.equal(truth, before[1])


def _mirrored(images: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) → (N, C, 2H, 2W), continuous where the four parts meet."""
    import torch

    wide = torch.cat([images, images.flip(3)], dim=3)
    return torch.cat([wide, wide.flip(2)], dim=2)
