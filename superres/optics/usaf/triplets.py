"""Groups of three parallel bars in an image, found without knowing what target it shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

Reals = npt.NDArray[np.float64]

Step = Callable[[int, int], None]
"""Called with (done, total) while something is looked for; may raise to stop it."""

LEVELS = 12
"""Thresholds between the darkest and the brightest value: unevenly lit and half-resolved bars come apart at other
levels than sharp ones."""

LEAST_PERIOD_PX = 3.0
"""Below this neighbouring bars touch in the grid of pixels."""

_ASPECT = (2.4, 9.0)
"""Length over width of a bar; 5 by definition, and what thresholds make of blurred ones."""


@dataclass(frozen=True)
class Triplet:
    """Three equal, parallel bars at equal distances.

    centre: (y, x) in index coordinates.  period_px: distance of neighbouring bars.  angle: of the direction along the
    bars, radians in [0, π), 0 along +y and growing towards +x.  dark: darker than their surroundings.
    quality: 0 … 1, how equal and regular they are.
    """

    centre: tuple[float, float]
    period_px: float
    angle: float
    dark: bool
    quality: float


@dataclass(frozen=True)
class _Bar:
    centre: Reals
    length: float
    angle: float


def find_triplets(plane: npt.NDArray[np.floating], step: Step = lambda done, total: None) -> tuple[Triplet, ...]:
    """All groups of three bars, of either polarity, each once.

    plane: (H, W) intensities of any scale.  step: hears of every threshold.
    """
    scaled = _evened(np.asarray(plane, dtype=np.float32))
    found: list[Triplet] = []
    for number, level in enumerate(np.linspace(0.08, 0.92, LEVELS)):
        step(number, LEVELS)
        for dark in (True, False):
            mask = scaled < level if dark else scaled > level
            found += _triplets(_bars(mask), dark)
    return _once(found)


def _evened(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """0 … 1 between the extremes of a wide surrounding, so that shading does not decide."""
    low, high = np.percentile(plane, (0.5, 99.5))
    unit = np.clip((plane - low) / max(high - low, 1e-12), 0, 1)
    side = max(16, min(plane.shape) // 6)
    small = cv2.resize(unit, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) if min(plane.shape) > 64 else unit
    size = max(5, side // 4)
    floor, top = ndimage.minimum_filter(small, size), ndimage.maximum_filter(small, size)
    floor, top = (cv2.resize(ndimage.gaussian_filter(each, size / 3), plane.shape[::-1]) for each in (floor, top))
    wide = np.maximum(top - floor, 0.15)  # an even area keeps its noise small
    return np.asarray(np.clip((unit - floor) / wide, 0, 1), dtype=np.float32)


def _bars(mask: npt.NDArray[np.bool_]) -> list[_Bar]:
    """Separate patches that could be one bar; those at the border are cut and do not count.

    All patches at once: noise has hundreds of thousands of them.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    height, width = mask.shape
    x, y, w, h, area = stats.T.astype(np.int64)
    # Thin and slanted at most: frames and letters drop out before the costly part.
    wanted = (area >= 6) & (area <= 0.05 * mask.size) & (area >= 0.12 * w * h)
    wanted &= (x > 0) & (y > 0) & (x + w < width) & (y + h < height)
    wanted[0] = False  # what is not in the mask
    number = np.cumsum(wanted) - 1
    rows, columns = np.nonzero(wanted[labels])
    patch = number[labels[rows, columns]]
    x, y, area, count = x[wanted], y[wanted], area[wanted].astype(np.float64), int(wanted.sum())
    down, right = (rows - y[patch]).astype(np.float64), (columns - x[patch]).astype(np.float64)

    def mean(values: Reals) -> Reals:
        return np.asarray(np.bincount(patch, values, count) / area)

    middle = np.stack([mean(down), mean(right)], axis=1)
    down, right = down - middle[patch, 0], right - middle[patch, 1]
    unbiased = area / (area - 1)
    yy, xx, yx = (mean(product) * unbiased for product in (down * down, right * right, down * right))
    half, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    # a pixel is a square, not a point: its own variance of 1/12 belongs to the bar
    short, long = (np.sqrt(12 * np.maximum(value, 0.0) + 1) for value in (half - apart, half + apart))
    angle = np.arctan2(2 * yx, yy - xx) / 2 % math.pi
    filled, aspect = area / (long * short), long / short
    centre = middle + np.stack([y, x], axis=1)
    kept = (aspect >= _ASPECT[0]) & (aspect <= _ASPECT[1]) & (filled >= 0.72) & (filled <= 1.25)
    return [_Bar(centre[at], float(long[at]), float(angle[at])) for at in np.flatnonzero(kept)]


def _triplets(bars: list[_Bar], dark: bool) -> list[Triplet]:
    found: list[Triplet] = []
    if len(bars) < 3:
        return found
    centres = np.array([bar.centre for bar in bars])
    lengths = np.array([bar.length for bar in bars])
    angles = np.array([bar.angle for bar in bars])
    tree = spatial.cKDTree(centres)
    for number, bar in enumerate(bars):
        # Neighbours lie within 0.54 of a length; noise has thousands of bars, and all pairs of them would take minutes.
        near = np.array(sorted(tree.query_ball_point(bar.centre, 0.55 * bar.length)))
        along = np.array([math.cos(bar.angle), math.sin(bar.angle)])
        across = np.array([-along[1], along[0]])
        offset = centres[near] - bar.centre
        aside = offset @ across / bar.length
        similar = (np.abs(offset @ along) < 0.15 * bar.length) & (np.abs(lengths[near] / bar.length - 1) < 0.25)
        similar &= np.abs((angles[near] - bar.angle + np.pi / 2) % np.pi - np.pi / 2) < 0.2
        # neighbours are 2/5 of a length apart; thresholds change the length by up to a fifth
        at_left, at_right = similar & (aside > -0.52) & (aside < -0.3), similar & (aside > 0.3) & (aside < 0.52)
        before, after = near[at_left], near[at_right]
        if len(before) != 1 or len(after) != 1:
            continue
        steps = -float(aside[at_left][0]), float(aside[at_right][0])
        period = bar.length * (steps[0] + steps[1]) / 2
        uneven = abs(steps[0] - steps[1]) / (steps[0] + steps[1])
        if period < LEAST_PERIOD_PX or uneven > 0.08:
            continue
        three = [before[0], number, after[0]]
        spread = float(np.ptp(lengths[three]) / bar.length)
        line = centres[after[0]] - centres[before[0]]
        skew = abs((math.atan2(line[1], line[0]) + math.pi / 2 - bar.angle + math.pi / 2) % math.pi - math.pi / 2)
        quality = math.exp(-8 * uneven - 2 * spread - 4 * skew - abs(bar.length / (2.5 * period) - 1))
        middle = float(centres[three, 0].mean()), float(centres[three, 1].mean())
        found.append(Triplet(middle, float(period), bar.angle, dark, quality))
    return found


def _once(found: list[Triplet]) -> tuple[Triplet, ...]:
    """The best of each place; bars of the other polarity lie half a period beside and are another triplet only if
    there are three gaps, which there are not."""
    kept: list[Triplet] = []
    for each in sorted(found, key=lambda triplet: -triplet.quality):
        if all(math.dist(each.centre, other.centre) > 0.6 * max(each.period_px, other.period_px) for other in kept):
            kept.append(each)
    return tuple(kept)
