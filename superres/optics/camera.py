"""The camera: square pixels that integrate the intensity, a frame anywhere on the object, vignetting, noise and
bits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from superres.image import Array, FloatArray
from superres.optics.abbe import Frame, Reals
from superres.resample import index_matrix
from superres.transform import Transform

SPLINE_ORDER = 5
"""Quintic: at a quarter of the sampling frequency (3.4 cycles/µm on a 0.074 µm grid) it errs by 0.1 %, a cubic by 1.2
%."""

Bits = Literal[8, 12, 16]


@dataclass(frozen=True)
class CameraSettings:
    """What a camera does to the light.

    pixel_size_um: nominal side of its pixels in the object plane.  vignetting: loss of light in the corners, as a share
    of the centre; it grows with the square of the distance from the centre.  noise: standard deviation at white, as a
    share of full scale.  shot_share: which part of the variance at white is shot noise, proportional to the light (0:
    all of it is read noise, the same everywhere).  bits: 8 (uint8), 12 (uint16 with white level 4095) or 16 (uint16).
    """

    pixel_size_um: float
    vignetting: float = 0.0
    noise: float = 0.0
    shot_share: float = 0.0
    bits: Bits = 8

    @property
    def white_level(self) -> int:
        return (1 << self.bits) - 1


@dataclass(frozen=True, eq=False)
class PixelSignal:
    """The light that a pixel would gather, as a function of where on the object it is centred.

    coefficients: (H, W) or (H, W, 3) float32, quintic B-spline coefficients on the object's grid.  pitch_um: of that
    grid.
    """

    coefficients: FloatArray
    pitch_um: float


def integrate_pixels(intensity: FloatArray, pitch_um: float, pixel_um: npt.NDArray[np.float64],
                     workers: int = -1) -> PixelSignal:
    """Integrate an intensity over a camera pixel, exactly in the frequency domain.

    intensity: (H, W) or (H, W, 3), point samples at pitch_um, band-limited by the objective.
    pixel_um: (2, 2) whose columns are the sides of the pixel on the object as (y, x) in µm, so that a turned camera has
    a turned pixel.  Beyond the border the intensity is continued by reflection.
    Returns the signal, normalised to the pixel's area.
    """
    def box(y: Reals, x: Reals) -> Reals:
        return np.asarray(np.sinc(y * pixel_um[0, 0] + x * pixel_um[1, 0])
                          * np.sinc(y * pixel_um[0, 1] + x * pixel_um[1, 1]))

    return filtered_signal(intensity, pitch_um, box, workers)


def filtered_signal(intensity: FloatArray, pitch_um: float, transfer: Callable[[Reals, Reals], Reals],
                    workers: int = -1) -> PixelSignal:
    """An intensity after a linear filter, as a function of place.

    intensity: (H, W) or (H, W, 3), samples at pitch_um; reflected at its border.  transfer: real factor at frequencies
    y, x in cycles/µm (arrays that broadcast).
    """
    if intensity.ndim == 3:
        planes = [filtered_signal(intensity[:, :, channel], pitch_um, transfer, workers).coefficients
                  for channel in range(intensity.shape[2])]
        return PixelSignal(np.stack(planes, axis=2), pitch_um)
    frame = Frame.of((intensity.shape[0], intensity.shape[1]), pitch_um, "reflect")
    rows, columns = frame.shape
    y = np.fft.fftfreq(rows, pitch_um)[:, None]
    x = np.fft.rfftfreq(columns, pitch_um)[None, :]
    spline = _quintic_response(y * pitch_um) * _quintic_response(x * pitch_um)
    spectrum = fft.rfft2(frame.extend(intensity).astype(np.float32), workers=workers)
    spectrum *= (transfer(y, x) / spline).astype(np.float32)
    return PixelSignal(frame.crop(fft.irfft2(spectrum, s=frame.shape, workers=workers)).astype(np.float32), pitch_um)


def sample(signal: PixelSignal, to_object: Transform, shape_px: tuple[int, int], pixel_size_um: float) -> FloatArray:
    """The light on every pixel of a frame, without noise: (h, w) or (h, w, 3) float32.

    to_object: frame µm → object µm, both from outer corners.  shape_px: (height, width) of the frame.
    """
    matrix = index_matrix(to_object.matrix, pixel_size_um, signal.pitch_um)
    coefficients = signal.coefficients
    planes = coefficients[:, :, None] if coefficients.ndim == 2 else coefficients
    result = np.empty((*shape_px, planes.shape[2]), dtype=np.float32)
    window, matrix = _needed_window(planes.shape[:2], matrix, shape_px)

    def fill(channel: int) -> None:
        ndimage.affine_transform(planes[(*window, channel)], matrix[:2, :2], offset=matrix[:2, 2],
                                 output_shape=shape_px, order=SPLINE_ORDER, mode="reflect", prefilter=False,
                                 output=result[:, :, channel])

    with ThreadPoolExecutor(planes.shape[2]) as pool:  # scipy lets go of the interpreter while it interpolates
        list(pool.map(fill, range(planes.shape[2])))
    return result[:, :, 0] if coefficients.ndim == 2 else result


def expose(signal: PixelSignal, to_object: Transform, shape_px: tuple[int, int], camera: CameraSettings,
           rng: np.random.Generator) -> Array:
    """One camera frame.

    signal: see `integrate_pixels`.  to_object, shape_px: see `sample`.  rng: the noise.
    Vignetting comes first, then noise, then clipping and rounding.  Returns uint8, or uint16 for 12 and 16 bits.
    """
    light = sample(signal, to_object, shape_px, camera.pixel_size_um)
    if camera.vignetting:
        shading = relative_illumination(shape_px, camera.vignetting)
        light *= shading if light.ndim == 2 else shading[:, :, None]
    if camera.noise:
        share = camera.shot_share
        spread = camera.noise * np.sqrt(1 - share + share * np.clip(light, 0, None)) if share else camera.noise
        light += spread * rng.standard_normal(light.shape, dtype=np.float32)
    stored = np.rint(np.clip(light, 0.0, 1.0) * camera.white_level)
    return stored.astype(np.uint8 if camera.bits == 8 else np.uint16)


def relative_illumination(shape_px: tuple[int, int], vignetting: float) -> FloatArray:
    """(h, w) float32: 1 in the centre of the frame, 1 − vignetting in its outer corners, quadratic in between."""
    y, x = (((np.arange(count) + 0.5) / count * 2 - 1) * count for count in shape_px)
    square = (y[:, None] ** 2 + x[None, :] ** 2) / (shape_px[0] ** 2 + shape_px[1] ** 2)
    return (1 - vignetting * square).astype(np.float32)


def _quintic_response(cycles_per_sample: Reals) -> Reals:
    """Discrete Fourier transform of the quintic B-spline's samples (66, 26, 1)/120."""
    angle = 2 * np.pi * cycles_per_sample
    return np.asarray((66 + 52 * np.cos(angle) + 2 * np.cos(2 * angle)) / 120)


def _needed_window(available: tuple[int, ...], matrix: npt.NDArray[np.float64], shape_px: tuple[int, int]
                   ) -> tuple[tuple[slice, slice], npt.NDArray[np.float64]]:
    """The part of the grid that a frame touches, and the matrix into it (the spline reaches 3 samples around a
    point)."""
    corners = np.array([[0, 0], [0, shape_px[1] - 1], [shape_px[0] - 1, 0], [shape_px[0] - 1, shape_px[1] - 1]])
    places = corners @ matrix[:2, :2].T + matrix[:2, 2]
    first = np.clip(np.floor(places.min(axis=0)).astype(int) - 4, 0, np.array(available) - 1)
    last = np.clip(np.ceil(places.max(axis=0)).astype(int) + 5, first + 1, available)
    moved = matrix.copy()
    moved[:2, 2] -= first
    return (slice(first[0], last[0]), slice(first[1], last[1])), moved
