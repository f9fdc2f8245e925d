"""The torch module of `mse-gradient`.  Imported when the loss is built: this file imports torch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def sobel_energy(image: Tensor) -> Tensor:
    """Mean of (h * Y)² + (hᵀ * Y)², h of Eq. S5, over batch, channels and valid pixels.

    image: (N, C, H, W).  Returns a scalar; 0 for images under 3 × 3, which have no valid pixel.
    """
    if image.shape[2] < 3 or image.shape[3] < 3:
        return image.new_zeros(())
    # h = [1 2 1]ᵀ ⊗ [−1 0 1], a smoothing along one axis and a difference along the other: slices cost a third of a
    # grouped convolution on a CPU.
    down = image[:, :, :-2] + 2 * image[:, :, 1:-1] + image[:, :, 2:]
    across = image[:, :, :, :-2] + 2 * image[:, :, :, 1:-1] + image[:, :, :, 2:]
    horizontal = down[:, :, :, 2:] - down[:, :, :, :-2]
    vertical = across[:, :, 2:] - across[:, :, :-2]
    return horizontal.square().mean() + vertical.square().mean()


class MseWithGradientPenalty(nn.Module):
    """forward(prediction, truth), both (N, C, H, W) → scalar: Eq. S4."""

    def __init__(self, gradient_weight: float) -> None:
        super().__init__()
        self.gradient_weight = gradient_weight

    def forward(self, prediction: Tensor, truth: Tensor) -> Tensor:
        error = functional.mse_loss(prediction, truth)
        return error + self.gradient_weight * sobel_energy(prediction) if self.gradient_weight else error
