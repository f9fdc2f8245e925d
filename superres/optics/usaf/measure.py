"""All elements of a target that was read: contrast against frequency."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superres.optics.usaf.contrast import BarContrast, ProfileNoise, measure_bars, spline_coefficients
from superres.optics.usaf.reading import FoundPattern
from superres.optics.usaf.target import Element


@dataclass(frozen=True, eq=False)
class ElementContrast:
    """What was measured on one pattern.  frequency: cycles/px in the image that was measured."""

    pattern: FoundPattern
    measured: BarContrast

    @property
    def frequency_cycles_per_px(self) -> float:
        return 1 / self.pattern.place.period_length_px

    @property
    def frequency_cycles_per_mm(self) -> float:
        """By the target's definition; right only where groups are absolute."""
        return self.pattern.element.frequency_cycles_per_mm


def measure_target(plane: npt.NDArray[np.floating], patterns: Iterable[FoundPattern], share: float = 0.85
                   ) -> tuple[ElementContrast, ...]:
    """Contrast of every pattern in an image, but of those that are not there.

    A pattern whose bars were not seen apart although finer ones were, and that shows no contrast, is missing from the
    target, covered or damaged: it is left out, since 0 would say that the objective lost it.

    plane: (H, W) linear intensities, 0 where there is no light.  patterns: of a reading of this image.  share: see
    `measure_bars`.
    """
    coefficients, noise = spline_coefficients(plane), ProfileNoise(np.asarray(plane, dtype=np.float64))
    patterns = tuple(patterns)
    finest = {bars: max((each.element.index for each in patterns if each.detected and each.bars == bars), default=-999)
              for bars in ("lying", "standing")}
    rows = (ElementContrast(each, measure_bars(coefficients, each.place, noise, share)) for each in patterns)
    return tuple(row for row in rows if row.pattern.detected or row.measured.contrast > 0
                 or row.pattern.element.index > finest[row.pattern.bars])


@dataclass(frozen=True, eq=False)
class ElementBars:
    """The directions of one element that were measured: one row, or a lying and a standing one.

    contrast: their mean; 0 where one of them is lost, since an element is resolved in both directions or not at all.
    """

    element: Element
    rows: tuple[ElementContrast, ...]

    @property
    def frequency_cycles_per_px(self) -> float:
        return float(np.mean([row.frequency_cycles_per_px for row in self.rows]))

    @property
    def contrast(self) -> float:
        return 0.0 if self.lost else float(np.mean([row.measured.contrast for row in self.rows]))

    @property
    def lost(self) -> bool:
        return any(row.measured.contrast == 0 for row in self.rows)

    @property
    def lost_in_part(self) -> bool:
        return self.lost and any(row.measured.contrast > 0 for row in self.rows)

    @property
    def sampling_limited(self) -> bool:
        return any(row.measured.sampling_limited for row in self.rows)


def by_element(rows: Iterable[ElementContrast]) -> tuple[ElementBars, ...]:
    """Coarse elements first; of each the lying bars before the standing ones."""
    found: dict[Element, list[ElementContrast]] = {}
    for row in sorted(rows, key=lambda each: (each.pattern.element.index, each.pattern.bars)):
        found.setdefault(row.pattern.element, []).append(row)
    return tuple(ElementBars(element, tuple(some)) for element, some in found.items())


def finest_resolved(rows: Iterable[ElementContrast], cutoff_cycles_per_px: float = math.inf) -> ElementBars | None:
    """The finest element up to which all are resolved in every direction that was measured.

    cutoff_cycles_per_px: of the objective whose light is in the image.  What a network draws beyond it was not seen
    and is not counted.
    """
    best = None
    for each in by_element(rows):
        if each.lost or each.frequency_cycles_per_px > cutoff_cycles_per_px:
            return best
        best = each
    return best
