"""Contrast of a three-bar pattern as the supplement's §6 measures it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from superres.optics.usaf.target import BLOCK_PERIODS

Reals = npt.NDArray[np.float64]

OVERSAMPLING = 10
"""Profile samples a pixel: an extremum is then found to a twentieth of a pixel, whatever the phase of the grid."""

ALONG_PER_PX = 4
"""Samples along a bar: the mean is then the integral, though the ends of short bars fall off within a pixel."""

SAMPLES_PER_PERIOD = 6.0
"""Below this the pixel decides more than the objective: the element is marked as limited by the sampling."""

NOISE_FACTOR = 3.0
"""A maximum must rise this many standard deviations of the profile's noise above both minima beside it."""

_LONGEST_MEAN_PX = 15
"""Noise of means is measured over at most this many pixels and extrapolated as 1/√n beyond."""


@dataclass(frozen=True)
class BarPlace:
    """Where three bars lie in an image, in index coordinates (the centre of pixel i is i), all (y, x).

    centre_px: of the middle bar.  period_px: the vector from one bar to the next.  bar_px: the vector along a bar, as
    long as the bar.  dark: bars darker than their surroundings.
    """

    centre_px: tuple[float, float]
    period_px: tuple[float, float]
    bar_px: tuple[float, float]
    dark: bool = True

    @property
    def period_length_px(self) -> float:
        return math.hypot(*self.period_px)

    def corners_px(self) -> Reals:
        """(4, 2): of the square of three bars."""
        half = BLOCK_PERIODS / 2 * np.array(self.period_px)
        along = np.array(self.bar_px) / 2
        return np.array([np.array(self.centre_px) + a * half + b * along for a in (-1, 1) for b in (-1, 1)])


@dataclass(frozen=True, eq=False)
class BarContrast:
    """contrast: (Imax − Imin)/(Imax + Imin), 0 where the pattern is not preserved; reason says why, "" otherwise.

    i_max, i_min: the extrema used.  noise: standard deviation of the profile's noise.  sampling_limited: fewer than
    6 px a period.
    """

    contrast: float
    i_max: float
    i_min: float
    noise: float
    sampling_limited: bool
    reason: str = ""


class ProfileNoise:
    """Noise of means along bars, measured on the whole image: most of a target is flat, and medians do not see the
    rest.  Noise that neighbouring pixels share (up-sampled images) is counted as it is."""

    def __init__(self, plane: Reals) -> None:
        """plane: (H, W) intensities."""
        self._plane = plane
        self._known: dict[tuple[int, int], float] = {}

    def of_mean(self, length_px: int, axis: int) -> float:
        """Standard deviation of the mean of length_px pixels that lie along axis (0: below each other)."""
        used = max(1, min(length_px, _LONGEST_MEAN_PX, self._plane.shape[axis] // 4))
        if (used, axis) not in self._known:
            means = ndimage.uniform_filter1d(self._plane, used, axis=axis)
            line = np.moveaxis(means, axis, 0)
            # second difference of three neighbouring means that share no pixel: free of shading
            rough = line[:-2 * used] - 2 * line[used:-used] + line[2 * used:]
            self._known[used, axis] = float(1.4826 * np.median(np.abs(rough)) / math.sqrt(6)) if rough.size else 0.0
        return self._known[used, axis] * math.sqrt(used / max(length_px, 1))


def measure_bars(coefficients: Reals, place: BarPlace, noise: ProfileNoise, share: float = 0.85) -> BarContrast:
    """Contrast of one pattern.

    coefficients: (H, W) quintic spline coefficients of the image (`spline_coefficients`), in intensities above black.
    share: of the bar's length, centred, over which profiles are averaged (supplement: 80–90 %).
    The profile spans the pattern's 2.5 periods at 10 samples a pixel.  Each extremum must be a local one within a
    quarter of a period of where it belongs, and each maximum (of dark bars: two, between the bars) must rise 3 standard
    deviations of the profile's noise above both minima beside it; otherwise the contrast is 0.
    Source: Rivenson et al. 2017, supplement §6.
    """
    period, bar = np.array(place.period_px), np.array(place.bar_px)
    length, averaged_px = place.period_length_px, share * math.hypot(*place.bar_px)
    count = math.ceil(averaged_px * ALONG_PER_PX) + 1
    half = BLOCK_PERIODS / 2
    positions = np.linspace(-half, half, 2 * math.ceil(half * length * OVERSAMPLING) + 1)
    along = ((np.arange(count) + 0.5) / count - 0.5) * share
    points = (np.array(place.centre_px)[:, None, None] + period[:, None, None] * positions[None, None, :]
              + bar[:, None, None] * along[None, :, None])
    profile = ndimage.map_coordinates(coefficients, points, order=5, prefilter=False, mode="mirror").mean(axis=0)
    axis = 0 if abs(bar[0]) >= abs(bar[1]) else 1
    sd = noise.of_mean(max(1, round(averaged_px)), axis)
    limited = length < SAMPLES_PER_PERIOD
    sign = 1.0 if place.dark else -1.0
    found = [_extremum(-sign * profile, positions, bar_at) for bar_at in (-1.0, 0.0, 1.0)]
    between = [_extremum(sign * profile, positions, gap_at) for gap_at in (-0.5, 0.5)]
    outer, inner = profile[[index for index, _ in found]], profile[[index for index, _ in between]]
    # Light is not negative; noise and the spline's overshoot of a black bar are, and would make the contrast exceed 1.
    i_max, i_min = float(max(outer.max(), inner.max())), max(float(min(outer.min(), inner.min())), 0.0)
    reason = ""
    if not all(local for _, local in found + between):
        reason = "extrema are not at their places"
    elif any(sign * (inner[k] - outer[k + side]) < NOISE_FACTOR * sd for k in (0, 1) for side in (0, 1)):
        reason = "not above the noise"
    contrast = 0.0 if reason or i_max + i_min <= 0 else (i_max - i_min) / (i_max + i_min)
    return BarContrast(contrast, i_max, i_min, sd, limited, reason)


def spline_coefficients(plane: npt.NDArray[np.floating]) -> Reals:
    """Quintic B-spline coefficients of an (H, W) image, for `measure_bars`."""
    return np.asarray(ndimage.spline_filter(np.asarray(plane, dtype=np.float64), order=5, mode="mirror"))


def _extremum(profile: Reals, positions: Reals, expected: float) -> tuple[int, bool]:
    """Index of the largest value within a quarter period of `expected`, and whether it is a local maximum there."""
    window = np.flatnonzero(np.abs(positions - expected) <= 0.25 + 1e-9)
    best = int(window[np.argmax(profile[window])])
    return best, window[0] < best < window[-1]
