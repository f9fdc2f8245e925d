"""EDSR (Lim et al., CVPR workshops 2017, doi:10.1109/CVPRW.2017.151) for any L = up/down, over bicubic up-sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from superres.api import Geometry, Model, PluginOptions

if TYPE_CHECKING:
    from torch import nn


class EdsrModel(Model):
    """conv 3 → F; B blocks x + conv(relu(conv(x))) and one convolution more, with a shortcut around them all; conv F →
    3·up², pixel shuffle, conv 3 → 3 with stride `down`; plus the input up-sampled bicubically.

    Unlike the paper's network it need not learn to reproduce its input: it learns what bicubic up-sampling lacks, and
    is no worse than that from its first step.
    """

    name = "edsr"
    summary = "EDSR's residual body over bicubic up-sampling (387,231 parameters), L = up/down"

    class Options(PluginOptions):
        features: int = Field(48, ge=4, le=256, description="channels F of the body")
        blocks: int = Field(8, ge=1, le=64, description="residual blocks B")
        residual_scale: float = Field(1.0, gt=0, le=1, description="factor of each block; 0.1 steadies wide bodies")
        up: int = Field(5, ge=1, le=8, description="factor of the sub-pixel layer; L = up/down")
        down: int = Field(2, ge=1, le=4, description="stride of the output convolution; L = up/down, at least 1")

        @model_validator(mode="after")
        def _enlarges(self) -> EdsrModel.Options:
            if self.up < self.down:
                raise ValueError(f"up/down is {self.up}/{self.down}; expected up >= down")
            return self

    @property
    def geometry(self) -> Geometry:
        """Convolutions on the coarse grid: the first, two a block, one after them, one before the shuffle; the output
        convolution reads one coarse pixel more.  Bicubic interpolation sees 2 and is inside that."""
        up, down = self.options.up, self.options.down
        multiple = down // math.gcd(up, down)
        return Geometry(up, down, halo_px=2 * self.options.blocks + 4, origin_multiple=multiple)

    def build(self) -> nn.Module:
        """See `Model.build`.  The output convolution begins near 0: the network begins as bicubic up-sampling."""
        from superres_edsr.network import EdsrNetwork

        o = self.options
        return EdsrNetwork(o.features, o.blocks, o.residual_scale, o.up, o.down)
