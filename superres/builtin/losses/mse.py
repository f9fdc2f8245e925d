"""Mean squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from superres.api.loss import Loss

if TYPE_CHECKING:
    from torch import nn


class MseLoss(Loss):
    """Mean of (prediction − truth)² over batch, channels and pixels: the first term of Eq. S4."""

    name = "mse"
    summary = "mean squared error"

    def build(self) -> nn.Module:
        from torch import nn

        return nn.MSELoss()
