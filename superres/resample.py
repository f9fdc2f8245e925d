"""Resampling with pixel centres where they belong: bicubic by an exact rational factor, and warping by a transform.

Every resize of the project goes through here.  OpenCV and torch interpolate with a = −0.75 and resize to a rounded
size; both give other numbers than the paper's bicubic (a = −0.5, Keys, IEEE Trans. ASSP 29, 1153 (1981),
doi:10.1109/TASSP.1981.1163711).
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from superres.image import FloatArray

KEYS_A = -0.5


def keys_kernel(distance: npt.NDArray[np.float64], a: float = KEYS_A) -> npt.NDArray[np.float64]:
    """Keys' cubic convolution kernel, support ±2."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=64)
def bicubic_weights(length: int, up: int, down: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Indices and weights of a one-dimensional bicubic resize by exactly up/down.

    Returns (indices, weights), both (ceil(length·up/down), taps).  Output pixel i has its centre at
    (i + ½)·down/up − ½ input pixels.  When shrinking the kernel is stretched by down/up (antialiasing).  Taps beyond
    the border are left out and the others renormalised.
    """
    scale = Fraction(up, down)
    count = math.ceil(scale * length)
    stretch = max(1.0, down / up)
    centre = (np.arange(count) + 0.5) * down / up - 0.5
    taps = 2 * math.ceil(2 * stretch) + 1
    indices = np.floor(centre).astype(np.int64)[:, None] + np.arange(taps) - taps // 2 + 1
    weights = keys_kernel((indices - centre[:, None]) / stretch)
    weights[(indices < 0) | (indices >= length)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    indices = np.clip(indices, 0, length - 1)
    indices.setflags(write=False)
    weights.setflags(write=False)
    return indices, weights


def bicubic(pixels: FloatArray, scale: Fraction) -> FloatArray:
    """Bicubic resize by exactly `scale`, antialiased when shrinking, pixel centres aligned.

    pixels: (H, W) or (H, W, C) float32.  Returns float32 of (ceil(scale·H), ceil(scale·W)[, C]); may overshoot the
    input's range, as cubic interpolation does.
    """
    rows = _matrix(pixels.shape[0], scale)
    columns = _matrix(pixels.shape[1], scale)
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    result = np.empty((rows.shape[0], columns.shape[0], planes.shape[2]), dtype=np.float32)
    for channel in range(planes.shape[2]):
        result[:, :, channel] = (columns @ (rows @ planes[:, :, channel]).T).T
    return result[:, :, 0] if pixels.ndim == 2 else result


def _matrix(length: int, scale: Fraction) -> sparse.csr_array:
    indices, weights = bicubic_weights(length, scale.numerator, scale.denominator)
    count, taps = indices.shape
    rows = np.repeat(np.arange(count), taps)
    return sparse.csr_array((weights.ravel().astype(np.float32), (rows, indices.ravel())), shape=(count, length))


def warp(
    pixels: FloatArray, matrix_px: npt.NDArray[np.float64], shape: tuple[int, int], *, fill: float = 0.0
) -> FloatArray:
    """Resample once, by cubic spline, onto another grid.

    pixels: (H, W) or (H, W, C) float32.  matrix_px: (3, 3), from (y, x, 1) of the *centre of an output pixel index*
    to the index of the input (index frames: the centre of pixel i is i).  shape: (height, width) of the output.
    Samples outside the input are `fill`.  Returns float32.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    result = np.empty((*shape, planes.shape[2]), dtype=np.float32)
    for channel in range(planes.shape[2]):
        result[:, :, channel] = ndimage.affine_transform(
            planes[:, :, channel],
            matrix_px[:2, :2],
            offset=matrix_px[:2, 2],
            output_shape=shape,
            order=3,
            mode="constant",
            cval=fill,
            prefilter=True,
            output=np.float32,
        )
    return result[:, :, 0] if pixels.ndim == 2 else result


def warp_points(pixels: FloatArray, places_px: npt.NDArray[np.float64], *, fill: float = 0.0) -> FloatArray:
    """Resample once, by cubic spline, at places that no matrix gives.

    places_px: (height, width, 2), (y, x) indices into the input of every output pixel.  Else as `warp`.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    at = np.moveaxis(places_px, -1, 0)
    result = np.stack([ndimage.map_coordinates(planes[:, :, channel], at, order=3, mode="constant", cval=fill,
                                               output=np.float32) for channel in range(planes.shape[2])], axis=2)
    return result[:, :, 0] if pixels.ndim == 2 else result


def index_matrix(
    matrix_um: npt.NDArray[np.float64], from_pixel_um: float, to_pixel_um: float
) -> npt.NDArray[np.float64]:
    """A transform between µm frames as a map between pixel indices (see `warp`).

    matrix_um: (3, 3) from µm of one frame to µm of the other, origins at outer corners.  The half pixel between
    corner and centre is accounted for on both sides.
    """
    into_um = np.diag([from_pixel_um, from_pixel_um, 1.0])
    into_um[:2, 2] = 0.5 * from_pixel_um
    out_of_um = np.diag([1 / to_pixel_um, 1 / to_pixel_um, 1.0])
    out_of_um[:2, 2] = -0.5
    return np.asarray(out_of_um @ matrix_um @ into_um)
