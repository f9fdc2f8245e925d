"""Seconds an image, once and self-fed twice, beside Table S3."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from superres.engine import Engine
from superres.events import Events, Progress
from superres.measuring.paper import TABLE_S3
from superres.report.pages import Page, Section, Table

LARGEST_OFTEN = 818
"""The second pass has (up/down)² times the pixels: a larger input is passed twice a single time."""


def run_times_page(engine: Engine, sides_px: Sequence[int], repeats: int, events: Events) -> Page:
    """sides_px: of square inputs of noise.  repeats: the fastest of so many counts."""
    by_side = {row.side_px: row for row in TABLE_S3}
    rows, rng = [], np.random.default_rng(0)
    for number, side in enumerate(sides_px):
        events.progress(Progress("time", number, len(sides_px), f"{side} × {side} px"))
        image = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
        once = min(_timed(engine, image, 1, events) for _ in range(repeats))
        twice = min(_timed(engine, image, 2, events) for _ in range(repeats if side <= LARGEST_OFTEN else 1))
        known = by_side.get(side)
        paper_cells = (known.once, known.twice, known.once_two_gpus, known.twice_two_gpus) if known else ()
        rows.append([f"{side} × {side}", f"{once:.3f}", f"{twice:.3f}",
                     *([f"{value:.3f}" for value in paper_cells] or ["–"] * 4)])
    head = ["input (px)", "ours, once", "ours, twice", "paper, once", "paper, twice", "paper, two GPUs, once",
            "paper, two GPUs, twice"]
    beside = f"the paper's GTX 1080 {rows[-1][3]} s" if rows[-1][3] != "–" else "the paper has no such size"
    return Page("seconds an image", f"{rows[-1][0]} px: {rows[-1][1]} s; {beside}.", [
        Section("Run times", [f"Ours: {engine.describe()}; noise as input, best of {repeats} (twice through more than "
                              f"{LARGEST_OFTEN} px: one run). The paper: one GTX 1080 of 2016, TensorFlow 0.12, mean "
                              "of 5 over 100 images. “Twice” is self-feeding."],
                table=Table(head, rows, wraps=True))])


def _timed(engine: Engine, image: np.ndarray, passes: int, events: Events) -> float:
    events.raise_if_cancelled()
    start = time.perf_counter()
    engine(image, passes=passes)
    return time.perf_counter() - start
