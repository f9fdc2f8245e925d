"""Bicubic up-sampling as a model: the baseline, run through the same pipeline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from superres.api.model import Geometry, Model
from superres.api.plugin import PluginOptions

if TYPE_CHECKING:
    from torch import nn


class BicubicModel(Model):
    """Keys' cubic convolution (a = −0.5) at pixel centres, by exactly L = up/down: the numbers of
    `superres.resample`."""

    name = "bicubic"
    summary = "bicubic up-sampling (a = −0.5, exact scale), the baseline; nothing to train"
    trainable = False

    class Options(PluginOptions):
        up: int = Field(5, ge=1, le=8, description="L = up/down")
        down: int = Field(2, ge=1, le=4, description="L = up/down, at least 1")

        @model_validator(mode="after")
        def _enlarges(self) -> Self:
            if self.up < self.down:
                raise ValueError(f"up/down is {self.up}/{self.down}; expected up >= down")
            return self

    @property
    def geometry(self) -> Geometry:
        """The kernel reaches two input pixels; the phase of the output repeats every `origin_multiple` input pixels."""
        up, down = self.options.up, self.options.down
        return Geometry(up, down, channels=3, halo_px=2, origin_multiple=down // math.gcd(up, down))

    def build(self) -> nn.Module:
        """See `Model.build`; the module has no parameters."""
        from superres.builtin.models.bicubic_network import BicubicUpsampling

        return BicubicUpsampling(self.options.up, self.options.down)
