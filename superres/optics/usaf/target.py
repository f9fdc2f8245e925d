"""The USAF-1951 resolution target: its frequencies, where its bars lie, and a drawing of it at any sampling.

An element is two patterns of three bars, one lying and one standing; a bar is five times as long as wide, so that a
pattern is a square of 2.5 periods.  Element E of group G has 2^(G + (E − 1)/6) line pairs per millimetre
(MIL-STD-150A).  Two successive groups share a nest: the even group in the left column (its first element at the bottom
right), the odd one in the right column; the next nest, four times smaller, stands inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from superres.image import FloatArray

Bars = Literal["lying", "standing"]

BLOCK_PERIODS = 2.5
"""Side of a pattern: three bars and two gaps, each half a period; a bar is as long."""

ROW_GAP = 1.75
"""Space below a pattern in periods of it.  A real target (LAB-UMK's scan) has 1.65, a vector drawing of one 1.86; a
reader must not rely on it."""

NEST_STEP = 12
"""Elements of a nest, and how many of them later the next, four times finer nest begins."""

NEST_ORIGIN = (5.3, 6.66)
"""Where the nest inside begins, (y, x) in periods of the outer nest's first element; the scan and the drawing agree
within 0.1."""

NEST_SIZE = (14.3, 14.0)
"""(height, width) of a nest without its numerals, in periods of its first element."""

SQUARE = (0.0, 7.0, 2.27)
"""The filled square between the columns: (top, left, side) in the same unit."""


@dataclass(frozen=True, order=True)
class Element:
    """group: any integer, negative ones for coarse targets.  number: 1 … 6."""

    group: int
    number: int

    @classmethod
    def at(cls, index: int) -> Element:
        """The element that stands `index` steps of 2^(1/6) above group 0, element 1."""
        group, number = divmod(index, 6)
        return cls(group, number + 1)

    @property
    def index(self) -> int:
        return 6 * self.group + self.number - 1

    @property
    def frequency_cycles_per_mm(self) -> float:
        return float(2.0 ** (self.index / 6))

    @property
    def period_um(self) -> float:
        return 1000.0 / self.frequency_cycles_per_mm

    @property
    def label(self) -> str:
        return f"{self.group}/{self.number}"


@dataclass(frozen=True)
class LayoutPattern:
    """A pattern of a nest.

    step: 0 … 11, elements after the nest's first.  bars: "lying" bars modulate along y.  centre: (y, x) in periods of
    the first element, from the top left corner of the nest.  above: periods (in the same unit) of all patterns above it
    in its column: a row gap that is larger by d moves it down by d·above.
    """

    step: int
    bars: Bars
    centre: tuple[float, float]
    above: float


@dataclass(frozen=True)
class LayoutNumeral:
    """A numeral of a nest.  value: of the element, or for a group how many groups after the nest's first.

    centre, height: in periods of the first element.  above: as for the pattern that it stands beside.
    """

    kind: Literal["element", "group"]
    value: int
    centre: tuple[float, float]
    height: float
    above: float


@dataclass(frozen=True)
class PlacedPattern:
    """A pattern in an image or on an object.  centre: (y, x), period: both in the frame's unit (µm or px)."""

    element: Element
    bars: Bars
    centre: tuple[float, float]
    period: float


def nest_patterns() -> tuple[LayoutPattern, ...]:
    """The 24 patterns of a nest."""
    patterns = []
    tops, above = _column(range(1, 6))
    for step in range(1, 6):
        patterns += _beside(step, tops[step], 0.0, above[step], lying_first=True)
    bottom = tops[5] + BLOCK_PERIODS * _period(5)
    patterns += _beside(0, bottom - BLOCK_PERIODS, NEST_SIZE[1], above[5], lying_first=False)
    tops, above = _column(range(6, 12))
    for step in range(6, 12):
        patterns += _beside(step, tops[step], NEST_SIZE[1], above[step], lying_first=False)
    return tuple(patterns)


def nest_numerals() -> tuple[LayoutNumeral, ...]:
    """The numerals of a nest: elements beside their rows, groups above the columns and above the first element."""
    rows = {each.step: each for each in nest_patterns() if each.bars == "lying"}
    numerals = []
    for step in range(1, 6):
        # They stand on the line of the lowest bar.
        y = rows[step].centre[0] + BLOCK_PERIODS / 2 * _period(step) - 0.62
        numerals.append(LayoutNumeral("element", step + 1, (y, -0.92), 1.25, rows[step].above))
    for step in range(6, 12):
        centre = (rows[step].centre[0], NEST_SIZE[1] + 0.5)
        numerals.append(LayoutNumeral("element", step - 5, centre, 0.65, rows[step].above))
    first = rows[0]
    numerals.append(LayoutNumeral("element", 1, (first.centre[0] + 0.75, NEST_SIZE[1] + 0.75), 1.0, first.above))
    numerals.append(LayoutNumeral("group", 0, (first.centre[0] - 1.7, NEST_SIZE[1] + 1.2), 1.25, first.above))
    numerals.append(LayoutNumeral("group", 0, (-1.3, 2.9), 1.25, 0.0))
    numerals.append(LayoutNumeral("group", 1, (-1.3, NEST_SIZE[1] - 1.2), 1.25, 0.0))
    return tuple(numerals)


@dataclass(frozen=True)
class TargetSpec:
    """What is drawn.

    first_group: of the outermost nest, even.  nests: how many, each four times finer than the one around it.
    density: optical density of the dark parts (chrome: 3).  positive: dark bars on clear glass, or clear in chrome.
    margin_um: empty border.  numerals: draw them.  dust: specks of 0.3–1.5 µm density 0.3–1, placed at random.
    only_from: leave out elements coarser than this one (a target that shows its fine groups alone).
    """

    first_group: int = 8
    nests: int = 2
    density: float = 3.0
    positive: bool = True
    margin_um: float = 8.0
    numerals: bool = True
    dust: int = 0
    only_from: Element | None = None


@dataclass(frozen=True, eq=False)
class DrawnTarget:
    """transmittance: (H, W) float32 in [0, 1].  pitch_um: of its samples.  patterns: in µm from the outer corner."""

    transmittance: FloatArray
    pitch_um: float
    patterns: tuple[PlacedPattern, ...] = field(repr=False)


def draw_target(spec: TargetSpec, pitch_um: float, rng: np.random.Generator | None = None) -> DrawnTarget:
    """Draw a target.  The same spec, pitch and generator state give the same drawing.

    pitch_um: distance of samples; each sample is the mean over its square, so that edges lie where they should at any
    sampling.  rng: for dust only.
    Raises ValueError for an odd first group, no nest, or dust without a generator.
    """
    if spec.first_group % 2 or spec.nests < 1:
        raise ValueError(f"first group {spec.first_group}, {spec.nests} nests; expected an even group and >= 1 nest")
    if spec.dust and rng is None:
        raise ValueError("dust is placed at random; give a generator")
    unit = Element(spec.first_group, 1).period_um
    above, left, right = (2.2, 1.7, 1.6) if spec.numerals else (0.0, 0.0, 0.0)
    origin = (spec.margin_um + above * unit, spec.margin_um + left * unit)
    size = (origin[0] + NEST_SIZE[0] * unit + spec.margin_um,
            origin[1] + (NEST_SIZE[1] + right) * unit + spec.margin_um)
    canvas = np.zeros((math.ceil(size[0] / pitch_um), math.ceil(size[1] / pitch_um)), dtype=np.float32)
    patterns: list[PlacedPattern] = []
    for nest in range(spec.nests):
        patterns += _draw_nest(canvas, pitch_um, spec, nest, unit, origin)
        origin = (origin[0] + NEST_ORIGIN[0] * unit, origin[1] + NEST_ORIGIN[1] * unit)
        unit /= 4
    covered = canvas if spec.positive else 1 - canvas
    transmittance = 1 - covered * np.float32(1 - 10.0 ** -spec.density)
    if spec.dust and rng is not None:
        transmittance *= _dust(canvas.shape, pitch_um, spec.dust, rng)
    return DrawnTarget(np.asarray(transmittance, dtype=np.float32), pitch_um, tuple(patterns))


def bar_rectangles(pattern: PlacedPattern) -> tuple[tuple[float, float, float, float], ...]:
    """(top, left, height, width) of the three bars, in the pattern's unit."""
    period, (y, x) = pattern.period, pattern.centre
    long, thin = BLOCK_PERIODS * period, period / 2
    if pattern.bars == "lying":
        return tuple((y + k * period - thin / 2, x - long / 2, thin, long) for k in (-1, 0, 1))
    return tuple((y - long / 2, x + k * period - thin / 2, long, thin) for k in (-1, 0, 1))


def _period(step: int) -> float:
    return float(2.0 ** (-step / 6))


def _column(steps: range) -> tuple[dict[int, float], dict[int, float]]:
    """Top of each row, and the periods above it."""
    tops, above, top, total = {}, {}, 0.0, 0.0
    for step in steps:
        tops[step], above[step] = top, total
        top += (BLOCK_PERIODS + ROW_GAP) * _period(step)
        total += _period(step)
    return tops, above


def _beside(step: int, top: float, edge: float, above: float, *, lying_first: bool) -> list[LayoutPattern]:
    """The two patterns of an element, one period apart: lying bars at the outer edge of their column."""
    side, inward = BLOCK_PERIODS * _period(step), 1.0 if lying_first else -1.0
    y = top + side / 2
    lying = edge + inward * side / 2
    standing = lying + inward * (side + _period(step))
    return [LayoutPattern(step, "lying", (y, lying), above), LayoutPattern(step, "standing", (y, standing), above)]


def _draw_nest(canvas: FloatArray, pitch_um: float, spec: TargetSpec, nest: int, unit: float,
               origin: tuple[float, float]) -> list[PlacedPattern]:
    first = Element(spec.first_group + 2 * nest, 1).index
    least = spec.only_from.index if spec.only_from is not None else first
    placed = []
    for each in nest_patterns():
        if first + each.step < least:
            continue
        centre = (origin[0] + unit * each.centre[0], origin[1] + unit * each.centre[1])
        pattern = PlacedPattern(Element.at(first + each.step), each.bars, centre, unit * _period(each.step))
        for rectangle in bar_rectangles(pattern):
            _cover(canvas, pitch_um, rectangle)
        placed.append(pattern)
    if least <= first:
        top, left, side = (unit * value for value in SQUARE)
        _cover(canvas, pitch_um, (origin[0] + top, origin[1] + left, side, side))
    if spec.numerals:
        for numeral in nest_numerals():
            value = numeral.value + (spec.first_group + 2 * nest if numeral.kind == "group" else 0)
            if least <= first:
                centre = (origin[0] + unit * numeral.centre[0], origin[1] + unit * numeral.centre[1])
                _write(canvas, pitch_um, str(value), centre, unit * numeral.height)
    return placed


def _cover(canvas: FloatArray, pitch_um: float, rectangle: tuple[float, float, float, float]) -> None:
    """Add a rectangle's share of every sample's square."""
    shares = []
    for axis in (0, 1):
        start, length = rectangle[axis] / pitch_um, rectangle[axis + 2] / pitch_um
        first, last = max(int(start), 0), min(math.ceil(start + length), canvas.shape[axis])
        edges = np.arange(first, last)
        shares.append((first, np.clip(np.minimum(edges + 1, start + length) - np.maximum(edges, start), 0, 1)))
    (y, rows), (x, columns) = shares
    canvas[y:y + len(rows), x:x + len(columns)] += np.outer(rows, columns).astype(np.float32)


def digit_picture(text: str, height_px: int) -> FloatArray:
    """A numeral, (height_px, W) float32 coverage in [0, 1], in OpenCV's plain stroke font, cut to its ink."""
    scale, thickness = 8, 14
    big = np.zeros((40 * scale, 40 * scale * len(text)), dtype=np.uint8)
    cv2.putText(big, text, (4 * scale, 34 * scale), cv2.FONT_HERSHEY_SIMPLEX, 1.2 * scale, 255, 4 * thickness,
                cv2.LINE_AA)
    rows, columns = np.flatnonzero(big.any(axis=1)), np.flatnonzero(big.any(axis=0))
    ink = big[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].astype(np.float32) / 255
    width_px = max(1, round(ink.shape[1] * height_px / ink.shape[0]))
    return np.asarray(cv2.resize(ink, (width_px, max(1, height_px)), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _write(canvas: FloatArray, pitch_um: float, text: str, centre: tuple[float, float], height: float) -> None:
    ink = digit_picture(text, max(1, round(height / pitch_um)))
    top, left = (round(centre[axis] / pitch_um - ink.shape[axis] / 2) for axis in (0, 1))
    rows = slice(max(top, 0), min(top + ink.shape[0], canvas.shape[0]))
    columns = slice(max(left, 0), min(left + ink.shape[1], canvas.shape[1]))
    part = ink[rows.start - top:rows.stop - top, columns.start - left:columns.stop - left]
    canvas[rows, columns] = np.maximum(canvas[rows, columns], part)


def _dust(shape: Sequence[int], pitch_um: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Transmittance of round specks."""
    clear = np.ones((int(shape[0]), int(shape[1])), dtype=np.float32)
    for _ in range(count):
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        radius = rng.uniform(0.15, 0.75) / pitch_um
        density = rng.uniform(0.3, 1.0)
        rows = slice(max(int(y - 2 * radius), 0), int(y + 2 * radius) + 2)
        columns = slice(max(int(x - 2 * radius), 0), int(x + 2 * radius) + 2)
        yy, xx = np.mgrid[rows, columns][:, :shape[0], :shape[1]]
        part = clear[rows, columns]
        distance: npt.NDArray[np.float64] = np.hypot(yy[:part.shape[0], :part.shape[1]] - y,
                                                     xx[:part.shape[0], :part.shape[1]] - x)
        part *= (10.0 ** (-density * np.clip(radius + 0.5 - distance, 0, 1))).astype(np.float32)
    return clear
