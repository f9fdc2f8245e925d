"""Which test fields a report shows, and which part of each: the worst first, at their own pixels, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from superres.api.evaluator import Case, Picture, Score
from superres.image import Array, FloatArray
from superres.report.data import FieldView, Layer, Title

WORST = 6
"""Fields shown from the lower end; the median and the best follow."""

WINDOW_PX = 448
"""Side of the window shown, in fine pixels: at 0.074 µm it is 33 µm, at JPEG quality 88 about 80 kB a layer.  Shrinking
the whole field instead would hide exactly the difference that the reader wants to see."""

MEMORY = 24
"""Candidates held while the median is not known yet: about 2 MB each."""


class FieldSelection:
    """Chooses the worst, the median and the best of a stream of fields without holding all of them.

    Of more than MEMORY fields those farthest in rank from the worst, the median and the best are let go; the one shown
    as median says which rank it has in the end.
    """

    def __init__(self) -> None:
        self._goodness: list[float] = []
        self._held: list[tuple[float, int, FieldView]] = []
        self._unscored: list[FieldView] = []
        self._measure = ""

    def offer(self, ranking: Score | None, make: Callable[[], FieldView]) -> None:
        """Take in one field.

        ranking: the score by which fields are ordered, None if this one has none.  make: called only if it is kept.
        """
        if ranking is None:
            if len(self._unscored) < 3:
                self._unscored.append(make())
            return
        self._measure = ranking.name
        goodness = -ranking.value if ranking.better == "lower" else ranking.value
        order = len(self._goodness)
        self._goodness.append(goodness)
        ranked = sorted([*((g, o) for g, o, _ in self._held), (goodness, order)])
        dropped = self._superfluous(ranked)
        if dropped != order:
            self._held = [held for held in self._held if held[1] != dropped] + [(goodness, order, make())]

    def _superfluous(self, ranked: list[tuple[float, int]]) -> int | None:
        if len(ranked) <= MEMORY:
            return None
        everything = sorted(self._goodness)
        middle = (len(everything) - 1) / 2
        spare = ranked[WORST:-1]
        return max(spare, key=lambda item: abs(everything.index(item[0]) - middle))[1]

    def chosen(self) -> tuple[FieldView, ...]:
        """Worst first, then the median and the best; fields without a score if nothing has one."""
        if not self._held:
            return tuple(self._unscored)
        everything = sorted(self._goodness)
        total = len(everything)
        ranked = sorted(self._held, key=lambda held: held[:2])
        middle = (total - 1) / 2
        picked = dict.fromkeys(range(min(WORST, len(ranked))), "worst")
        # of two middle fields the better: the other may stand among the worst already
        median = min(reversed(range(len(ranked))), key=lambda index: abs(everything.index(ranked[index][0]) - middle))
        picked.setdefault(median, "median")
        picked.setdefault(len(ranked) - 1, "best")
        views = []
        for index, word in sorted(picked.items()):
            goodness, _, view = ranked[index]
            rank = everything.index(goodness) + 1
            exact = rank == 1 if word == "worst" else word == "best" or abs(rank - 1 - middle) <= 0.5
            place = f"{word if exact else f'number {rank} from the worst'} of {total} by {self._measure}"
            views.append(replace(view, place=place if total > 1 else "the only field"))
        return tuple(views)


def field_view(case: Case, scores: tuple[Score, ...], pictures: tuple[Picture, ...] = ()) -> FieldView:
    """Cut the window of a case in which its output is farthest from the truth (the middle, without truth).

    The window starts and ends on whole pixels of both grids, so that the coarse layer lies exactly under the fine ones.
    """
    top, left, height, width, scale = _window(case)
    coarse_top, coarse_left = int(top * scale), int(left * scale)
    fine_height, fine_width = int(height * scale), int(width * scale)

    def fine(title: Title, pixels: FloatArray) -> Layer:
        return Layer(title, to_uint8(pixels[coarse_top:coarse_top + fine_height, coarse_left:coarse_left + fine_width]))

    coarse = to_uint8(case.input.rgb()[top:top + height, left:left + width])
    layers = [Layer("input", coarse, pixelated=True), fine("bicubic", case.bicubic), fine("output", case.prediction)]
    if case.truth is not None:
        layers.append(fine("truth", case.truth))
    pitch = case.fine_pixel_size_um
    whole_height, whole_width = case.prediction.shape[:2]
    size = f"{whole_width * pitch:.1f} × {whole_height * pitch:.1f} µm"
    margin = max(whole_height - fine_height, whole_width - fine_width)
    if margin <= scale * scale.denominator:  # less than one common step of the two grids
        window = f"the whole field, {size}"
    else:
        choice = "in its middle" if case.truth is None else "where the output is farthest from the truth"
        window = f"{fine_width * pitch:.1f} × {fine_height * pitch:.1f} µm out of a field of {size}, {choice}"
    return FieldView(case.name, case.specimen, "", scores, tuple(layers), fine_width * pitch, window, pictures)


def _window(case: Case) -> tuple[int, int, int, int, Fraction]:
    """(top, left, height, width) in coarse pixels, on the steps that both grids share, and the scale."""
    scale = Fraction(case.input.pixel_size_um / case.fine_pixel_size_um).limit_denominator(8)
    step = scale.denominator
    rows, columns = (min(coarse, int(fine / scale)) for coarse, fine in
                     zip(case.input.shape_px, case.prediction.shape[:2], strict=True))
    height, width = _shared_side(rows, step, scale), _shared_side(columns, step, scale)
    if case.truth is None:
        distance = np.zeros(case.prediction.shape[:2], dtype=np.float64)
    else:
        distance = np.abs(case.prediction - case.truth).mean(axis=2, dtype=np.float64)
    table = np.pad(distance.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    middle = (rows - height) / 2, (columns - width) / 2
    best = (0, 0)
    best_key = (-1.0, 0.0)
    stride = step * 8
    for top in range(0, rows - height + 1, stride):
        for left in range(0, columns - width + 1, stride):
            y0, y1 = int(top * scale), int((top + height) * scale)
            x0, x1 = int(left * scale), int((left + width) * scale)
            total = float(table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0])
            key = (total, -abs(top - middle[0]) - abs(left - middle[1]))
            if key > best_key:
                best, best_key = (top, left), key
    return *best, height, width, scale


def _shared_side(side_px: int, step_px: int, scale: Fraction) -> int:
    side = min(side_px, int(WINDOW_PX / scale))
    return max(side - side % step_px, min(side_px, step_px))


def to_uint8(unit: FloatArray) -> Array:
    """Intensities in units of white as an 8-bit file would hold them."""
    return np.rint(np.clip(unit, 0.0, 1.0) * 255).astype(np.uint8)
