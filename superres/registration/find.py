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
PEAKS, LOW = 12, 0.5
"""So many peaks are remembered, and of those that are less than half as high as the first only the highest."""
SAMPLE = 200_000
"""So many places of a correlation surface say what its median is."""


@dataclass(frozen=True)
class Found:
    """The best place of a template.

    centre_px: (y, x) of the template's centre in full-resolution pixels from the mosaic's outer corner.
    rotation_deg: of the hypothesis that won.  correlation, ratio (second / first peak, the second at least a quarter
    template away), z ((peak − median) / MAD of all places).  others: the next peaks down to the first below LOW, up to
    PEAKS − 1 of them, each with its height in parts of the first.
    """

    centre_px: tuple[float, float]
    rotation_deg: float
    correlation: float
    ratio: float
    z: float
    others: tuple[tuple[tuple[float, float], float], ...] = ()

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


def searchable(scene: FloatArray, covered: npt.NDArray[np.bool_]) -> FloatArray:
    """A reduced mosaic made ready for `locate`: (H', W') band-passed, 0 where no tile lies or its edge is felt."""
    fill = float(scene[covered].mean()) if covered.any() else 0.0
    bands = band_pass(np.where(covered, scene, np.float32(fill)).astype(np.float32))
    if not covered.all():
        bands[ndimage.binary_dilation(~covered, iterations=BORDER_PX)] = 0.0
    return bands


def locate(template: FloatArray, bands: FloatArray, reduction: int, rotations_deg: Sequence[float]) -> Found:
    """The best place over all rotations given.

    template: (h, w) full-resolution grey.  bands: (H', W') of `searchable`, reduced by `reduction`; it may be smaller
    than the template, and the template may stick out by up to half its size.
    rotations_deg: the template is turned by these (Transform's sense, template → scene) and cut to what stays inside.
    Both are band-passed.  Measured on drawn and real tissue, fields of 80 to 280 coarse px: places turned by up to 3
    degrees have ratios up to 0.61 and z from 10.6; absent, mirrored and half-sized fields have ratios above 0.75 or z
    up to 9.0.  On plain grey the ranges overlap (ratio 0.78, z 4.4 for correct places).
    """
    small = reduce(template, reduction)
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
    # Windows without any contrast give infinities, or anything.
    surface[~(np.abs(surface) <= 1.001)] = 0.0
    sample = surface.ravel()[::max(1, surface.size // SAMPLE)].copy()
    apart = max(1, part.shape[0] // 4), max(1, part.shape[1] // 4)
    peaks: list[tuple[float, tuple[float, float]]] = []
    while len(peaks) < PEAKS:
        _, height, _, (x, y) = cv2.minMaxLoc(surface)
        if not np.isfinite(height):
            break
        centre = ((y - reach[0] + part.shape[0] / 2) * reduction, (x - reach[1] + part.shape[1] / 2) * reduction)
        peaks.append((float(height), centre))
        if height < LOW * peaks[0][0]:
            break
        surface[max(0, y - apart[0]):y + apart[0] + 1, max(0, x - apart[1]):x + apart[1] + 1] = -np.inf
        if len(peaks) == 1:
            elsewhere = surface.ravel()[::max(1, surface.size // SAMPLE)]
            elsewhere = elsewhere[np.isfinite(elsewhere)]
            sample = elsewhere if len(elsewhere) > 100 else sample
    median = float(np.median(sample))
    spread = float(np.median(np.abs(sample - median))) + 1e-6
    first, place = peaks[0]
    second = peaks[1][0] if len(peaks) > 1 else 0.0
    ratio = max(0.0, second) / first if first > 1e-6 else 1.0
    others = tuple((centre, height / first) for height, centre in peaks[1:]) if first > 1e-6 else ()
    return Found(place, angle_deg, first, float(ratio), (first - median) / spread, others)


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
