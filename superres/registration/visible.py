"""How small a tear a field could have shown: what goes unsaid below it is no sign that nothing is torn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import numpy.typing as npt

from superres.registration.blocks import BlockShifts
from superres.registration.smooth import trend
from superres.registration.torn import Parts

TEARS_PX = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
MIN_PLACES = 4
"""Places at which a tear is laid: a similarity follows any tear between two."""

Values = npt.NDArray[np.float64]


def visible_tear_px(blocks: BlockShifts | None, parts: Parts, pixel_um: float, shape: tuple[int, ...],
                    max_trend_px: float) -> float | None:
    """The smallest of TEARS_PX that the field would show if it were torn through its middle, None where none would.

    A tear is added to what the blocks and parts say now, errors and all, less the similarity that would follow it, and
    judged as they are: a trend of more than max_trend_px, or torn parts.  Along either axis and either way.
    blocks: of the refined field, None where nothing refined it.  pixel_um, shape: of the field in which the blocks lie.
    docs/registration.md counts the tears of at least this size that go unsaid.
    """
    places = parts.places_um / pixel_um
    known, weights = places, np.ones(len(places))
    if blocks is not None and len(blocks.places_px) >= MIN_PLACES:
        known, weights = blocks.places_px, 1 / np.maximum(blocks.errors_px, 1e-6)
    if len(known) < MIN_PLACES:
        return None

    def shown(tear: Callable[[Values], Values]) -> bool:
        if blocks is not None and len(blocks.places_px):
            left = tear(blocks.places_px) - _followed(known, weights, tear, blocks.places_px)
            beside = BlockShifts(blocks.places_px, blocks.shifts_px + left, blocks.errors_px)
            if trend(beside, shape).longest_px > max_trend_px:
                return True
        left = tear(places) - _followed(known, weights, tear, places)
        return Parts(parts.places_um, parts.off_px + left, parts.errors_px).torn

    return next((by_px for by_px in TEARS_PX
                 if all(shown(_tear(axis, way * by_px, shape)) for axis, way in product((0, 1), (1, -1)))), None)


def _tear(axis: int, by_px: float, shape: tuple[int, ...]) -> Callable[[Values], Values]:
    """Beyond the middle of an axis everything lies by_px farther along the other axis."""
    step = np.array([0.0, by_px] if axis == 0 else [by_px, 0.0])
    return lambda places: np.where(places[:, axis, None] > shape[axis] / 2, step, 0.0)


def _followed(known: Values, weights: Values, tear: Callable[[Values], Values], places: Values) -> Values:
    """What the similarity that fits a tear best at the known places makes of it at others."""
    centre = known.mean(axis=0)
    rows = _rows(known - centre) * np.tile(weights, 2)[:, None]
    fit = np.linalg.lstsq(rows, tear(known).T.ravel() * np.tile(weights, 2), rcond=None)[0]
    return np.asarray((_rows(places - centre) @ fit).reshape(2, -1).T)


def _rows(places: Values) -> Values:
    """Shift, scale and rotation: first of all y, then of all x."""
    y, x = places.T
    one, none = np.ones_like(y), np.zeros_like(y)
    return np.vstack([np.stack([one, none, y, -x], axis=1), np.stack([none, one, x, y], axis=1)])
