"""The paper's loss, Eq. S4: mean squared error, and the energy of the output's gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from superres.api.loss import Loss
from superres.api.plugin import PluginOptions

if TYPE_CHECKING:
    from torch import nn


class MseGradientLoss(Loss):
    """mean((Y − Y_HR)²) + gradient_weight · mean(|∇Y|²), Rivenson et al., Optica 4, 1437 (2017), Eq. S4 and S5.

    ∇Y by Sobel kernels as they stand in Eq. S5 (not divided by 8), each colour by itself, over the (H − 2) × (W − 2)
    pixels whose neighbours all exist: padding would invent an edge around the patch.
    """

    name = "mse-gradient"
    summary = "the paper's loss: mean squared error + λ · energy of the output's gradient (Eq. S4)"

    class Options(PluginOptions):
        gradient_weight: float = Field(0.001, ge=0.0, le=1.0, description="λ of Eq. S4 (paper: 0.001)")

    def build(self) -> nn.Module:
        from superres.builtin.losses.gradient_penalty import MseWithGradientPenalty

        return MseWithGradientPenalty(self.options.gradient_weight)
