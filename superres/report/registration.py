"""The section of a page that shows registration: numbers of its tables, and the arrows on the pictures of slides."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from markupsafe import Markup

from superres.overrides import SET_KEY, as_option
from superres.report import figures
from superres.report.data import FieldOutline, PairRow, RegistrationView, SlideView

ARROW_SHARE = 0.09
"""The longer arrows of a slide are drawn as long as this share of a field's side."""


def registration_facts(view: RegistrationView, coarse_pixel_size_um: float) -> dict[str, Any]:
    """What the section shows: rejected pairs first, kept ones from the largest residual on."""
    kept = sorted((pair for pair in view.pairs if pair.kept), key=_residual, reverse=True)
    residuals = [pair.residual_um for pair in kept if pair.residual_um is not None]
    true_px = [pair.true_error_px for pair in kept if pair.true_error_px is not None]
    return {
        "kept": kept,
        "unjudged": {what: [pair.name for pair in kept if pair.unjudged == what]
                     for what in sorted({pair.unjudged for pair in kept} - {""})},
        "tears": _tears(kept),
        "warned": [pair for pair in kept if pair.warning],
        "rejected": [pair for pair in view.pairs if not pair.kept],
        "key": _example([*(pair.hint + pair.warning for pair in view.pairs), *(each.hint for each in view.lost)]),
        "residual_um": _spread(residuals),
        "true_px": _spread(true_px),
        "histogram": Markup(figures.residual_histogram(residuals, [error * coarse_pixel_size_um for error in true_px]))
        if residuals else None,
    }


def _example(hints: Sequence[str]) -> str:
    """How a command on folders takes what a hint says of a pipeline file, "" where none does."""
    found = next((match for hint in hints for match in [SET_KEY.search(hint)] if match), None)
    return "" if found is None else as_option(found)


def arrow_stretch(slide: SlideView) -> float:
    """How many times too long the arrows of a slide are drawn, a round number; 0 without arrows."""
    lengths = _lengths_um(slide)
    sides = [max(np.ptp([y for y, _ in field.corners_px]), np.ptp([x for _, x in field.corners_px]))
             for field in slide.fields if field.arrows_um]
    if not lengths or max(lengths) <= 0:
        return 0.0
    wanted = ARROW_SHARE * float(np.median(sides)) * slide.pixel_size_um / max(float(np.percentile(lengths, 90)), 1e-9)
    decade = 10.0 ** np.floor(np.log10(max(wanted, 1.0)))
    return float(max(step * decade for step in (1, 2, 5) if step * decade <= max(wanted, 1.0)))


def arrows_px(slide: SlideView, field: FieldOutline, stretch: float) -> list[tuple[float, float, float, float]]:
    """(y, x) from and to, in pixels of the picture."""
    pixel = slide.pixel_size_um
    return [(y / pixel, x / pixel, (y + stretch * dy) / pixel, (x + stretch * dx) / pixel)
            for y, x, dy, dx in field.arrows_um]


def longest_arrow_um(slide: SlideView) -> float:
    return max(_lengths_um(slide), default=0.0)


def _lengths_um(slide: SlideView) -> list[float]:
    return [float(np.hypot(dy, dx)) for field in slide.fields for _, _, dy, dx in field.arrows_um]


def _residual(pair: PairRow) -> float:
    return -1.0 if pair.residual_um is None else pair.residual_um


def _tears(kept: Sequence[PairRow]) -> tuple[float, float, list[str]] | None:
    """(median and largest of the smallest tears that kept fields would have shown, in coarse px, the fields of the
    largest)."""
    known = {pair.name: pair.visible_tear_px for pair in kept if pair.visible_tear_px is not None}
    if not known:
        return None
    largest = max(known.values())
    return median(known.values()), largest, [name for name, tear in known.items() if tear == largest]


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    """(median, 95th percentile, maximum)."""
    return (median(values), float(np.percentile(values, 95)), max(values)) if values else None
