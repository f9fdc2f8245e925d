"""`superres mtf`: contrast against frequency of resolution targets and edges, several images in one plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from superres.errors import ImageError
from superres.image import FloatArray
from superres.optics.edge import EdgeTransfer, slanted_edge
from superres.optics.usaf.measure import ElementBars, ElementContrast, by_element, finest_resolved, measure_target
from superres.optics.usaf.reading import TargetReading, read_target
from superres.optics.usaf.target import Element
from superres.optics.usaf.triplets import Step
from superres.report.pages import Table

ABOVE_TRUTH = 0.05
"""Contrast: two measurements on noisy images of one target differ by less (each is within 0.05 of the noise-free one,
19 of 20 within 0.03)."""

CLIPPED = 0.01
"""Share of an edge's pixels at 0 or at white from which a side counts as clipped; hot pixels and dust stay below."""

SIZE_TOLERANCE = 0.1
"""Relative: farther apart, a stated pixel size and that of the target contradict each other."""


@dataclass(frozen=True, eq=False)
class TargetResult:
    """One image of a resolution target.  grey: its pixels, for the picture.  pixel_size_um: None where neither file nor
    target tells it.  contradiction: a sentence where the target says another pixel size than was stated, or "".
    input_cutoff_per_um: of an image that was computed from another one, the cut-off of the objective that took that
    other one: contrast beyond it was not in the light.  None for an image as it was taken."""

    name: str
    grey: FloatArray
    reading: TargetReading
    rows: tuple[ElementContrast, ...]
    pixel_size_um: float | None
    contradiction: str = ""
    input_cutoff_per_um: float | None = None

    @property
    def elements(self) -> tuple[ElementBars, ...]:
        return by_element(self.rows)

    @property
    def finest(self) -> ElementBars | None:
        """The finest element that is resolved; of a computed image none beyond what its input's objective passed."""
        if self.input_cutoff_per_um is None or self.pixel_size_um is None:
            return finest_resolved(self.rows)
        return finest_resolved(self.rows, self.input_cutoff_per_um * self.pixel_size_um)

    def points(self) -> list[tuple[float, float, bool]]:
        """(frequency, contrast, limited by sampling) of every element, mean of its two directions, 0 where one of them
        is lost.  Frequencies are in cycles/mm where the groups are known, else in cycles/px."""
        return [(each.element.frequency_cycles_per_mm if self.reading.absolute else each.frequency_cycles_per_px,
                 each.contrast, each.sampling_limited) for each in self.elements]


@dataclass(frozen=True, eq=False)
class NotMeasured:
    """What a computed image shows of a target that its input cannot have told.

    beyond: elements with contrast past the cut-off of the input's objective.  above: elements below it with more
    contrast than the truth has, each with the truth's.
    """

    beyond: tuple[ElementBars, ...] = ()
    above: tuple[tuple[ElementBars, float], ...] = ()

    def __contains__(self, element: Element) -> bool:
        return any(element == each.element for each in (*self.beyond, *(pair[0] for pair in self.above)))


def not_measured(result: TargetResult, truth: TargetResult | None) -> NotMeasured:
    """Nothing for an image as it was taken: its contrast is what it is."""
    if result.input_cutoff_per_um is None or result.pixel_size_um is None:
        return NotMeasured()
    cutoff = result.input_cutoff_per_um * result.pixel_size_um
    beyond = tuple(each for each in result.elements if each.frequency_cycles_per_px > cutoff
                   and any(row.measured.contrast > 0 for row in each.rows))
    known = {each.element: each.contrast for each in truth.elements} if truth else {}
    above = tuple((each, known[each.element]) for each in result.elements
                  if each.element in known and each.frequency_cycles_per_px <= cutoff
                  and each.contrast > known[each.element] + ABOVE_TRUTH)
    return NotMeasured(beyond, above)


@dataclass(frozen=True, eq=False)
class EdgeResult:
    """One image of an edge.  pixel_size_um: None where the file does not say; frequencies are then in cycles/px.
    clipped: share of its pixels at 0 or at white."""

    name: str
    grey: FloatArray
    transfer: EdgeTransfer
    pixel_size_um: float | None
    clipped: float = 0.0


def measure_target_at(name: str, grey: FloatArray, where: TargetResult) -> TargetResult:
    """Contrast at the places where the target lies in another image on the same grid, made from the same input."""
    return replace(where, name=name, grey=grey, rows=measure_target(grey, where.reading.patterns))


def measure_target_image(name: str, grey: FloatArray, pixel_size_um: float | None, first_group: int | None = None,
                         step: Step = lambda done, total: None) -> TargetResult:
    """step: hears (done, total) while the target is looked for.

    Raises ImageError, naming the image, where no target can be read.
    """
    try:
        reading = read_target(grey, pixel_size_um, first_group, step)
    except ImageError as error:
        raise ImageError(f"'{name}': {error.message}", hint=error.hint) from error
    return TargetResult(name, grey, reading, measure_target(grey, reading.patterns), reading.pixel_size_um
                        or pixel_size_um, _contradiction(name, reading, pixel_size_um))


def _contradiction(name: str, reading: TargetReading, stated_um: float | None) -> str:
    if stated_um is None or reading.pixel_size_um is None:
        return ""
    told, why = reading.pixel_size_um, "the bars are that far apart"
    if reading.numerals_apart:
        told *= 2.0 ** -reading.numerals_apart
        why = "its numerals and bars say so"
    if abs(math.log(told / stated_um)) <= math.log1p(SIZE_TOLERANCE):
        return ""
    return (f"The pixel size of {name} is stated as {stated_um:.4g} µm, its target says {told:.4g} µm ({why}): one of "
            "them is wrong, and the frequencies with it.")


def measure_edge_image(name: str, grey: FloatArray, pixel_size_um: float | None,
                       region: tuple[int, int, int, int] | None = None) -> EdgeResult:
    """grey: in units of white.  region: (top, left, height, width) px, None for the whole image.

    Raises ImageError where there is no edge.
    """
    part = grey
    if region is not None:
        top, left, height, width = region
        if min(region) < 0 or top + height > grey.shape[0] or left + width > grey.shape[1]:
            raise ImageError(f"region {region} leaves '{name}' of {grey.shape[0]} × {grey.shape[1]} px",
                             hint="give top,left,height,width in pixels")
        part = grey[top:top + height, left:left + width]
    try:
        clipped = float(np.mean((part <= 0) | (part >= 1)))
        return EdgeResult(name, part, slanted_edge(part), pixel_size_um, clipped)
    except ImageError as error:
        raise ImageError(f"'{name}': {error.message}", hint=error.hint) from error


def target_numbers(results: Sequence[TargetResult]) -> Table:
    """One line a pattern: everything that was measured."""
    rows = []
    for result in results:
        for row in result.rows:
            pattern, measured = row.pattern, row.measured
            absolute = result.reading.absolute
            rows.append([
                result.name, str(pattern.element.group) if absolute else f"+{pattern.element.group}",
                str(pattern.element.number), pattern.bars, f"{row.frequency_cycles_per_mm:.6g}" if absolute else "",
                f"{row.frequency_cycles_per_px:.6g}", f"{measured.contrast:.4f}", f"{measured.i_max:.4f}",
                f"{measured.i_min:.4f}", f"{measured.noise:.5f}", f"{pattern.place.period_length_px:.3f}",
                "yes" if measured.sampling_limited else "no", "yes" if pattern.detected else "no", measured.reason,
                f"{pattern.place.centre_px[0]:.2f}", f"{pattern.place.centre_px[1]:.2f}"])
    return Table(["image", "group", "element", "bars", "cycles_per_mm", "cycles_per_px", "contrast", "i_max", "i_min",
                  "noise_sd", "px_per_period", "sampling_limited", "bars_seen", "reason", "y_px", "x_px"], rows)


def edge_numbers(results: Sequence[EdgeResult]) -> Table:
    """One line a frequency of each edge's transfer."""
    rows = []
    for result in results:
        for frequency, value in zip(result.transfer.frequency, result.transfer.transfer, strict=True):
            per_um = f"{frequency / result.pixel_size_um:.5f}" if result.pixel_size_um else ""
            rows.append([result.name, f"{frequency:.5f}", per_um, f"{value:.5f}"])
    return Table(["image", "cycles_per_px", "cycles_per_um", "transfer"], rows)
