"""A small sub-pixel network for L = up/down, after Shi et al., CVPR 2016, doi:10.1109/CVPR.2016.207."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from superres.api import Geometry, Model, PluginOptions

if TYPE_CHECKING:
    from torch import nn


class EspcnModel(Model):
    """Three convolutions at the coarse pitch, a pixel shuffle, and a strided convolution down to L."""

    name = "template-espcn"
    summary = "ESPCN: three convolutions and a pixel shuffle"

    class Options(PluginOptions):
        width: int = Field(24, ge=4, le=128, description="channels of the hidden layers")
        up: int = Field(5, ge=1, le=8, description="up-sampling by the pixel shuffle")
        down: int = Field(2, ge=1, le=4, description="stride of the last convolution")

    @property
    def geometry(self) -> Geometry:
        # 2 + 1 + 1 coarse pixels for the three convolutions, and one more for the last, which reads fine neighbours.
        return Geometry(self.options.up, self.options.down, halo_px=5, origin_multiple=self.options.down)

    def build(self) -> nn.Module:
        from torch import nn

        width, up, down = self.options.width, self.options.up, self.options.down
        return nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 3 * up * up, 3, padding=1),
            nn.PixelShuffle(up),
            nn.Conv2d(3, 3, 3, stride=down, padding=1),
        )
