"""Translation between two frames by phase correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from superres.image import FloatArray
from superres.registration.shifts import Shift, band_pass, measure, taper


@dataclass(frozen=True)
class PhaseShift:
    """shift_px: where the origin of the second frame lies in the first, (y, x).  z: the phase correlation's peak in
    standard deviations of its surface.  correlation: of the band-passed overlap at the shift."""

    shift_px: Shift
    z: float
    correlation: float


def phase_shift(first: FloatArray, second: FloatArray) -> PhaseShift:
    """first, second: (H, W) grey of one pitch and one shape.

    The whole-pixel shift is the peak of the inverse transform of the phase of the cross-power spectrum (Kuglin and
    Hines, 1975); its four readings modulo the frame's size are compared by the correlation of the overlap, and the
    best is sharpened by the upsampled correlation of `measure`.
    """
    window = np.outer(taper(first.shape[0]), taper(first.shape[1])).astype(np.float32)
    a, b = (fft.rfft2(band_pass(frame) * window) for frame in (first, second))
    power = a * np.conj(b)
    surface = fft.irfft2(power / np.maximum(np.abs(power), 1e-12 * float(np.abs(power).max()) + 1e-30), first.shape)
    peak = np.unravel_index(int(np.argmax(surface)), surface.shape)
    z = float((surface[peak] - surface.mean()) / (surface.std() + 1e-12))
    height, width = first.shape
    readings = [(y, x) for y in (int(peak[0]), int(peak[0]) - height) for x in (int(peak[1]), int(peak[1]) - width)]
    best = max((measure(first, second, reading) for reading in readings), key=lambda found: found.correlation)
    return PhaseShift(best.shift_px, z, best.correlation)
