"""Pictures that evaluators draw: maps beside a colour bar, and curves.  matplotlib through its objects only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from superres.image import Array, FloatArray

PANEL_PX = 300
"""Longest side of one map of several in a picture: two maps and a colour bar stay under 700 px.  A map alone takes the
place of two, or a page would enlarge the picture, letters and all, until it is blurred."""

DOTS_PER_INCH = 100
INK = "#222222"
COLOURS = {"input": "#8a9199", "bicubic": "#c9772e", "output": "#2a8fa3", "truth": "#222222"}


@dataclass(frozen=True, eq=False)
class LabelledMap:
    """label: written above.  plane: (H, W) float32, in the unit of the scale."""

    label: str
    plane: FloatArray


def draw_maps(maps: Sequence[LabelledMap], top: float, unit: str) -> tuple[Array, int]:
    """Maps in a row with one colour bar from 0 to top: (H, W, 3) uint8, and how many pixels a side make one dot."""
    from matplotlib import colormaps

    longest = max(maps[0].plane.shape)
    side = 2 * PANEL_PX if len(maps) == 1 else PANEL_PX
    block_px = -(-longest // side)
    enlarge = max(1, side // longest)  # a field of 60 dots would hardly be seen on the page
    dot = np.ones((enlarge, enlarge), dtype=np.float32)
    panels = [np.kron(block_mean(each.plane, block_px), dot) for each in maps]
    height, width = panels[0].shape
    gap, head, foot, bar = 10, 26, 8, 62
    bar_height = max(height, 100)
    total_width = max(len(maps) * (width + gap) + gap + bar, 330)
    total_height = bar_height + head + foot
    figure, canvas = _canvas(total_width, total_height)
    colours = colormaps["inferno"]
    for index, (each, panel) in enumerate(zip(maps, panels, strict=True)):
        left = gap + index * (width + gap)
        figure.figimage(panel[::-1], xo=left, yo=foot, cmap=colours, vmin=0.0, vmax=top, origin="lower")
        figure.text(left / total_width, (foot + height + 7) / total_height, each.label, fontsize=8.5, color=INK)
    axes = figure.add_axes(((len(maps) * (width + gap) + gap) / total_width, foot / total_height,
                            12 / total_width, bar_height / total_height))
    axes.imshow(np.linspace(0, 1, 256)[:, None], cmap=colours, aspect="auto", origin="lower", extent=(0, 1, 0, top))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    ticks = np.linspace(0, top, 5)
    axes.set_yticks(ticks, [f"{tick:.3g} {unit}" for tick in ticks], fontsize=7.5)
    axes.tick_params(length=2, pad=2, color=INK, labelcolor=INK)
    return _pixels(canvas), block_px


def draw_curves(draw: Callable[[Any], None], width_px: int = 620, height_px: int = 380) -> Array:
    """A plot as (H, W, 3) uint8.  draw: fills the matplotlib Axes that it is given, labels included."""
    figure, canvas = _canvas(width_px, height_px)
    axes = figure.add_axes((66 / width_px, 48 / height_px, 1 - 84 / width_px, 1 - 76 / height_px))
    axes.tick_params(labelsize=8.5, color=INK, labelcolor=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(True, color="#8a9199", alpha=0.25, linewidth=0.6)
    draw(axes)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return _pixels(canvas)


def block_mean(plane: FloatArray, block_px: int) -> FloatArray:
    """Means over blocks of block_px², the last row and column of blocks possibly smaller."""
    height, width = plane.shape
    rows, columns = np.arange(0, height, block_px), np.arange(0, width, block_px)
    sums = np.add.reduceat(np.add.reduceat(plane, rows, axis=0), columns, axis=1)
    counts = np.diff(np.append(rows, height))[:, None] * np.diff(np.append(columns, width))[None, :]
    return np.asarray(sums / counts, dtype=np.float32)


def _canvas(width_px: int, height_px: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / DOTS_PER_INCH, height_px / DOTS_PER_INCH), dpi=DOTS_PER_INCH,
                    facecolor="white")
    return figure, FigureCanvasAgg(figure)


def _pixels(canvas: Any) -> Array:
    canvas.draw()
    return np.array(np.asarray(canvas.buffer_rgba())[:, :, :3])
