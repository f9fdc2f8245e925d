"""Shifts between overlapping frames: band-pass, normalised cross-correlation over all overlaps, sub-pixel peak.

A shift is where the origin of the second frame lies in the first, (y, x) in pixels: second[p] shows first[p + shift].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from superres.image import FloatArray

COARSE_BAND_PX = (1.0, 4.0)
FINE_BAND_PX = (1.0, 2.5)
"""Sigmas of the two Gaussians: for finding a shift, and for measuring it."""
MIN_OVERLAP_PX = 8
SAME_PLACE = 0.05
NEWTON_STEPS = 8

Shift = tuple[float, float]


@dataclass(frozen=True)
class Peak:
    """The best whole-pixel shift of a pair.

    correlation: normalised, over the overlap at this shift.  z: correlation·√overlap above the median over all shifts
    searched, in robust standard deviations: the noise of a correlation shrinks with the overlap, so small overlaps do
    not win by chance.  on_border: the search stopped before the peak did.
    """

    shift_px: tuple[int, int]
    correlation: float
    z: float
    on_border: bool


@dataclass(frozen=True)
class Measured:
    """A sub-pixel shift, and the correlation of the two frames over their overlap."""

    shift_px: Shift
    correlation: float


def band_pass(grey: FloatArray, inner: float = COARSE_BAND_PX[0], outer: float = COARSE_BAND_PX[1]) -> FloatArray:
    """Difference of Gaussians: takes out shading and most of the noise.  (H, W) float32 in and out."""
    plane = np.ascontiguousarray(grey, dtype=np.float32)
    small = cv2.GaussianBlur(plane, (0, 0), inner, borderType=cv2.BORDER_REFLECT)
    large = cv2.GaussianBlur(plane, (0, 0), outer, borderType=cv2.BORDER_REFLECT)
    return np.asarray(small - large, dtype=np.float32)


def signal_fraction(grey: FloatArray) -> tuple[float, float]:
    """How much of a frame's fine structure is signal, and how strong it is.

    The two diagonals of every 2 × 2 block show the same place with independent noise; the correlation of their
    band-passed means is signal power / total power: about 0 for a blank frame, near 1 for tissue.  A band-passed
    standard deviation of twice the noise's means a fraction of 0.75.
    Returns (fraction in [-1, 1], band-passed standard deviation in the units of grey).
    """
    height, width = grey.shape[0] // 2 * 2, grey.shape[1] // 2 * 2
    half = np.float32(0.5)
    even = half * grey[0:height:2, 0:width:2] + half * grey[1:height:2, 1:width:2]
    odd = half * grey[0:height:2, 1:width:2] + half * grey[1:height:2, 0:width:2]
    a, b = band_pass(even), band_pass(odd)
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a * a).mean() * (b * b).mean()))
    if power < 1e-12:
        return 0.0, 0.0
    return float((a * b).mean()) / power, float(np.sqrt(power))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A band-passed frame made ready for `find_peak` against any other of the same shape."""

    transform: npt.NDArray[np.complex64]
    energy: npt.NDArray[np.float32]
    shape: tuple[int, int]


def spectrum(frame: FloatArray) -> Spectrum:
    """frame: (h, w) band-passed.  Costs one FFT of 2h × 2w; memory about 48 bytes a pixel."""
    height, width = frame.shape
    size = (fft.next_fast_len(2 * height, real=True), fft.next_fast_len(2 * width, real=True))
    frame = frame - frame.mean()
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = np.cumsum(np.cumsum(np.square(frame, dtype=np.float64), axis=0), axis=1)
    y, x = np.arange(-height + 1, height), np.arange(-width + 1, width)
    top, bottom = np.maximum(y, 0)[:, None], np.minimum(height, height + y)[:, None]
    left, right = np.maximum(x, 0)[None], np.minimum(width, width + x)[None]
    energy = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return Spectrum(fft.rfft2(frame, size).astype(np.complex64), energy.astype(np.float32), (height, width))


def find_peak(first: Spectrum, second: Spectrum, near: Shift | None = None, bound_px: float = 0.0) -> Peak:
    """Normalised cross-correlation over every shift with enough overlap, or within bound_px of `near`.

    The correlation at a shift is divided by the energies of the two overlapping parts at that shift.  Without `near`,
    shifts below 5 % of the frame on both axes are left out: dust on the camera, the same in all frames, matches there.
    """
    height, width = first.shape
    size = (fft.next_fast_len(2 * height, real=True), fft.next_fast_len(2 * width, real=True))
    product = fft.irfft2(first.transform * np.conj(second.transform), size)
    rows, columns = np.arange(-height + 1, height), np.arange(-width + 1, width)
    cross = product[np.ix_(rows % size[0], columns % size[1])]
    energy = np.sqrt(np.maximum(first.energy, 0) * np.maximum(second.energy[::-1, ::-1], 0))
    area = ((height - np.abs(rows))[:, None] * (width - np.abs(columns))[None]).astype(np.float32)
    enough = ((height - np.abs(rows)) >= MIN_OVERLAP_PX)[:, None] & ((width - np.abs(columns)) >= MIN_OVERLAP_PX)[None]
    floor = 1e-6 * float(first.energy.max() * second.energy.max()) ** 0.5 + 1e-20
    correlation = np.where(enough, cross / np.maximum(energy, floor), 0.0)
    score = correlation * np.sqrt(area)
    spread = score[enough][::7]
    median = float(np.median(spread))
    sd = 1.4826 * float(np.median(np.abs(spread - median))) + 1e-12
    if near is None:
        still = (np.abs(rows) < SAME_PLACE * height)[:, None] & (np.abs(columns) < SAME_PLACE * width)[None]
        score = np.where(still, -np.inf, score)
    else:
        window = (np.abs(rows - near[0]) <= bound_px)[:, None] & (np.abs(columns - near[1]) <= bound_px)[None] & enough
        if not window.any():
            return Peak((int(round(near[0])), int(round(near[1]))), 0.0, 0.0, True)
        score = np.where(window, score, -np.inf)
    at = np.unravel_index(int(np.argmax(score)), score.shape)
    y, x = int(rows[at[0]]), int(columns[at[1]])
    on_border = near is not None and max(abs(y - near[0]), abs(x - near[1])) > bound_px - 1
    return Peak((y, x), float(correlation[at]), (float(score[at]) - median) / sd, on_border)


def measure(first: FloatArray, second: FloatArray, shift: Shift, *, rounds: int = 8, search_px: int = 3,
            limit_px: float = 0.004) -> Measured:
    """Sharpen a whole-pixel shift to a small part of a pixel.

    first, second: (H, W) grey frames of one shape, not band-passed.  Cuts their overlap, moves the second by cubic
    spline, band-passes and tapers both, and repeats until the correlation peak stands at zero to limit_px, or for
    `rounds`.  Band-passing after the cut gives both the same border: filtered whole frames differ there, which pulled
    shifts by 0.02 px at 15 % overlap.
    """
    y, x = float(shift[0]), float(shift[1])
    correlation = 0.0
    cut: tuple[int, int] | None = None
    for attempt in range(rounds):
        whole = (int(round(y)), int(round(x)))
        if whole != cut:
            a, b = overlap_of(first, second, whole)
            if min(a.shape) < MIN_OVERLAP_PX:
                return Measured((y, x), 0.0)
            cut = whole
            weight = taper(a.shape[0])[:, None] * taper(a.shape[1])[None]
            weight /= weight.sum(dtype=np.float64)
            window = np.sqrt(weight).astype(np.float32)
            fixed, power = _prepared(a, weight)
            coefficients = np.asarray(ndimage.spline_filter(b, 3, np.float64, mode="mirror"), dtype=np.float32)
        moving, other = _prepared(_shifted(coefficients, y - whole[0], x - whole[1]), weight)
        correlation = float(np.vdot(fixed * weight, moving)) / max(float(np.sqrt(power * other)), 1e-20)
        step = subpixel_peak(fixed * window, moving * window, search_px if attempt == 0 else 0)
        y, x = y + step[0], x + step[1]
        if max(abs(step[0]), abs(step[1])) < limit_px:
            break
    return Measured((y, x), correlation)


def _prepared(plane: FloatArray, weight: npt.NDArray[np.float32]) -> tuple[FloatArray, float]:
    """The band-passed plane without its weighted mean, and its weighted power."""
    band = band_pass(plane, *FINE_BAND_PX)
    band = band - np.float32(np.vdot(weight, band))
    return band, float(np.vdot(weight, band * band))


def _shifted(coefficients: FloatArray, y: float, x: float) -> FloatArray:
    """Values of a cubic spline moved by (y, x): what lies at 0 comes to (y, x).

    A shift is the same everywhere, so four weights on each axis do it, twenty times faster than general interpolation.
    """
    whole = int(np.floor(y)), int(np.floor(x))
    kernels = []
    for rest in (y - whole[0], x - whole[1]):
        t = 1 - rest
        kernels.append(np.array([(1 - t) ** 3, 3 * t ** 3 - 6 * t ** 2 + 4, -3 * t ** 3 + 3 * t ** 2 + 3 * t + 1,
                                 t ** 3]) / 6)
    reach = 2 + max(abs(whole[0]), abs(whole[1]))
    padded = cv2.copyMakeBorder(coefficients, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    result = cv2.sepFilter2D(padded, cv2.CV_32F, kernels[1], kernels[0], anchor=(2, 2))
    height, width = coefficients.shape
    top, left = reach - whole[0], reach - whole[1]
    return np.asarray(result[top:top + height, left:left + width], dtype=np.float32)


def overlap_of(first: FloatArray, second: FloatArray, shift: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """The parts of two equally large frames that show the same place; empty arrays where there is none."""
    height, width = first.shape[:2]
    y, x = shift
    a = first[max(0, y):max(0, min(height, height + y)), max(0, x):max(0, min(width, width + x))]
    b = second[max(0, -y):max(0, min(height, height - y)), max(0, -x):max(0, min(width, width - x))]
    return a, b


def taper(length: int) -> npt.NDArray[np.float32]:
    """Tukey window with a quarter of cosine on each side, without zeros at the ends."""
    ramp = max(1, length // 4)
    rise = np.sin(0.5 * np.pi * (np.arange(ramp) + 0.5) / ramp) ** 2
    return np.concatenate([rise, np.ones(length - 2 * ramp), rise[::-1]]).astype(np.float32)


def subpixel_peak(first: FloatArray, second: FloatArray, search_px: int) -> Shift:
    """Where their cross-correlation peaks, within ±search_px: the shift that carries `second` onto `first`.

    The whole-pixel peak by FFT (search_px = 0: none, the peak is near zero), then Newton's method on the correlation
    itself, whose derivatives are sums over the spectrum.  It ends within a pixel and a half of where it began.
    """
    size = tuple(fft.next_fast_len(n + 2 * search_px, real=True) for n in first.shape)
    power = fft.rfft2(first, size) * np.conj(fft.rfft2(second, size))
    centre = np.zeros(2)
    if search_px:
        cross = fft.irfft2(power, size)
        offsets = np.arange(-search_px, search_px + 1)
        near = cross[np.ix_(offsets % size[0], offsets % size[1])]
        centre = offsets[np.array(np.unravel_index(int(np.argmax(near)), near.shape))].astype(np.float64)
    fy, fx = 2j * np.pi * fft.fftfreq(size[0]), 2j * np.pi * fft.rfftfreq(size[1])
    twice = np.full(len(fx), 2.0)
    twice[[0, -1] if size[1] % 2 == 0 else [0]] = 1.0
    place = centre.copy()
    for _ in range(NEWTON_STEPS):
        rows = np.exp(fy * place[0]) * np.stack([np.ones_like(fy), fy, fy * fy])
        columns = np.exp(fx * place[1]) * np.stack([np.ones_like(fx), fx, fx * fx]) * twice
        moments = np.real(rows.astype(np.complex64) @ power @ columns.T.astype(np.complex64))
        gradient = np.array([moments[1, 0], moments[0, 1]])
        hessian = np.array([[moments[2, 0], moments[1, 1]], [moments[1, 1], moments[0, 2]]])
        if hessian[0, 0] >= 0 or np.linalg.det(hessian) <= 0:
            break  # not near a maximum
        step = -np.linalg.solve(hessian, gradient)
        place = np.clip(place + np.clip(step, -0.5, 0.5), centre - 1.5, centre + 1.5)
        if np.abs(step).max() < 1e-7:
            break
    return float(place[0]), float(place[1])
