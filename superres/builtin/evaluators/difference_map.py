"""The map of per-pixel percentage differences against the fine image (Fig. S7)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from superres.api.evaluator import Case, Picture
from superres.api.plugin import PluginOptions
from superres.builtin.evaluators.case_mean import Quantity
from superres.builtin.evaluators.full_reference import FullReferenceEvaluator
from superres.builtin.evaluators.pictures import LabelledMap, draw_curves, draw_maps
from superres.image import Array, FloatArray

CLEAR = 0.9
"""Brightness of the truth from which a pixel counts as clear glass rather than tissue."""


class DifferenceMapEvaluator(FullReferenceEvaluator):
    """100·|image − truth|/white at every pixel, averaged over R, G and B.

    The supplement calls it "percentage of the pixel-level differences" with a colour bar of 0–100 % and gives no
    formula.  Dividing by white keeps every pixel between 0 and 100 %, as that colour bar does.  The alternative
    reading, dividing by the truth's own value, has no upper end and would be ruled by the noise of the darkest pixels.
    Scores: the mean, and the mean over images of the 99th percentile of an image's map (how bad its worst spots are).
    """

    name = "difference-map"
    summary = "per-pixel difference in percent of white, with maps (Fig. S7)"
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("difference-mean", "%", "lower"), Quantity("difference-p99", "%", "lower"))

    class Options(PluginOptions):
        scales_percent: tuple[Annotated[float, Field(gt=0.0, le=100.0)], ...] = Field(
            (100.0, 20.0), min_length=1, max_length=4,
            description="upper ends of the colour bars in % of white, one picture each (paper: 100)")
        regions: int = Field(3, ge=0, le=8, description="side of the grid of regions with their own numbers; 0: none")

    def measure(self, image: FloatArray, truth: FloatArray) -> tuple[float, ...]:
        percent = difference_percent(image, truth)
        return float(np.mean(percent, dtype=np.float64)), float(np.percentile(percent, 99.0))

    def illustrate(self, case: Case) -> tuple[Picture, ...]:
        """Maps of the model's output and of bicubic up-sampling side by side, on one colour scale."""
        if case.truth is None:
            return ()
        maps = [LabelledMap(f"{label}, mean {plane.mean():.2f} %", plane) for label, plane in (
            (label, difference_percent(image, case.truth))
            for label, image in (("output", case.prediction), ("bicubic", case.bicubic)))]
        pictures = []
        for scale in self.options.scales_percent:
            pixels, block_px = draw_maps(maps, scale, "%")
            beyond = "" if scale >= 100 else f"; larger differences look like {scale:g} %"
            averaged = f"; one dot of the map is the mean of {block_px} × {block_px} px" if block_px > 1 else ""
            pictures.append(Picture(
                title=f"Difference from the fine image, 0–{scale:g} %",
                caption=f"|output − fine image| in percent of white, mean of R, G and B{beyond}{averaged}.",
                pixels=pixels))
        return (*pictures, *self._regions(case, maps[0].plane))

    def _regions(self, case: Case, output: FloatArray) -> tuple[Picture, ...]:
        """Where in the field, and on what, the differences lie."""
        if self.options.regions == 0 or case.truth is None:
            return ()
        table = region_statistics(output, self.options.regions)
        brightness = case.truth.mean(axis=2)
        kinds = (("tissue", output[brightness < CLEAR]), ("clear", output[brightness >= CLEAR]))
        by_kind = ", ".join(f"{name} ({part.size / output.size:.0%} of the field) mean {part.mean():.2f} %, "
                            f"99th percentile {np.percentile(part, 99):.1f} %" for name, part in kinds if part.size)
        return (Picture(
            title=f"Difference by region, {self.options.regions} × {self.options.regions}",
            caption=f"Mean of each region of the output's map and, in brackets, its 99th percentile. {by_kind}; clear "
                    f"is what the fine image shows brighter than {CLEAR:.0%} of white.",
            pixels=_draw_regions(output, table)),)


@dataclass(frozen=True)
class RegionStatistics:
    """One region of a field.  box: (top, left, height, width) px.  mean, p99: of the map there, in % of white."""

    box: tuple[int, int, int, int]
    mean: float
    p99: float


def region_statistics(percent: FloatArray, side: int) -> tuple[RegionStatistics, ...]:
    """The map's statistics on a grid of side × side regions (fewer where the field has fewer pixels), row by row."""
    rows, columns = (np.unique(np.linspace(0, count, side + 1).round().astype(int)) for count in percent.shape)
    found = []
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            part = percent[top:bottom, left:right]
            found.append(RegionStatistics((int(top), int(left), int(bottom - top), int(right - left)),
                                          float(part.mean(dtype=np.float64)), float(np.percentile(part, 99))))
    return tuple(found)


def _draw_regions(percent: FloatArray, table: tuple[RegionStatistics, ...]) -> Array:
    height, width = percent.shape
    top = max(float(np.percentile(percent, 99.5)), 1e-3)

    def draw(axes: Any) -> None:
        axes.imshow(percent, cmap="inferno", vmin=0, vmax=top, aspect="equal", extent=(0, width, height, 0))
        for each in table:
            y, x, tall, wide = each.box
            axes.text(x + wide / 2, y + tall / 2, f"{each.mean:.1f} %\n({each.p99:.0f})", ha="center", va="center",
                      fontsize=8, color="white", bbox={"facecolor": "black", "alpha": 0.5, "pad": 1.5, "linewidth": 0})
            axes.plot([x, x + wide, x + wide, x, x], [y, y, y + tall, y + tall, y], color="white", linewidth=0.6)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title("output", loc="left", fontsize=9)
        axes.grid(False)
        axes.set_position((0.03, 0.05, 0.8, 0.88))  # no labels at the left; the colour bar's at the right
        bar = axes.inset_axes((1.03, 0.0, 0.045, 1.0))
        bar.imshow(np.linspace(0, 1, 256)[:, None], cmap="inferno", aspect="auto", origin="lower",
                   extent=(0, 1, 0, top))
        bar.set_xticks([])
        bar.yaxis.tick_right()
        ticks = np.linspace(0, top, 5)
        bar.set_yticks(ticks, [f"{tick:.2g} %" for tick in ticks], fontsize=8)

    return draw_curves(draw, 420, min(620, max(200, round(420 * height / width))))


def difference_percent(image: FloatArray, truth: FloatArray) -> FloatArray:
    """(H, W) float32 in percent of white, from two (H, W, 3) images in [0, 1]."""
    return np.asarray(100.0 * np.abs(image - truth).mean(axis=2), dtype=np.float32)
