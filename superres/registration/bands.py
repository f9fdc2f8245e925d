"""Isotropic filters for matching: a difference of Gaussians, and the pair of filters that makes two images match best.

A coarse and a fine image of one place differ by more than noise: defocus, aperture and gamma change the contrast of
each spatial frequency.  What a filter of fixed width leaves of that difference looks like noise that follows the
tissue, and limits the accuracy.  Once the two lie within a fraction of a pixel, the transfer between them and the power
of what is left can be measured ring by ring: multiplied by the transfer, the field predicts the scene, and divided by
the amplitude of the remainder both become images whose difference is white.  Least squares is then maximum likelihood.
Measured on eight tissues: 95th percentile 0.012 → 0.007 px clean, 0.10 → 0.05 px out of focus and noisy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from superres.image import FloatArray

RINGS = 24
REACH_PX = 24
"""Planes are continued by reflection this far: the filters fall below 1e-3 of their centre before."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Band:
    """An isotropic, real response: values at rising frequencies in cycles per pixel, linear between, flat beyond.

    The mean is always taken out.
    """

    frequencies: Values
    values: Values

    def filtered(self, plane: FloatArray | Values) -> Values:
        """(H, W) float64."""
        return self._applied(plane, ())[0]

    def with_gradient(self, plane: FloatArray | Values) -> tuple[Values, Values, Values]:
        """The filtered plane and its derivatives along y and x, exact for band-limited planes."""
        value, down, right = self._applied(plane, (0, 1))
        return value, down, right

    def _applied(self, plane: FloatArray | Values, axes: tuple[int, ...]) -> list[Values]:
        size = [fft.next_fast_len(length + 2 * min(REACH_PX, length - 1), real=True) for length in plane.shape]
        before = [(whole - length) // 2 for whole, length in zip(size, plane.shape, strict=True)]
        after = [whole - length - ahead for whole, length, ahead in zip(size, plane.shape, before, strict=True)]
        padded = np.pad(np.asarray(plane, dtype=np.float64), list(zip(before, after, strict=True)), mode="reflect")
        y, x = fft.fftfreq(size[0])[:, None], fft.rfftfreq(size[1])[None]
        response = np.interp(np.hypot(y, x), self.frequencies, self.values)
        response[0, 0] = 0.0
        spectrum = fft.rfft2(padded) * response
        inner = tuple(slice(ahead, ahead + length) for ahead, length in zip(before, plane.shape, strict=True))
        return [np.ascontiguousarray(fft.irfft2(spectrum * factor, size)[inner])
                for factor in (1.0, *(2j * np.pi * (y, x)[axis] for axis in axes))]


def difference_of_gaussians(inner_px: float, outer_px: float) -> Band:
    """The band-pass with Gaussians of these standard deviations."""
    frequency = np.linspace(0, 0.75, 151)
    narrow, wide = (np.exp(-2 * (np.pi * sigma * frequency) ** 2) for sigma in (inner_px, outer_px))
    return Band(frequency, narrow - wide)


def matched_bands(field: Values, scene: Values) -> tuple[Band, Band]:
    """The filters for the field and for the scene.

    field, scene: (h, w), aligned to a fraction of a pixel, of one pitch.  Spectra are taken under a Hann window and
    averaged over RINGS rings, so that some tens of thousands of pixels determine two times 25 numbers.
    """
    window = np.outer(np.hanning(field.shape[0] + 2)[1:-1], np.hanning(field.shape[1] + 2)[1:-1])
    a, b = (fft.rfft2((plane - np.average(plane, weights=window)) * window) for plane in (field, scene))
    frequency = np.hypot(fft.fftfreq(field.shape[0])[:, None], fft.rfftfreq(field.shape[1])[None])
    ring = np.minimum((frequency * 2 * RINGS).astype(int), RINGS).ravel()
    # Columns of the half plane stand for their mirror images too, but for the first and, of an even width, the last.
    twice = np.full(frequency.shape, 2.0)
    twice[:, [0, -1] if field.shape[1] % 2 == 0 else [0]] = 1.0
    count = np.maximum(np.bincount(ring, twice.ravel(), RINGS + 1), 1)

    def mean(power: Values) -> Values:
        return np.asarray(np.bincount(ring, (twice * power).ravel(), RINGS + 1) / count)

    own, other, cross = mean(np.abs(a) ** 2), mean(np.abs(b) ** 2), mean((b * a.conj()).real)
    transfer = np.maximum(cross / np.maximum(own, 1e-30), 0.0)
    rest = np.maximum(other - transfer * cross, 1e-3 * other + 1e-30)
    transfer = ndimage.gaussian_filter1d(transfer, 1.0, mode="nearest")
    whiten = np.exp(-0.5 * ndimage.gaussian_filter1d(np.log(rest), 1.0, mode="nearest"))
    whiten /= whiten.max()
    frequencies = (np.arange(RINGS + 1) + 0.5) / (2 * RINGS)
    return Band(frequencies, transfer * whiten), Band(frequencies, whiten)
