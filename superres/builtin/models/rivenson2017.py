"""The paper's network: a pyramidal residual network with a sub-pixel layer and a strided output convolution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from superres.api.model import Geometry, Model, NativeSpec
from superres.api.plugin import PluginOptions

if TYPE_CHECKING:
    from torch import nn

MAX_CHANNELS = 256
"""Widest layer that the options allow, the sub-pixel layer's 3·up² (at most 192) aside: what the compiled engine
packs."""


def pyramid_channels(base_channels: int, blocks: int, alpha: int) -> tuple[int, ...]:
    """A_0 … A_K: channels before the first block and after each.

    Eq. S3: A_k = A_{k−1} + floor(α·k/K + ½), in integers.  The paper's 32, 5, 10 give 32, 34, 38, 44, 52, 62.
    """
    channels = [base_channels]
    for k in range(1, blocks + 1):
        channels.append(channels[-1] + (2 * alpha * k + blocks) // (2 * blocks))
    return tuple(channels)


class Rivenson2017Model(Model):
    """Rivenson et al., Optica 4, 1437 (2017), doi:10.1364/OPTICA.4.001437, supplement §1; here general in L = up/down.

    conv 3 → A_0; K blocks x + relu(conv(relu(conv(x)))), whose shortcut has zero channels appended; conv A_K → 3·up²;
    pixel shuffle ×up; conv 3 → 3 with stride `down`.  All kernels 3×3 with a symmetric zero padding of 1, so that every
    input size gives ceil(L·H) × ceil(L·W) with one constant phase.
    """

    name = "rivenson2017"
    summary = "the paper's pyramidal residual network (203,787 parameters), L = up/down"

    class Options(PluginOptions):
        base_channels: int = Field(32, ge=1, le=MAX_CHANNELS, description="channels after the input layer (A_0)")
        blocks: int = Field(5, ge=1, le=32, description="residual blocks, K of Eq. S3")
        alpha: int = Field(10, ge=0, le=MAX_CHANNELS, description="growth of the channels over the blocks, α of Eq. S3")
        grow: Literal["second", "first"] = Field("second", description="convolution of a block that grows the channels")
        up: int = Field(5, ge=1, le=8, description="factor of the sub-pixel layer; L = up/down")
        down: int = Field(2, ge=1, le=4, description="stride of the output convolution; L = up/down, at least 1")
        input_relu: bool = Field(False, description="a ReLU after the input convolution too")

        @model_validator(mode="after")
        def _sizes(self) -> Self:
            if self.up < self.down:
                raise ValueError(f"up/down is {self.up}/{self.down}; expected up >= down")
            widest = pyramid_channels(self.base_channels, self.blocks, self.alpha)[-1]
            if widest > MAX_CHANNELS:
                raise ValueError(f"the last block has {widest} channels; expected at most {MAX_CHANNELS}: "
                                 "lower base_channels, alpha or blocks")
            return self

    @property
    def geometry(self) -> Geometry:
        """Every convolution on the coarse grid sees one pixel further: 2·blocks + 2 of them; the output convolution
        reads at most one row of up-sampled pixels beyond, which belongs to one more coarse pixel.  13 for the paper's
        network.
        """
        up, down, halo_px = self.options.up, self.options.down, 2 * self.options.blocks + 3
        return Geometry(up, down, channels=3, halo_px=halo_px, origin_multiple=down // math.gcd(up, down))

    @property
    def channels(self) -> tuple[int, ...]:
        """A_0 … A_K."""
        return pyramid_channels(self.options.base_channels, self.options.blocks, self.options.alpha)

    def build(self) -> nn.Module:
        """See `Model.build`.  Kernels: normal, sd 0.05, cut at 2 sd; biases 0."""
        from superres.builtin.models.pyramid_network import PyramidNetwork

        return PyramidNetwork(self.channels, grow=self.options.grow, up=self.options.up, down=self.options.down,
                              input_relu=self.options.input_relu)

    def native(self, module: nn.Module) -> NativeSpec:
        """See `Model.native`.  Tensors are named input, blocks.k.first, blocks.k.second, expand and output, each with
        `.weight` (out, in, 3, 3) and `.bias` (out,); channel c·up² + i·up + j of `expand` is row i, column j of colour
        c.
        """
        options = self.options
        hyper: dict[str, int | str] = {
            "base_channels": options.base_channels, "blocks": options.blocks, "alpha": options.alpha,
            "grow": options.grow, "up": options.up, "down": options.down, "input_relu": int(options.input_relu)}
        tensors = {name: np.ascontiguousarray(tensor.detach().float().cpu().numpy())
                   for name, tensor in module.state_dict().items()}
        return NativeSpec("rivenson2017", hyper, tensors)
