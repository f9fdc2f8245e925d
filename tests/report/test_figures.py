"""Curves, histograms, scale bars and the comparison strip show the numbers that they were given."""

from __future__ import annotations

import base64
import re

import cv2
import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.report.data import Layer, TrainingView
from superres.report.encoding import MAX_SIDE_PX, picture_uri
from superres.report.figures import (
    MODEL_COLOUR,
    SECOND_COLOUR,
    comparison_strip,
    loss_curves,
    residual_histogram,
    scale_bar_um,
)


def paths_of(svg: str, colour: str) -> list[np.ndarray]:
    """The corner points of every path drawn or filled in a colour, (n, 2) as (x, y)."""
    elements = re.findall(r"<path [^>]*?>", svg, flags=re.DOTALL)
    drawn = [re.search(r' d="([^"]*)"', element) for element in elements if colour in element]
    return [np.array([[float(x), float(y)] for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", found[1])])
            for found in drawn if found]


def test_a_loss_that_falls_tenfold_an_epoch_is_a_straight_line() -> None:
    svg = loss_curves(TrainingView((), tuple((float(epoch), 10.0**-epoch) for epoch in range(5))))
    line = next(path for path in paths_of(svg, MODEL_COLOUR) if len(path) == 5)
    steps = np.diff(line, axis=0)
    assert steps == pytest.approx(np.broadcast_to(steps[0], steps.shape), abs=1e-4)  # SVG is written with six decimals
    assert steps[0][0] > 0 and steps[0][1] > 0  # later to the right, smaller below


def test_curves_survive_what_a_logarithm_cannot_show() -> None:
    svg = loss_curves(TrainingView(((0.0, float("nan")), (1.0, 0.0), (2.0, 0.5), (3.0, 0.25)), best_epoch=3.0))
    assert "weights kept" in svg and "validation" not in svg
    assert "epoch" in loss_curves(TrainingView(()))


def test_bars_are_as_high_as_there_are_pairs() -> None:
    svg = residual_histogram([0.010] * 6 + [0.050] * 2)
    boxes = [path for path in paths_of(svg, MODEL_COLOUR) if len(path) == 4]
    axis = max(path[:, 1].max() for path in boxes)
    heights = [np.ptp(path[:, 1]) for path in boxes if path[:, 1].max() == axis]  # not the legend
    low, high = sorted(height for height in heights if height > 0)
    assert high / low == pytest.approx(6 / 2, rel=1e-4)  # SVG is written with six decimals


def test_figures_follow_the_text_colour_and_leave_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    svg = residual_histogram([0.01, 0.02], [0.005])
    assert dict(matplotlib.rcParams) == before
    assert "currentColor" in svg and "#010203" not in svg and "true error" in svg
    assert svg.startswith("<svg ") and svg.endswith("</svg>") and "http" not in svg and "metadata" not in svg
    assert svg == residual_histogram([0.01, 0.02], [0.005])


@given(st.floats(1e-3, 1e5))
def test_a_scale_bar_is_round_and_takes_a_tenth_to_a_quarter(width_um: float) -> None:
    bar = scale_bar_um(width_um)
    assert width_um / 10 * (1 - 1e-9) <= bar <= width_um / 4 * (1 + 1e-9)
    assert f"{bar:.0e}"[0] in "125" and float(f"{bar:.0e}") == pytest.approx(bar, rel=1e-9)


def test_a_scale_bar_needs_a_width() -> None:
    with pytest.raises(ValueError, match="width is 0 µm"):
        scale_bar_um(0)


def test_the_strip_shows_its_layers_in_order_with_a_bar_of_the_right_length() -> None:
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    layers = [Layer(title, np.full((50, 50, 3), colour, dtype=np.uint8))  # type: ignore[arg-type]
              for title, colour in zip(("input", "output", "truth"), colours, strict=True)]
    strip = comparison_strip(layers, ("40×", "network", "100×"), width_um=10.0)
    assert strip.shape == (324, 3 * 300 + 2 * 8, 3)
    for index, colour in enumerate(colours):
        assert tuple(strip[150, 150 + index * 308]) == colour
    white = (strip[24:, :300] == 255).all(axis=2)
    longest = max(len(run) for row in white for run in "".join("x" if on else " " for on in row).split())
    assert longest == pytest.approx(300 * scale_bar_um(10.0) / 10.0, abs=3)  # px; its black frame takes one at each end
    with pytest.raises(ValueError, match="3 layers and 2 labels"):
        comparison_strip(layers, ("40×", "network"), width_um=10.0)


def test_the_strip_can_show_the_middle_alone() -> None:
    pixels = np.zeros((60, 60, 3), dtype=np.uint8)
    pixels[20:40, 20:40] = (250, 120, 30)
    strip = comparison_strip([Layer("input", pixels, pixelated=True)], ["40×"], width_um=60.0, shown_um=20.0)
    for y, x in ((30, 6), (30, 293), (160, 150), (200, 293)):  # all four lie in the middle third that fills the panel
        assert tuple(strip[y, x]) == (250, 120, 30)


def test_huge_pictures_are_reduced_and_small_ones_kept_without_loss() -> None:
    small = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert picture_uri(small).startswith("data:image/png;base64,")
    noisy = np.random.default_rng(0).integers(0, 256, (2500, 600, 3), dtype=np.uint8)
    uri = picture_uri(noisy)
    assert uri.startswith("data:image/jpeg;base64,")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), dtype=np.uint8), cv2.IMREAD_COLOR)
    assert max(decoded.shape) <= MAX_SIDE_PX and decoded.shape[:2] == (2500 // 3, 600 // 3)


def test_the_legend_of_the_histogram_covers_no_bar() -> None:
    """Every bin is as high as the axes here; the legend stands above them, inside the picture."""
    values = [number / 1000 for number in range(24)]
    svg = residual_histogram(values, values)
    legend = svg.index('id="legend_1"')
    bars = [path for path in paths_of(svg[:legend], MODEL_COLOUR) if len(path) == 4]
    samples = paths_of(svg[legend:], MODEL_COLOUR) + paths_of(svg[legend:], SECOND_COLOUR)
    assert len(bars) == 24 and len(samples) == 2
    assert max(path[:, 1].max() for path in samples) < min(path[:, 1].min() for path in bars)
    assert min(path.min() for path in samples) > 0
