"""The last two layers of the paper's network as one.

Between the convolution to 3·up² channels, the pixel shuffle and the strided convolution 3 → 3 nothing bends: together
they are one linear map of the features.  Every m × m coarse pixels, m = down/gcd(up, down), it makes s × s output
pixels, s = up/gcd(up, down), the same way: a convolution with stride m to 3·s² channels and a shuffle by s.  For
L = 5/2 that is 5×5 with stride 2 to 75 channels, 29,062 multiply-adds per coarse pixel instead of 42,356, and the fine
picture, 25 times the size of the coarse one, is never made.

It is exact but for the outermost output pixels: there the strided convolution reads zeros beyond the fine picture,
where the folded one reads what the first convolution would have made of the features' own zeros.  They are computed
anew from narrow strips of the features by the two layers themselves.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from superres.api.model import NativeSpec

STRIP_PX = 3
"""Coarse pixels that an outermost output pixel depends on: its own, one for the fine pixel beside it where up is 1, and
one for the first convolution."""


@dataclass(frozen=True, eq=False)
class FoldedTail:
    """weight: (3·s², C, K, K).  bias: (3·s²).  stride m, padding, shuffle s: as above.  up, down: of the network."""

    weight: Tensor
    bias: Tensor
    stride: int
    padding: int
    shuffle: int
    up: int
    down: int


@dataclass(frozen=True, eq=False)
class Strips:
    """Features (N, C, h, w) along the four edges: STRIP_PX wide or a little more, the last two from a multiple of the
    stride."""

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor


def is_worth_folding(spec: NativeSpec) -> bool:
    """Whether the folded form needs fewer multiply-adds: so for 5/2, not for 1/1."""
    up, down = int(spec.hyper["up"]), int(spec.hyper["down"])
    channels = int(spec.tensors["expand.weight"].shape[1])
    divisor = math.gcd(up, down)
    stride, shuffle = down // divisor, up // divisor
    side = _reach(up, down)[2]
    return channels * 3 * (shuffle * side) ** 2 / stride ** 2 < channels * 27 * up ** 2 + 81 * (up / down) ** 2


def fold(spec: NativeSpec) -> FoldedTail:
    """Multiply the two layers out, in float64."""
    up, down = int(spec.hyper["up"]), int(spec.hyper["down"])
    divisor = math.gcd(up, down)
    stride, shuffle = down // divisor, up // divisor
    before, _, side = _reach(up, down)
    first, first_bias, second, second_bias = (
        torch.tensor(spec.tensors[f"{name}.{part}"], dtype=torch.float64)
        for name in ("expand", "output") for part in ("weight", "bias"))
    weight = torch.zeros(3, shuffle, shuffle, first.shape[1], side, side, dtype=torch.float64)
    bias = second_bias[:, None, None].repeat(1, shuffle, shuffle)
    for i, j, tap_y, tap_x, colour in itertools.product(range(shuffle), range(shuffle), range(3), range(3), range(3)):
        # The fine pixel that this tap reads: its coarse pixel, and its place in it.
        (y, row), (x, column) = divmod(down * i + tap_y - 1, up), divmod(down * j + tap_x - 1, up)
        channel = (colour * up + row) * up + column
        factor = second[:, colour, tap_y, tap_x]
        top, left = y + before - 1, x + before - 1
        weight[:, i, j, :, top:top + 3, left:left + 3] += factor[:, None, None, None] * first[channel]
        bias[:, i, j] += factor * first_bias[channel]
    return FoldedTail(weight.reshape(3 * shuffle ** 2, -1, side, side).float(), bias.flatten().float(), stride, before,
                      shuffle, up, down)


def _reach(up: int, down: int) -> tuple[int, int, int]:
    """(coarse pixels before a block's first that it depends on, after it, the side of the kernel)."""
    divisor = math.gcd(up, down)
    last = down * (up // divisor - 1) + 1       # the last fine pixel that the block's last output reads
    before, after = 1 + 1, last // up + 1       # fine pixel −1 lies in coarse pixel −1; one more for the convolution
    return before, after, before + after + 1


class PlainTail(nn.Module):
    """The two layers themselves: (N, C, H, W) → (N, 3, ceil(L·H), ceil(L·W))."""

    def __init__(self, spec: NativeSpec) -> None:
        super().__init__()
        self.expand, self.output = convolution(spec, "expand"), convolution(spec, "output", int(spec.hyper["down"]))
        self.shuffle = nn.PixelShuffle(int(spec.hyper["up"]))

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.output(self.shuffle(self.expand(features)))
        return result


def convolution(spec: NativeSpec, name: str, stride: int = 1) -> nn.Conv2d:
    """A layer of the network, without gradients."""
    weight, bias = (torch.tensor(spec.tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
    # Initial values would be drawn from the global generator, which belongs to the embedding program.
    layer: nn.Conv2d = skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, weight.shape[1], weight.shape[0], 3, stride=stride, padding=1).requires_grad_(False)
    layer.weight.copy_(weight)
    assert layer.bias is not None
    layer.bias.copy_(bias)
    return layer


def strips_of(features: Tensor, stride: int) -> Strips:
    height, width = features.shape[2:]
    bottom, right = (max(0, length - STRIP_PX) // stride * stride for length in (height, width))
    return Strips(features[:, :, :STRIP_PX], features[:, :, bottom:], features[:, :, :, :STRIP_PX],
                  features[:, :, :, right:])


def mend_borders(output: Tensor, strips: Strips, tail: nn.Module) -> None:
    """Put the outermost pixels of a whole output right, in place."""
    output[:, :, :1] = tail(strips.top)[:, :, :1]
    output[:, :, -1:] = tail(strips.bottom)[:, :, -1:]
    output[:, :, :, :1] = tail(strips.left)[:, :, :, :1]
    output[:, :, :, -1:] = tail(strips.right)[:, :, :, -1:]


class FoldedNetwork(nn.Module):
    """The paper's network with its last two layers folded: (N, 3, H, W) → (N, 3, ceil(L·H), ceil(L·W)).  No gradients.
    """

    def __init__(self, spec: NativeSpec) -> None:
        super().__init__()
        self.folded = fold(spec)
        self.input = convolution(spec, "input")
        self.input_relu = bool(spec.hyper["input_relu"])
        self.blocks = nn.ModuleList(
            nn.ModuleList([convolution(spec, f"blocks.{k}.first"), convolution(spec, f"blocks.{k}.second")])
            for k in range(int(spec.hyper["blocks"])))
        self.tail = PlainTail(spec)
        self.register_buffer("weight", self.folded.weight)
        self.register_buffer("bias", self.folded.bias)

    def forward(self, image: Tensor) -> Tensor:
        x = self.input(image)
        if self.input_relu:
            x = functional.relu(x, inplace=True)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            y = functional.relu(block[1](functional.relu(block[0](x), inplace=True)), inplace=True)
            y[:, :x.shape[1]] += x
            x = y
        folded = self.folded
        # A last block that lies partly beyond the image may need more zeros below and right than above and left.
        more = [max(0, (-(-length // folded.stride) - 1) * folded.stride + self.weight.shape[2] - length  # type: ignore
                    - 2 * folded.padding) for length in (x.shape[3], x.shape[2])]
        wide = functional.pad(x, (0, more[0], 0, more[1])) if any(more) else x
        packed = functional.conv2d(wide, self.weight, self.bias, stride=folded.stride,  # type: ignore[arg-type]
                                   padding=folded.padding)
        height, width = (-(-length * folded.up // folded.down) for length in x.shape[2:])
        output = functional.pixel_shuffle(packed, folded.shuffle)[:, :, :height, :width]
        mend_borders(output, strips_of(x, folded.stride), self.tail)
        return output
