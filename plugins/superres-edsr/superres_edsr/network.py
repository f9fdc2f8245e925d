"""The torch module of `edsr`.  Imported when the network is built."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

FIRST_OUTPUT = 0.01
"""Share of its usual initial weights with which the output convolution begins."""


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


class ResidualBlock(nn.Module):
    """(N, F, H, W) → the same; no activation after the sum, no normalisation."""

    def __init__(self, features: int, scale: float) -> None:
        super().__init__()
        self.first, self.second, self.scale = convolution(features, features), convolution(features, features), scale

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x), inplace=True))
        return x + (y if self.scale == 1.0 else y * self.scale)


class EdsrNetwork(nn.Module):
    """(N, 3, H, W) → (N, 3, ceil(up·H/down), ceil(up·W/down)), see `EdsrModel`."""

    def __init__(self, features: int, blocks: int, scale: float, up: int, down: int) -> None:
        super().__init__()
        self.up, self.down = up, down
        self.input = convolution(3, features)
        self.blocks = nn.Sequential(*(ResidualBlock(features, scale) for _ in range(blocks)),
                                    convolution(features, features))
        self.expand = convolution(features, 3 * up * up)
        self.shuffle = nn.PixelShuffle(up)
        self.output = convolution(3, 3, stride=down)
        with torch.no_grad():
            self.output.weight.mul_(FIRST_OUTPUT)
            self.output.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        features = self.input(x)
        detail: Tensor = self.output(self.shuffle(self.expand(features + self.blocks(features))))
        return detail + enlarged(x, self.up, self.down)


def enlarged(x: Tensor, up: int, down: int) -> Tensor:
    """Bicubic interpolation by exactly up/down with pixel centres, ceil(up·H/down) × ceil(up·W/down).

    The input is continued by its border until its enlargement is whole, since `interpolate` keeps to a scale only where
    it need not round the size.
    """
    height, width = x.shape[2:]
    step = down // math.gcd(up, down)
    padded = functional.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
    scale = up / down
    result = functional.interpolate(padded, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    return result[:, :, :-(-up * height // down), :-(-up * width // down)]
