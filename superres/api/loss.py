"""Loss: what training minimises."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from superres.api.plugin import Kind, Plugin

if TYPE_CHECKING:
    from torch import nn


class Loss(Plugin):
    """A differentiable misfit.  A pipeline may list several; the host multiplies each by its section's `factor`."""

    kind: ClassVar[Kind] = "loss"

    @abstractmethod
    def build(self) -> nn.Module:
        """A module: forward(prediction, truth) → scalar tensor, the mean over batch, channels and pixels.

        Both (N, C, H, W) float32; truth in [0, 1], prediction not clamped.  The value is finite for finite input.
        """
