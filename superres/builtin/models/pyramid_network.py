"""The torch module of `rivenson2017`.  Imported when the network is built: this file imports torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_SD = 0.05
"""Supplement §3; the truncation at two standard deviations is that of the framework that the paper used."""


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1)
    nn.init.trunc_normal_(convolution.weight, mean=0.0, std=INITIAL_SD, a=-2 * INITIAL_SD, b=2 * INITIAL_SD)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


class PyramidBlock(nn.Module):
    """Eq. S1 with the shortcut's missing channels taken as zero: (N, inputs, H, W) → (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, grow: Literal["second", "first"]) -> None:
        super().__init__()
        middle = outputs if grow == "first" else inputs
        self.first = _convolution(inputs, middle)
        self.second = _convolution(middle, outputs)
        self.missing = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.second(functional.relu(self.first(x), inplace=True)), inplace=True)
        if torch.is_grad_enabled():
            # Autograd keeps y for the ReLU's derivative, so the sum needs memory of its own.
            return y + functional.pad(x, (0, 0, 0, 0, 0, self.missing)) if self.missing else y + x
        y[:, :x.shape[1]] += x
        return y


class PyramidNetwork(nn.Module):
    """(N, 3, H, W) → (N, 3, ceil(up·H/down), ceil(up·W/down)), see `Rivenson2017Model`.

    channels: A_0 … A_K.
    """

    def __init__(self, channels: Sequence[int], *, grow: Literal["second", "first"], up: int, down: int,
                 input_relu: bool) -> None:
        super().__init__()
        self.input = _convolution(3, channels[0])
        self.input_relu = input_relu
        self.blocks = nn.Sequential(*(PyramidBlock(inputs, outputs, grow)
                                      for inputs, outputs in itertools.pairwise(channels)))
        self.expand = _convolution(channels[-1], 3 * up * up)
        self.shuffle = nn.PixelShuffle(up)
        self.output = _convolution(3, 3, stride=down)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x)
        if self.input_relu:
            x = functional.relu(x, inplace=True)
        result: Tensor = self.output(self.shuffle(self.expand(self.blocks(x))))
        return result
