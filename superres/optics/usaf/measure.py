"""All elements of a target that was read: contrast against frequency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superres.optics.usaf.contrast import BarContrast, ProfileNoise, measure_bars, spline_coefficients
from superres.optics.usaf.reading import FoundPattern


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


def finest_resolved(rows: Sequence[ElementContrast], bars: str | None = None) -> ElementContrast | None:
    """The finest element below which none of the measured patterns is lost; of one direction or of both."""
    best = None
    for row in sorted(rows, key=lambda each: each.pattern.element.index):
        if bars is not None and row.pattern.bars != bars:
            continue
        if row.measured.contrast == 0:
            return best
        best = row
    return best
