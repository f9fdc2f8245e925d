"""The report's curves and histograms as inline SVG, and the comparison strip for a README.

matplotlib is used through its objects, never through pyplot: nothing global is left behind.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from superres.image import Array
from superres.report.data import Layer, TrainingView

INK = "#010203"
"""Stands for the page's text colour: `svg_of` puts currentColor in its place, so that figures follow light and dark."""

MODEL_COLOUR = "#2a8fa3"
SECOND_COLOUR = "#c9772e"
GREY = "#8a9199"


def svg_of(figure: Figure, name: str) -> str:
    """A figure as an <svg> element for HTML, the same bytes for the same figure.

    name: unique on the page; clip paths are named after it.  Text stays text, in the page's font.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(stream, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = stream.getvalue()
    svg = text[text.index("<svg"):]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)  # HTML knows them, and the file then names no outside address
    svg = re.sub(r'^<svg ([^>]*?)(?:width|height)="[^"]*"', r"<svg \1", svg)
    svg = re.sub(r"font: [^;\"]*px [^;\"]*", _font, svg)
    return svg.replace(INK, "currentColor").strip()


def _font(match: re.Match[str]) -> str:
    size = re.search(r"[\d.]+px", match[0])
    return f"font: {size[0] if size else '10px'} system-ui, sans-serif"


def loss_curves(training: TrainingView) -> str:
    """Training and validation loss against epoch, logarithmic (Fig. S4), as SVG."""
    figure, axes = plot_axes(6.4, 3.0)
    drawn: list[float] = []
    for points, label, colour, width in ((training.training_loss, "training", GREY, 1.1),
                                         (training.validation_loss, "validation", MODEL_COLOUR, 1.8)):
        known = [(epoch, loss) for epoch, loss in points if math.isfinite(loss) and loss > 0]
        if known:
            marker = "o" if len(known) < 40 and label == "validation" else None
            epochs, losses = zip(*known, strict=True)
            axes.plot(epochs, losses, color=colour, linewidth=width, label=label, marker=marker, markersize=3)
            drawn += [loss for _, loss in known]
    if drawn:
        axes.set_yscale("log")
    if training.best_epoch is not None:
        axes.axvline(training.best_epoch, color=SECOND_COLOUR, linewidth=1, linestyle=(0, (4, 3)), label="weights kept")
    axes.set_xlabel("epoch", color=INK)
    axes.set_title("loss", loc="left", fontsize=10, color=INK)
    axes.grid(True, which="both", color=GREY, alpha=0.2, linewidth=0.6)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return svg_of(figure, "loss-curves")


def residual_histogram(residuals_um: Sequence[float], true_errors_um: Sequence[float] = ()) -> str:
    """How many kept pairs have which registration residual in µm (and which true error, if simulated), as SVG."""
    figure, axes = plot_axes(6.4, 2.4)
    edges = np.histogram_bin_edges([0.0, *residuals_um, *true_errors_um], bins=24)
    axes.hist(residuals_um, bins=edges.tolist(), color=MODEL_COLOUR, alpha=0.85,
              label="residual, the registrar's estimate")
    if true_errors_um:
        axes.hist(true_errors_um, bins=edges.tolist(), histtype="step", color=SECOND_COLOUR, linewidth=1.8,
                  label="true error (simulated)")
    axes.set_xlabel("µm", color=INK)
    axes.set_title("pairs", loc="left", fontsize=10, color=INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(left=0.0)
    # Above the axes: inside them it would cover bars wherever it stands.
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2,
                borderaxespad=0.0, columnspacing=1.2)
    return svg_of(figure, "residuals")


def plot_axes(width_inch: float, height_inch: float, above_inch: float = 0.0, below_inch: float = 0.0
              ) -> tuple[Figure, Any]:
    """A transparent figure whose axes and text have the page's colour; for `svg_of`.

    above_inch, below_inch: of the height, room for labels over the axes and for a legend under them.
    """
    # Margins in inches for the labels; matplotlib's own layout engine would take longer than all the drawing.
    left, bottom, right, top = 0.75, 0.48 + below_inch, 0.3, 0.3 + above_inch
    figure = Figure(figsize=(width_inch, height_inch), facecolor="none")
    axes = figure.add_axes((left / width_inch, bottom / height_inch, 1 - (left + right) / width_inch,
                            1 - (bottom + top) / height_inch), facecolor="none")
    axes.tick_params(which="both", color=INK, labelcolor=INK, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def scale_bar_um(width_um: float) -> float:
    """A round length (1, 2 or 5 times a power of ten) between a tenth and a quarter of the width."""
    if not width_um > 0:
        raise ValueError(f"width is {width_um} µm; expected a positive number")
    decade = 10.0 ** math.floor(math.log10(width_um / 4))
    return max(step * decade for step in (1, 2, 5) if step * decade <= width_um / 4)


def comparison_strip(layers: Sequence[Layer], labels: Sequence[str], width_um: float, shown_um: float | None = None,
                     panel_px: int = 300) -> Array:
    """The layers of one field side by side at the same size, labelled, with a scale bar in the first.

    layers: of one window, as `FieldView` has them.  labels: one for each.  width_um: of that window.
    shown_um: width of the part, from the middle, that is shown; None for all.  panel_px: width of one panel; fine
    layers are interpolated to it, pixelated ones keep their squares, nothing is sharpened.
    Returns (H, W, 3) uint8 on white, ready for `encoding.png_bytes`.
    """
    if len(layers) != len(labels) or not layers:
        raise ValueError(f"{len(layers)} layers and {len(labels)} labels; expected one label a layer, and at least one")
    part = 1.0 if shown_um is None else min(1.0, shown_um / width_um)
    tallest = max(layer.pixels.shape[0] / layer.pixels.shape[1] for layer in layers)
    gap, head, panel_height = 8, 24, round(panel_px * tallest)
    total_width, total_height = len(layers) * panel_px + (len(layers) - 1) * gap, panel_height + head
    dpi = 100
    figure = Figure(figsize=(total_width / dpi, total_height / dpi), dpi=dpi, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    for index, (layer, label) in enumerate(zip(layers, labels, strict=True)):
        left = index * (panel_px + gap)
        axes = figure.add_axes((left / total_width, 0.0, panel_px / total_width, panel_height / total_height))
        axes.imshow(layer.pixels, interpolation="nearest" if layer.pixelated else "hanning", aspect="auto")
        axes.set_axis_off()
        height, width = layer.pixels.shape[:2]
        axes.set_xlim(width * (0.5 - part / 2) - 0.5, width * (0.5 + part / 2) - 0.5)
        axes.set_ylim(height * (0.5 + part / 2) - 0.5, height * (0.5 - part / 2) - 0.5)
        figure.text((left + 2) / total_width, 1 - 17 / total_height, label, fontsize=10, color="#222222")
    bar_um = scale_bar_um(width_um * part)
    bar = figure.add_axes((10 / total_width, 10 / total_height, bar_um / (width_um * part) * panel_px / total_width,
                           5 / total_height), facecolor="white")
    bar.set_xticks([])
    bar.set_yticks([])
    for spine in bar.spines.values():
        spine.set_color("black")
    figure.text(12 / total_width, 19 / total_height, f"{bar_um:g} µm", fontsize=9, color="white",
                bbox={"facecolor": "black", "alpha": 0.55, "pad": 1.5, "linewidth": 0})
    canvas.draw()
    return np.array(np.asarray(canvas.buffer_rgba())[:, :, :3])
