"""Modulation transfer from a slanted edge, after ISO 12233."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal

from superres.errors import ImageError

Reals = npt.NDArray[np.float64]

BINS_PER_PX = 4
"""Samples of the edge's profile a pixel (ISO 12233)."""

WINDOW_PX = 32
"""Half-width of the profile that is used, where the image is that large: noise far from the edge only disturbs."""

LEAST_ANGLE_DEG, MOST_ANGLE_DEG = 1.0, 40.0
"""An edge along the pixels gives no sub-pixel samples; towards 45° rows and columns are no longer told apart."""

_LEAST_CONTRAST = 0.02
_UNEVEN = 0.1
"""Share of the step by which a side may stray from its level: uneven light does, a bar or a ramp does more."""
_BACK = 0.5
"""Share of the step by which a profile may fall back: sharpening overshoots by less, a line or a bar by more."""
_NEAR_PX = 8
"""Overshoot of sharpened images lies nearer to the edge than this."""
_HINT = "give a region with one straight edge, tilted by 2–10°, that leaves through opposite borders"


@dataclass(frozen=True, eq=False)
class EdgeTransfer:
    """frequency: cycles per pixel across the edge, 0 … 0.5.  transfer: modulation, 1 at 0.  angle_deg: between the edge
    and the pixel rows or columns.  dark, bright: levels of the two sides.  residual_px: RMS distance of the rows' edge
    points from the fitted line."""

    frequency: Reals
    transfer: Reals
    angle_deg: float
    dark: float
    bright: float
    residual_px: float

    def frequency_at(self, level: float) -> float | None:
        """Lowest frequency in cycles/px at which the transfer falls to `level`, None if it stays above."""
        below = np.flatnonzero(self.transfer <= level)
        if not len(below) or below[0] == 0:
            return None
        i = int(below[0])
        high, low = self.transfer[i - 1], self.transfer[i]
        step = self.frequency[i] - self.frequency[i - 1]
        return float(self.frequency[i - 1] + (high - level) / (high - low) * step)


def slanted_edge(plane: npt.NDArray[np.floating], window_px: int = WINDOW_PX) -> EdgeTransfer:
    """Modulation transfer across the one edge in an image.

    plane: (H, W) linear intensities, one straight edge between two even areas, running from border to opposite border
    and tilted against the pixels.  window_px: half-width of what is used around the edge.
    The profile is gathered in quarter pixels across the edge and differentiated; the transfer of the central difference
    and of the bins, sinc(2f/4)·sinc(f/4), is divided out.  The camera's pixel stays in it.
    Raises ImageError when there is no such edge (too little contrast, no straight line, a wrong angle, too small,
    something beside it, a ramp) or a value is not finite.
    Source: ISO 12233:2017, annex D; frequencies are counted across the edge, not along the rows.
    """
    values = np.asarray(plane, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageError(f"{np.count_nonzero(~np.isfinite(values))} of {values.size} pixels are NaN or infinite",
                         hint="give a region in which every pixel has a value")
    rows = _with_standing_edge(values)
    height, width = rows.shape
    if height < 20 or width < 20:
        raise ImageError(f"the region has {height} × {width} px; expected at least 20 × 20", hint=_HINT)
    slope, offset, residual = _edge_line(rows, window_px)
    angle = math.degrees(math.atan(abs(slope)))
    if not LEAST_ANGLE_DEG <= angle <= MOST_ANGLE_DEG:
        raise ImageError(f"the edge is tilted by {angle:.1f}° against the pixels; expected "
                         f"{LEAST_ANGLE_DEG:g}–{MOST_ANGLE_DEG:g}°", hint=_HINT)
    cosine = math.cos(math.atan(slope))
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    distance = (x - offset - slope * y) * cosine
    reach = min(window_px, int(_reach(offset, slope, height, width) * cosine))
    if reach < 8:
        raise ImageError(f"only {reach} px beside the edge lie inside the image; expected at least 8", hint=_HINT)
    bins = np.floor(distance * BINS_PER_PX + 0.5).astype(int) + reach * BINS_PER_PX
    count = 2 * reach * BINS_PER_PX + 1
    inside = (bins >= 0) & (bins < count)
    sums = np.bincount(bins[inside], weights=rows[inside], minlength=count)
    numbers = np.bincount(bins[inside], minlength=count)
    known = np.flatnonzero(numbers)
    profile = np.interp(np.arange(count), known, sums[known] / numbers[known])
    _require_two_even_sides(profile)
    spread = (profile[2:] - profile[:-2]) / 2
    # Flat in its middle half: a Hann or Hamming window over all of it would lower wide line spreads.
    spread = spread * signal.windows.tukey(len(spread), 0.5)
    padded = 1 << (len(spread) * 4 - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(spread, padded))
    frequency = np.fft.rfftfreq(padded, 1 / BINS_PER_PX)
    kept = frequency <= 0.5
    shown = np.asarray(frequency[kept], dtype=np.float64)
    own = np.sinc(2 * shown / BINS_PER_PX) * np.sinc(shown / BINS_PER_PX)
    low, high = sorted((float(profile[:8].mean()), float(profile[-8:].mean())))
    transfer = np.asarray(spectrum[kept] / spectrum[0] / own, dtype=np.float64)
    return EdgeTransfer(shown, transfer, angle, low, high, residual)


def _with_standing_edge(plane: Reals) -> Reals:
    """Turned so that the edge crosses every row."""
    down = abs(plane[-max(1, len(plane) // 8):].mean() - plane[:max(1, len(plane) // 8)].mean())
    side = max(1, plane.shape[1] // 8)
    across = abs(plane[:, -side:].mean() - plane[:, :side].mean())
    scale = max(abs(plane).max(), 1e-12)
    if max(down, across) < _LEAST_CONTRAST * scale:
        raise ImageError(f"opposite sides of the region differ by {max(down, across) / scale:.1%} of its brightest "
                         f"value; expected an edge between two even areas", hint=_HINT)
    return plane if across >= down else np.ascontiguousarray(plane.T)


def _edge_line(rows: Reals, window_px: int) -> tuple[float, float, float]:
    """(slope, offset, residual): the edge lies at x = offset + slope·y."""
    height, width = rows.shape
    y, x = np.arange(height), np.arange(width)
    difference = np.zeros_like(rows)
    difference[:, 1:-1] = (rows[:, 2:] - rows[:, :-2]) / 2
    if difference.sum() < 0:
        difference = -difference
    # Where the mean of a row crosses half-way: robust start, since each row holds one step.
    low, high = np.median(rows[:, :max(2, width // 16)]), np.median(rows[:, -max(2, width // 16):])
    share = np.clip(((rows - low) / (high - low)).sum(axis=1), 0, width)
    centre = width - share
    keep = np.ones(height, dtype=bool)
    slope, offset = 0.0, 0.0
    for reach in (width, max(8, window_px), max(6, window_px // 2), max(6, window_px // 2)):
        slope, offset = (float(value) for value in np.polyfit(y[keep], centre[keep], 1))
        distance = x[None, :] - (offset + slope * y)[:, None]
        weight = np.clip(np.cos(np.pi / 2 * np.clip(distance / min(reach, width / 2), -1, 1)), 0, None)
        mass = (difference * weight).sum(axis=1)
        keep = mass > 0.25 * np.median(mass)
        if keep.sum() < height // 2:
            raise ImageError("no edge crosses all rows of the region", hint=_HINT)
        moment = (difference * weight * x[None, :]).sum(axis=1)
        centre = np.divide(moment, mass, out=centre.copy(), where=keep)
    slope, offset = (float(value) for value in np.polyfit(y[keep], centre[keep], 1))
    residual = float(np.sqrt(np.mean((centre[keep] - offset - slope * y[keep]) ** 2)))
    if residual > 2.0:
        raise ImageError(f"the edge strays by {residual:.1f} px from a straight line; expected under 2", hint=_HINT)
    return slope, offset, residual


def _reach(offset: float, slope: float, height: int, width: int) -> float:
    """Pixels of a row that lie on both sides of the edge everywhere."""
    ends = (offset, offset + slope * (height - 1))
    return min(min(ends), width - 1 - max(ends))


def _require_two_even_sides(profile: Reals) -> None:
    """Raises ImageError unless the profile is one step from level to level.

    profile: quarter pixels across the edge, which lies in its middle.
    """
    middle = len(profile) // 2
    quarter = middle // 2
    first, last = float(np.median(profile[:quarter])), float(np.median(profile[-quarter:]))
    if first > last:
        first, last, profile = last, first, profile[::-1]
    step = last - first
    rough = profile[:-2] - 2 * profile[1:-1] + profile[2:]
    noise = 1.4826 * float(np.median(np.abs(rough))) / math.sqrt(6)
    smooth = np.convolve(np.pad(profile, BINS_PER_PX // 2, mode="edge"), np.full(BINS_PER_PX, 1 / BINS_PER_PX), "valid")
    smooth = smooth[:len(profile)]
    reached = (np.flatnonzero(smooth[middle:] >= last - _UNEVEN * step),
               np.flatnonzero(smooth[middle::-1] <= first + _UNEVEN * step))
    wide = max(int(part[0]) if len(part) else middle for part in reached)
    if wide > quarter:
        raise ImageError(f"the brightness rises over more than {2 * quarter // BINS_PER_PX} px: a ramp, no edge "
                         "between two even areas", hint=_HINT)
    back = float((np.maximum.accumulate(smooth) - smooth).max())
    near = max(_NEAR_PX * BINS_PER_PX, 3 * wide)
    sides = (np.abs(smooth[:max(middle - near, 0)] - first), np.abs(smooth[middle + near:] - last))
    stray = max((float(side.max()) for side in sides if len(side)), default=0.0)
    if back > _BACK * step + 5 * noise or stray > _UNEVEN * step + 5 * noise:
        raise ImageError(f"beside the edge the brightness strays by {max(back, stray) / max(step, 1e-12):.0%} of the "
                         "step: a second edge, a bar or uneven light lies within the window", hint=_HINT)
