"""The map of per-pixel percentage differences against the fine image (Fig. S7)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from superres.api.evaluator import Case, Picture
from superres.api.plugin import PluginOptions
from superres.builtin.evaluators.full_reference import FullReferenceEvaluator, Quantity
from superres.image import Array, FloatArray

PANEL_PX = 300
"""Longest side of one map in a picture: two maps and a colour bar stay under 700 px."""

DOTS_PER_INCH = 100
INK = "#222222"


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

    def measure(self, image: FloatArray, truth: FloatArray) -> tuple[float, ...]:
        percent = difference_percent(image, truth)
        return float(np.mean(percent, dtype=np.float64)), float(np.percentile(percent, 99.0))

    def illustrate(self, case: Case) -> tuple[Picture, ...]:
        """Maps of the model's output and of bicubic up-sampling side by side, on one colour scale."""
        if case.truth is None:
            return ()
        maps = [(label, difference_percent(image, case.truth))
                for label, image in (("output", case.prediction), ("bicubic", case.bicubic))]
        pictures = []
        for scale in self.options.scales_percent:
            pixels, block_px = _draw(maps, scale)
            beyond = "" if scale >= 100 else f"; larger differences look like {scale:g} %"
            averaged = f"; one dot of the map is the mean of {block_px} × {block_px} px" if block_px > 1 else ""
            pictures.append(Picture(
                title=f"Difference from the fine image, 0–{scale:g} %",
                caption=f"|output − fine image| in percent of white, mean of R, G and B{beyond}{averaged}.",
                pixels=pixels))
        return tuple(pictures)


def difference_percent(image: FloatArray, truth: FloatArray) -> FloatArray:
    """(H, W) float32 in percent of white, from two (H, W, 3) images in [0, 1]."""
    return np.asarray(100.0 * np.abs(image - truth).mean(axis=2), dtype=np.float32)


def block_mean(plane: FloatArray, block_px: int) -> FloatArray:
    """Means over blocks of block_px², the last row and column of blocks possibly smaller."""
    height, width = plane.shape
    rows, columns = np.arange(0, height, block_px), np.arange(0, width, block_px)
    sums = np.add.reduceat(np.add.reduceat(plane, rows, axis=0), columns, axis=1)
    counts = np.diff(np.append(rows, height))[:, None] * np.diff(np.append(columns, width))[None, :]
    return np.asarray(sums / counts, dtype=np.float32)


def _draw(maps: list[tuple[str, FloatArray]], scale_percent: float) -> tuple[Array, int]:
    """The maps in a row with a colour bar, as (H, W, 3) uint8, and how many pixels a side make one dot."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = max(maps[0][1].shape)
    block_px = -(-longest // PANEL_PX)
    enlarge = max(1, PANEL_PX // longest)  # a field of 60 dots would hardly be seen on the page
    dot = np.ones((enlarge, enlarge), dtype=np.float32)
    panels = [np.kron(block_mean(plane, block_px), dot) for _, plane in maps]
    height, width = panels[0].shape
    gap, head, foot, bar = 10, 26, 8, 62
    bar_height = max(height, 100)
    total_width, total_height = 2 * width + 3 * gap + bar, bar_height + head + foot
    figure = Figure(figsize=(total_width / DOTS_PER_INCH, total_height / DOTS_PER_INCH), dpi=DOTS_PER_INCH,
                    facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    colours = colormaps["inferno"]
    for index, ((label, plane), panel) in enumerate(zip(maps, panels, strict=True)):
        left = gap + index * (width + gap)
        figure.figimage(panel[::-1], xo=left, yo=foot, cmap=colours, vmin=0.0, vmax=scale_percent, origin="lower")
        figure.text(left / total_width, (foot + height + 7) / total_height, f"{label}, mean {plane.mean():.2f} %",
                    fontsize=8.5, color=INK)
    axes = figure.add_axes(((2 * width + 3 * gap) / total_width, foot / total_height,
                            12 / total_width, bar_height / total_height))
    axes.imshow(np.linspace(0, 1, 256)[:, None], cmap=colours, aspect="auto", origin="lower",
                extent=(0, 1, 0, scale_percent))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    ticks = np.linspace(0, scale_percent, 5)
    axes.set_yticks(ticks, [f"{tick:g} %" for tick in ticks], fontsize=7.5)
    axes.tick_params(length=2, pad=2, color=INK, labelcolor=INK)
    canvas.draw()
    return np.array(np.asarray(canvas.buffer_rgba())[:, :, :3]), block_px
