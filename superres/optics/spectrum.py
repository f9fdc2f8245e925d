"""Radially averaged power spectra, and Fourier ring correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from superres.errors import ImageError

Reals = npt.NDArray[np.float64]
Plane = npt.NDArray[np.floating]

FRC_THRESHOLD = 1 / 7
"""The usual threshold for two halves of one data set: Nieuwenhuizen et al., Nat. Methods 10, 557 (2013)."""

SUCCESSIVE_RINGS = 3
"""So many rings in a row must lie below: a single one may fall there by chance."""

LEAST_SIDE_PX = 64

LOW_RINGS, LEAST_CORRELATION = 8, 0.35
"""The coarsest rings of two halves that show one object agree: tissue 0.97 and more, pure noise 0.00 ± 0.10."""


ROUNDING_DOUBT = 2.0
"""Noise of fewer roundings than this may be rounding itself, which is as white as a camera's and passes every other
test: 8-bit outputs of a network hold 0.7–1.7 roundings (2.0 where their spectrum tells them), frames of a sensor 3.5
(noise of 0.4 % in 8 bits) and 8.8 (1 %)."""


@dataclass(frozen=True, eq=False)
class RadialSpectrum:
    """frequency: centres of the rings, cycles per pixel.  power: mean |F|² of a ring over the window's energy, so that
    white noise of variance v has power v at every frequency and image size."""

    frequency: Reals
    power: Reals


@dataclass(frozen=True, eq=False)
class RingCorrelation:
    """frequency: cycles per pixel of the image as it was given.  correlation: mean of three neighbouring rings.
    coefficients: independent ones in each ring.  threshold: of `limit`."""

    frequency: Reals
    correlation: Reals
    coefficients: Reals
    threshold: float

    @property
    def limit(self) -> float | None:
        return self.limit_at(self.threshold)

    def limit_at(self, threshold: float | Reals) -> float | None:
        """First of three successive rings below a threshold (one for all, or one a ring), in cycles/px; at the end,
        first of the last rings, though they be fewer.  None if the highest frequency is not below it."""
        # What ends below a threshold would otherwise be said to stay above it.
        below = np.append(self.correlation < threshold, np.ones(SUCCESSIVE_RINGS - 1, dtype=bool))
        runs = np.flatnonzero(np.convolve(below, np.ones(SUCCESSIVE_RINGS), "valid") >= SUCCESSIVE_RINGS - 0.5)
        return float(self.frequency[runs[0]]) if len(runs) else None

    def half_bit(self) -> Reals:
        """The ½-bit threshold of every ring: van Heel & Schatz, J. Struct. Biol. 151, 250 (2005),
        doi:10.1016/j.jsb.2005.05.009."""
        root = np.sqrt(np.maximum(self.coefficients, 1.0))
        return np.asarray((0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root))


def radial_spectrum(plane: Plane) -> RadialSpectrum:
    """Power spectrum of an (H, W) image, Hann-windowed, averaged over rings of 1/min(H, W) cycles/px up to 0.5.

    Raises ImageError for a side under 64 px.
    """
    _require_size(plane.shape)
    window = _hann(plane.shape)
    spectrum = fft.rfft2((plane - plane.mean(dtype=np.float64)) * window)
    rings, count = _rings(plane.shape)
    weight = _half_weights(plane.shape)
    power = np.bincount(rings.ravel(), ((spectrum.real ** 2 + spectrum.imag ** 2) * weight).ravel(), count)
    numbers = np.bincount(rings.ravel(), np.broadcast_to(weight, rings.shape).ravel(), count)
    used = slice(1, min(plane.shape) // 2 + 1)
    frequency = np.arange(count)[used] / min(plane.shape)
    return RadialSpectrum(frequency, power[used] / np.maximum(numbers[used], 1) / float((window ** 2).sum()))


def fourier_ring_correlation(first: Plane, second: Plane, threshold: float = FRC_THRESHOLD) -> RingCorrelation:
    """How far two images of the same object, with independent noise, agree.

    first, second: (H, W) of one shape, registered.  Hann window, rings of one frequency step, mean of three rings.
    Raises ImageError for different shapes or a side under 64 px.
    Source: Saxton & Baumeister, J. Microsc. 127, 127 (1982), doi:10.1111/j.1365-2818.1982.tb00405.x.
    """
    if first.shape != second.shape:
        raise ImageError(f"the two images have shapes {first.shape} and {second.shape}; expected one shape",
                         hint="crop them to the same field")
    _require_size(first.shape)
    window = _hann(first.shape)
    a, b = (fft.rfft2((plane - plane.mean(dtype=np.float64)) * window) for plane in (first, second))
    return _correlate(a, b, first.shape, threshold, pixels_per_sample=1)


def single_image_correlation(plane: Plane, threshold: float = FRC_THRESHOLD) -> RingCorrelation:
    """The same from one image, whose even-even and odd-odd pixels are the two halves.

    Their half-pixel shift is taken back as a phase.  Frequencies reach 0.25 cycles/px, half of Nyquist; what lies above
    is folded into the halves, so an image with detail there gives no meaningful limit.  Noise must be independent
    between pixels: resampled or denoised images correlate with themselves (`why_not_camera_noise` tells them).
    Source of the split: Koho et al., Nat. Commun. 10, 3103 (2019), doi:10.1038/s41467-019-11024-z.
    """
    height, width = (side // 2 * 2 for side in plane.shape)
    first, second = plane[0:height:2, 0:width:2], plane[1:height:2, 1:width:2]
    _require_size(first.shape)
    window = _hann(first.shape)
    a, b = (fft.rfft2((half - half.mean(dtype=np.float64)) * window) for half in (first, second))
    y, x = fft.fftfreq(first.shape[0])[:, None], fft.rfftfreq(first.shape[1])[None, :]
    return _correlate(a, b * np.exp(-1j * np.pi * (y + x)), first.shape, threshold, pixels_per_sample=2)


@dataclass(frozen=True)
class NoiseFloor:
    """What fills the corners of a spectrum.  sd: of one pixel.  unevenness: largest over smallest power of four bands
    from 0.50 to 0.66 cycles/px, 1 for white noise.  scatter: relative standard deviation of one of them by chance."""

    sd: float
    unevenness: float
    scatter: float


def noise_floor(plane: Plane) -> NoiseFloor:
    """The noise beyond every ring of the grid.

    An objective passes nothing there on a grid that samples it well, so a camera's own frame holds white noise.
    Resampling, compression and networks leave it uneven or empty.
    """
    _require_size(plane.shape)
    window = _hann(plane.shape)
    spectrum = fft.rfft2((plane - plane.mean(dtype=np.float64)) * window)
    power = (spectrum.real ** 2 + spectrum.imag ** 2) / float((window ** 2).sum())
    radius = np.hypot(fft.fftfreq(plane.shape[0])[:, None], fft.rfftfreq(plane.shape[1])[None, :])
    bands = [power[(radius >= low) & (radius < low + 0.04)] for low in (0.50, 0.54, 0.58, 0.62)]
    means = [float(band.mean()) for band in bands]
    # A Hann window makes 2.25 neighbouring coefficients of a plane depend on each other.
    scatter = float(np.sqrt(2.25 / min(band.size for band in bands)))
    return NoiseFloor(float(np.sqrt(np.mean(means))), max(means) / max(min(means), 1e-300), scatter)


def noise_sd(unit: Plane) -> float:
    """Standard deviation of pixel noise, by Immerkær's mask and a median.

    unit: (H, W) or (H, W, 3); of colours the median is taken.  Structure counts as noise where it changes from pixel to
    pixel; a median leaves most of it out.
    Source of the mask: Immerkær, Comput. Vis. Image Underst. 64, 300 (1996), doi:10.1006/cviu.1996.0060.
    """
    planes = unit[:, :, None] if unit.ndim == 2 else unit
    found = []
    for channel in range(planes.shape[2]):
        plane = np.asarray(planes[:, :, channel], dtype=np.float64)
        rough = plane[:-2] - 2 * plane[1:-1] + plane[2:]
        rough = rough[:, :-2] - 2 * rough[:, 1:-1] + rough[:, 2:]  # sum of squares 36
        found.append(1.4826 * float(np.median(np.abs(rough))) / 6 if rough.size else 0.0)
    return float(np.median(found))


def why_not_camera_noise(plane: Plane, step: float = 0.0) -> str:
    """Why a single image cannot be split into independent halves, or "".

    plane: (H, W) intensities.  step: distance of stored levels in the same unit (1/255 for 8 bits), 0 for floats.
    """
    floor = noise_floor(plane)
    rounding = step / np.sqrt(12)
    # 15 % for what the objective still passes there; four standard deviations for chance.
    if floor.unevenness > 1.15 * (1 + 4 * floor.scatter):
        return (f"its finest frequencies hold no white noise (power uneven by {floor.unevenness:.2f} times, a camera "
                "frame's is even): it was resampled, as across a seam of a mosaic, compressed, denoised, or made "
                "by a network")
    # What was rounded holds one rounding more.
    beside = np.sqrt(max(floor.sd ** 2 - rounding ** 2, 0.0))
    if floor.sd == 0.0 or beside < 0.7 * rounding:
        return ("it holds no noise beyond the rounding of its levels: it was denoised, or made by a network or a "
                "simulator")
    if beside < ROUNDING_DOUBT * rounding:
        return (f"its noise is {beside / rounding:.1f} times the rounding of its levels, expected at least "
                f"{ROUNDING_DOUBT:g} times: so little cannot be told from rounding, which outputs of a network hold "
                "as well; a camera's 16-bit file would tell")
    return ""


def why_nothing_in_common(correlation: RingCorrelation) -> str:
    """Why two images, or the halves of one, tell no resolution: their coarsest structure does not agree; or ""."""
    rings = slice(0, LOW_RINGS)
    agreement = float(np.average(correlation.correlation[rings], weights=correlation.coefficients[rings]))
    if agreement >= LEAST_CORRELATION:
        return ""
    coarsest = 1 / float(correlation.frequency[rings][-1])
    return (f"even structure coarser than {coarsest:.0f} px does not agree (correlation {agreement:.2f}, expected at "
            f"least {LEAST_CORRELATION:g})")


def _correlate(a: npt.NDArray[np.complexfloating], b: npt.NDArray[np.complexfloating], shape: Sequence[int],
               threshold: float, pixels_per_sample: int) -> RingCorrelation:
    rings, count = _rings(shape)
    weight = np.broadcast_to(_half_weights(shape), rings.shape).ravel()
    shared, power_a, power_b = (np.bincount(rings.ravel(), values.ravel() * weight, count) for values in
                                ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2))
    used = slice(1, min(shape) // 2 + 1)
    ratio = shared[used] / np.sqrt(np.maximum(power_a[used] * power_b[used], 1e-300))
    smooth = ndimage.uniform_filter1d(ratio, 3, mode="nearest")
    frequency = np.arange(count)[used] / min(shape) / pixels_per_sample
    # A real image has half as many independent coefficients as its plane of them.
    numbers = np.bincount(rings.ravel(), weight, count)[used] / 2
    return RingCorrelation(frequency, smooth, numbers, threshold)


def _hann(shape: Sequence[int]) -> Reals:
    rows, columns = (np.hanning(side + 2)[1:-1] for side in shape[:2])
    return np.outer(rows, columns)


def _rings(shape: Sequence[int]) -> tuple[npt.NDArray[np.intp], int]:
    """Ring number of every coefficient of a half spectrum, and how many rings there are."""
    radius = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]) * min(shape)
    rings = np.rint(radius).astype(np.intp)
    return rings, int(rings.max()) + 1


def _half_weights(shape: Sequence[int]) -> Reals:
    """A half spectrum leaves out what its columns stand for twice."""
    columns = np.full(shape[1] // 2 + 1, 2.0)
    columns[0] = 1.0
    if shape[1] % 2 == 0:
        columns[-1] = 1.0
    return columns[None, :]


def _require_size(shape: Sequence[int]) -> None:
    if min(shape) < LEAST_SIDE_PX:
        raise ImageError(f"{shape[0]} × {shape[1]} px are too few for a spectrum; expected at least {LEAST_SIDE_PX} px "
                         "a side (twice that to split one image)", hint="use a larger field")
