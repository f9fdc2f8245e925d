"""Finding a field in a mosaic: normalised cross-correlation at low resolution, and the rule by which a peak is
believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from superres.image import FloatArray
from superres.registration.shifts import band_pass
from superres.resample import index_matrix
from superres.transform import Transform

MIN_TEMPLATE_PX = 40
"""The reduced template keeps at least this many pixels on its shorter side."""
MAX_REDUCTION = 8
BORDER_PX = 4
"""The outer sigma of the band-pass: so far the edge of the covered area is felt."""


@dataclass(frozen=True)
class Found:
    """The best place of a template.

    centre_px: (y, x) of the template's centre in full-resolution pixels from the mosaic's outer corner.
    rotation_deg: of the hypothesis that won.  correlation, ratio (second / first peak, the second at least a quarter
    template away), z ((peak − median) / MAD of all places).
    """

    centre_px: tuple[float, float]
    rotation_deg: float
    correlation: float
    ratio: float
    z: float

    def accepted(self, max_ratio: float, min_z: float) -> bool:
        return self.ratio <= max_ratio and self.z >= min_z


def reduction_for(template_shape: tuple[int, int]) -> int:
    """The power of two, at most 8, by which template and mosaic are reduced for the search."""
    return int(min(MAX_REDUCTION, 2 ** max(0, math.floor(math.log2(max(1.0, min(template_shape) / MIN_TEMPLATE_PX))))))


def reduce(grey: FloatArray, reduction: int) -> FloatArray:
    """(H, W) → (H // reduction, W // reduction), smoothed as `blend.overview` does and sampled at block centres."""
    if reduction == 1:
        return grey
    smooth = cv2.GaussianBlur(np.ascontiguousarray(grey), (0, 0), 0.4 * reduction, borderType=cv2.BORDER_REPLICATE)
    shape = grey.shape[0] // reduction, grey.shape[1] // reduction
    cut = smooth[:shape[0] * reduction, :shape[1] * reduction]
    return np.asarray(cv2.resize(cut, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def locate(template: FloatArray, scene: FloatArray, covered: npt.NDArray[np.bool_], reduction: int,
           rotations_deg: Sequence[float]) -> Found:
    """The best place over all rotations given.

    template: (h, w) full-resolution grey.  scene: (H', W') grey mosaic, reduced by `reduction`, covered where tiles
    lie; it may be smaller than the template, and the template may stick out by up to half its size.
    rotations_deg: the template is turned by these (Transform's sense, template → scene) and cut to what stays inside.
    Both are band-passed.  Measured on drawn and real tissue, fields of 80 to 280 coarse px: places turned by up to 3
    degrees have ratios up to 0.61 and z from 10.6; absent, mirrored and half-sized fields have ratios above 0.75 or z
    up to 9.0.  On plain grey the ranges overlap (ratio 0.78, z 4.4 for correct places).
    """
    small = reduce(template, reduction)
    fill = float(scene[covered].mean()) if covered.any() else 0.0
    bands = band_pass(np.where(covered, scene, np.float32(fill)).astype(np.float32))
    if not covered.all():
        bands[ndimage.binary_dilation(~covered, iterations=BORDER_PX)] = 0.0
    reach = tuple(length // 2 + 1 for length in small.shape)
    padded = np.pad(bands, ((reach[0],) * 2, (reach[1],) * 2))
    best: Found | None = None
    for angle in rotations_deg:
        found = _match(band_pass(_turned(small, angle)), padded, reach, reduction, angle)
        if best is None or found.correlation > best.correlation:
            best = found
    assert best is not None, "locate needs at least one rotation"
    return best


def _turned(plane: FloatArray, angle_deg: float) -> FloatArray:
    """Turned about its centre and cut to what stays inside; beyond 15 degrees the inner square of the middle square."""
    if angle_deg == 0:
        return plane
    height, width = plane.shape
    # OpenCV turns (x, y) counter-clockwise as seen with y downwards; Transform turns y towards x, which is the same
    # way.
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
    turned = cv2.warpAffine(np.ascontiguousarray(plane), matrix, (width, height), flags=cv2.INTER_LINEAR,
                            borderMode=cv2.BORDER_REFLECT)
    sine, cosine = abs(math.sin(math.radians(angle_deg))), abs(math.cos(math.radians(angle_deg)))
    if abs(angle_deg) <= 15:
        cut = int(math.ceil(width * sine / 2)), int(math.ceil(height * sine / 2))
    else:
        side = int(min(height, width) / (sine + cosine))
        cut = (height - side) // 2, (width - side) // 2
    return np.asarray(turned[cut[0]:height - cut[0], cut[1]:width - cut[1]], dtype=np.float32)


def _match(part: FloatArray, scene: FloatArray, reach: tuple[int, ...], reduction: int, angle_deg: float) -> Found:
    surface = cv2.matchTemplate(scene, np.ascontiguousarray(part), cv2.TM_CCOEFF_NORMED)
    surface = np.nan_to_num(surface, posinf=0.0, neginf=0.0)
    surface[np.abs(surface) > 1.001] = 0.0  # windows without any contrast
    _, first, _, at = cv2.minMaxLoc(surface)
    y, x = at[1], at[0]
    apart = max(1, part.shape[0] // 4), max(1, part.shape[1] // 4)
    rest = surface.copy()
    rest[max(0, y - apart[0]):y + apart[0] + 1, max(0, x - apart[1]):x + apart[1] + 1] = -np.inf
    elsewhere = rest[np.isfinite(rest)]
    second = float(elsewhere.max()) if len(elsewhere) else 0.0
    sample = elsewhere if len(elsewhere) > 100 else surface.ravel()
    median = float(np.median(sample))
    spread = float(np.median(np.abs(sample - median))) + 1e-6
    centre = ((y - reach[0] + part.shape[0] / 2) * reduction, (x - reach[1] + part.shape[1] / 2) * reduction)
    ratio = max(0.0, second) / first if first > 1e-6 else 1.0
    return Found(centre, angle_deg, float(first), float(ratio), (float(first) - median) / spread)


def aligned_correlation(template: FloatArray, region: FloatArray, to_region: Transform, template_pixel_um: float,
                        region_pixel_um: float) -> float:
    """The band-passed correlation of a field with the region that a transform (template µm → region µm) says it
    shows."""
    yx = index_matrix(to_region.matrix, template_pixel_um, region_pixel_um)[:2]
    xy = np.ascontiguousarray(yx[::-1][:, [1, 0, 2]])
    shown = cv2.warpAffine(np.ascontiguousarray(region), xy, (template.shape[1], template.shape[0]),
                           flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    a, b = band_pass(template), band_pass(np.asarray(shown, dtype=np.float32))
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).mean() / max(float(np.sqrt((a * a).mean() * (b * b).mean())), 1e-20))
