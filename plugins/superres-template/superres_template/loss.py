"""A loss that forgives outliers, after Charbonnier et al., ICIP 1994, doi:10.1109/ICIP.1994.413553."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from superres.api import Loss, PluginOptions

if TYPE_CHECKING:
    from torch import nn


class CharbonnierLoss(Loss):
    """Mean of sqrt(difference² + epsilon²)."""

    name = "template-charbonnier"
    summary = "a smooth absolute difference"

    class Options(PluginOptions):
        epsilon: float = Field(1e-3, gt=0, le=1, description="below this difference the loss is quadratic")

    def build(self) -> nn.Module:
        import torch

        epsilon = self.options.epsilon

        class Charbonnier(torch.nn.Module):
            def forward(self, prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
                return torch.sqrt((prediction - truth) ** 2 + epsilon**2).mean()

        return Charbonnier()
