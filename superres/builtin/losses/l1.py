"""Mean absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from superres.api.loss import Loss

if TYPE_CHECKING:
    from torch import nn


class L1Loss(Loss):
    """Mean of |prediction − truth| over batch, channels and pixels."""

    name = "l1"
    summary = "mean absolute error"

    def build(self) -> nn.Module:
        from torch import nn

        return nn.L1Loss()
