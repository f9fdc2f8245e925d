"""Evaluator `mtf`: contrast of a resolution target's elements, as the supplement's §6 measures it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from superres.api.evaluator import Case, Picture
from superres.api.plugin import PluginOptions
from superres.builtin.evaluators.case_mean import CaseMeanEvaluator, Quantity
from superres.builtin.evaluators.pictures import COLOURS, draw_curves
from superres.errors import ImageError
from superres.image import luma
from superres.optics import PAPER_COARSE
from superres.optics.transfer import weak_object_transfer
from superres.optics.usaf.measure import ElementContrast, by_element, finest_resolved, measure_target
from superres.optics.usaf.reading import TargetReading, read_target


class MtfEvaluator(CaseMeanEvaluator):
    """For fields that show a USAF-1951 target: contrast by element, of output and bicubic at the same places.

    "mtf-finest": frequency of the finest element before the first one that is lost in a direction, at most the coarse
    objective's cut-off; "mtf-contrast": mean contrast of all elements in the field.  Neither has a better side: more
    contrast than the truth has is not better.
    The target is found in the truth where there is one, else in the output.
    """

    name = "mtf"
    summary = "contrast of a USAF-1951 target by frequency, for fields that show one"
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("mtf-finest", "cycles/mm", "neither"), Quantity("mtf-contrast", "", "neither"))

    class Options(PluginOptions):
        bar_share: float = Field(0.85, ge=0.3, le=1.0, description="part of a bar's length that is averaged (paper: "
                                                                  "0.8–0.9)")

    def update(self, case: Case) -> None:
        try:
            reading = self._reading(case)
        except ImageError as reason:
            self.leave_out(f"'{case.name}' is not scored: {reason.message}")
            return
        model, bicubic = (self._measured(image, reading) for image in (case.prediction, case.bicubic))
        finest = [_finest_per_mm(rows, case) for rows in (model, bicubic)]
        mean = [float(np.mean([row.measured.contrast for row in rows])) for rows in (model, bicubic)]
        self.record((finest[0], finest[1]), (mean[0], mean[1]))

    def illustrate(self, case: Case) -> tuple[Picture, ...]:
        try:
            reading = self._reading(case)
        except ImageError:
            return ()
        images = {"bicubic": case.bicubic, "output": case.prediction, "truth": case.truth}
        coarse = case.coarse or PAPER_COARSE

        def draw(axes: Any) -> None:
            for title, image in images.items():
                if image is not None:
                    points = by_frequency(self._measured(image, reading), case.fine_pixel_size_um)
                    axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=COLOURS[title], label=title)
            frequency = np.linspace(0, 1.1 * coarse.cutoff_cycles_per_um, 200)
            axes.plot(1000 * frequency, weak_object_transfer(frequency, coarse), color="#8a9199", linewidth=1,
                      linestyle=(0, (4, 3)), label="sine MTF, coarse objective")
            axes.axvline(1000 * coarse.cutoff_cycles_per_um, color="#8a9199", linewidth=1)
            axes.set_xlabel("cycles/mm", fontsize=9)
            axes.set_title("contrast of three bars", loc="left", fontsize=9)

        return (Picture("Contrast of the resolution target",
                        "(Imax − Imin)/(Imax + Imin) of each element, mean of lying and standing bars; 0: not at its "
                        "place or not above the noise. Bars are not sines: the dashed curve is no expectation.",
                        draw_curves(draw)),)

    def _reading(self, case: Case) -> TargetReading:
        return read_target(luma(case.truth if case.truth is not None else case.prediction), case.fine_pixel_size_um)

    def _measured(self, image: Any, reading: TargetReading) -> tuple[ElementContrast, ...]:
        return measure_target(luma(image), reading.patterns, self.options.bar_share)


def by_frequency(rows: Sequence[ElementContrast], pixel_size_um: float) -> list[tuple[float, float]]:
    """(cycles/mm, contrast), one point an element: the mean of its directions, 0 where one of them is lost."""
    return [(1000 * each.frequency_cycles_per_px / pixel_size_um, each.contrast) for each in by_element(rows)]


def _finest_per_mm(rows: Sequence[ElementContrast], case: Case) -> float:
    """Both images were computed from the coarse one: beyond its objective's cut-off, where known, nothing was seen."""
    cutoff = case.coarse.cutoff_cycles_per_um * case.fine_pixel_size_um if case.coarse else math.inf
    finest = finest_resolved(rows, cutoff)
    return 1000 * finest.frequency_cycles_per_px / case.fine_pixel_size_um if finest is not None else 0.0
