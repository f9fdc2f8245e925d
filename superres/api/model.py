"""Model: a recipe for a network.  The host moves, trains, saves, loads and tiles what it builds."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from superres.api.plugin import Kind, Plugin

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Geometry:
    """What the host must know to feed a network and to tile it exactly.

    up, down: L = up/down; an input of H × W gives ceil(L·H) × ceil(L·W).  channels: of input and output, always 3 (the
        host feeds single-channel images three times); kept because weights files state it.
    halo_px: the output depends on this many input pixels on each side; None for networks with global context, which
        are never tiled.
    origin_multiple: a tile must start at a multiple of this many input pixels (for a strided output layer: its stride);
        L times it is whole, since a tile's output must start at a whole pixel.
    Raises ValueError for numbers that break these rules.
    """

    up: int
    down: int
    channels: int = 3
    halo_px: int | None = 0
    origin_multiple: int = 1

    def __post_init__(self) -> None:
        if self.up < 1 or self.down < 1 or self.up < self.down:
            raise ValueError(f"scale {self.up}/{self.down}: expected up >= down >= 1")
        if self.halo_px is not None and self.halo_px < 0:
            raise ValueError(f"halo_px is {self.halo_px}; expected >= 0 or None")
        if self.origin_multiple < 1:
            raise ValueError(f"origin_multiple is {self.origin_multiple}; expected >= 1")
        step = self.scale.denominator
        if self.origin_multiple % step:
            raise ValueError(
                f"origin_multiple is {self.origin_multiple}, which is no whole number of output pixels at "
                f"L = {self.scale}; expected a multiple of {step}"
            )
        if self.channels != 3:
            raise ValueError(f"channels is {self.channels}; expected 3: the host gives every network RGB")

    @property
    def scale(self) -> Fraction:
        return Fraction(self.up, self.down)

    @property
    def patch_multiple_px(self) -> int:
        """Sides and distances of training patches are multiples of this many input pixels: patches start where tiles
        may, and their fine partners are whole."""
        return self.origin_multiple

    def output_shape(self, height: int, width: int) -> tuple[int, int]:
        """(ceil(L·height), ceil(L·width))."""
        return math.ceil(self.scale * height), math.ceil(self.scale * width)


@dataclass(frozen=True)
class NativeSpec:
    """A trained pyramidal residual network in the terms of libsuperres: architecture numbers and named fp32 tensors.

    architecture: the family that the compiled engine knows, "rivenson2017".  hyper: its integers.
    tensors: name → contiguous float32 numpy array, (out, in, 3, 3) or (out,).
    """

    architecture: str
    hyper: Mapping[str, int | str]
    tensors: Mapping[str, Any]


class Model(Plugin):
    """A super-resolution network, or a fixed up-sampler.

    trainable: False makes a run skip training and say so.
    """

    kind: ClassVar[Kind] = "model"
    trainable: ClassVar[bool] = True

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """Scale, channels, halo and origin multiple for these options."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A fresh module with initial weights drawn from torch's global generator (the host seeds it).

        forward: (N, C, H, W) float32 in [0, 1] → (N, C, ceil(L·H), ceil(L·W)), not clamped.
        Wherever a tile edge is no image edge, pixels farther than halo_px from it must not depend on what lies beyond.
        """

    def native(self, module: nn.Module) -> NativeSpec | None:
        """The compiled engine's form of a module made by `build`, or None where there is none."""
        return None
