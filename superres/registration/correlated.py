"""Where the parts of a placed field lie, by correlation: also of parts with too few features, or out of focus.

Under the filters that match the two images best (see `bands`) a part that lies within reach stands out: of 356 parts of
fields out of focus and with noise, 95 % have a peak of at least MIN_PEAK that is lone by MAX_RATIO, and none of 4,616
parts that were laid on other tissue.
"""

from __future__ import annotations

from itertools import pairwise, product

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from superres.image import FloatArray
from superres.registration.bands import matched_bands
from superres.registration.icgn import usable
from superres.registration.torn import NO_PARTS, PARTS, Parts
from superres.resample import index_matrix
from superres.transform import Map

REACH_PX = 6
"""How far beside its place a part is looked for, along each axis."""
BORDER_PX = 4
"""Along the edges of the field, where filters mix in what is reflected; the parts lie within."""
MIN_SIDE_PX = 20
LONE_PX = 3
MAX_RATIO, MIN_PEAK, MIN_SIGMAS = 0.75, 0.2, 5.0
"""A part is judged where no correlation farther than LONE_PX from the peak is more than MAX_RATIO of it, and the peak
is at least MIN_PEAK, and MIN_SIGMAS times what white noise correlates."""

Values = npt.NDArray[np.float64]


def correlated_parts(field: FloatArray, field_pixel_um: float, scene: FloatArray, scene_pixel_um: float, place: Map,
                     known: npt.NDArray[np.bool_]) -> Parts:
    """The parts of a field that a scene shows within REACH_PX of where `place` puts them.

    field: (h, w) grey; scene: (H, W) grey of about the same pitch.  place: field µm → scene µm, good for most of the
    field.  known: (H, W), where the scene was taken.  Parts that reach beyond are left out; fields of less than two
    parts a side have none.
    """
    counts = [min(PARTS, (length - 2 * BORDER_PX) // MIN_SIDE_PX) for length in field.shape]
    if min(counts) < 2:
        return NO_PARTS
    matrix = index_matrix(place.linear.matrix, field_pixel_um, scene_pixel_um)
    offset = matrix[:2, 2] - matrix[:2, :2] @ np.full(2, REACH_PX)
    size = [length + 2 * REACH_PX for length in field.shape]

    def shown(plane: Values | FloatArray, order: int) -> Values:
        return np.asarray(ndimage.affine_transform(plane, matrix[:2, :2], offset, size, np.float64, order, "constant"))

    inner = slice(REACH_PX, -REACH_PX)
    for_field, for_scene = matched_bands(np.asarray(field, np.float64), shown(scene, 3)[inner, inner])
    own, other = for_field.filtered(field), shown(for_scene.filtered(scene), 3)
    seen = shown(usable(scene.shape, known).astype(np.float32), 0) > 0
    rows, columns = (np.linspace(BORDER_PX, length - BORDER_PX, count + 1).astype(int)
                     for length, count in zip(field.shape, counts, strict=True))
    found = []
    for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns)):
        around = slice(top, bottom + 2 * REACH_PX), slice(left, right + 2 * REACH_PX)
        seen_at = _look(own[top:bottom, left:right], other[around]) if seen[around].all() else None
        if seen_at is not None:
            shift_px, error_px = seen_at
            centre_um = np.array([top + bottom, left + right]) / 2 * field_pixel_um
            beside_um = place.linear.apply(centre_um + shift_px * field_pixel_um) - place.apply(centre_um)
            found.append((centre_um, beside_um / scene_pixel_um, error_px))
    return Parts(*(np.array(each) for each in zip(*found, strict=True))) if found else NO_PARTS


def _look(part: Values, around: Values) -> tuple[Values, float] | None:
    """How far a part lies from the middle of what is around its place, and the standard error of a component, in
    pixels; None where that is not certain."""
    correlation = cv2.matchTemplate(around.astype(np.float32), part.astype(np.float32),
                                    cv2.TM_CCOEFF_NORMED).astype(np.float64)
    y, x = np.unravel_index(int(correlation.argmax()), correlation.shape)
    peak = float(correlation[y, x])
    rows, columns = np.ogrid[:correlation.shape[0], :correlation.shape[1]]
    second = float(correlation[np.hypot(rows - y, columns - x) > LONE_PX].max())
    inside = 0 < y < correlation.shape[0] - 1 and 0 < x < correlation.shape[1] - 1
    if not inside or peak < max(MIN_PEAK, MIN_SIGMAS / np.sqrt(part.size)) or second > MAX_RATIO * peak:
        return None
    # Of least squares under white noise, which the filters make it: its variance, from the correlation, over the
    # squares of the gradients.
    down, right = (each.ravel() for each in np.gradient(part))
    normal = np.array([[down @ down, down @ right], [down @ right, right @ right]])
    if np.linalg.det(normal) <= 1e-6 * np.trace(normal) ** 2:
        return None
    noise = float(np.mean(part ** 2)) * max(0.0, 1 - peak ** 2) / peak ** 2
    exact = [_vertex(*line) for line in (correlation[y - 1:y + 2, x], correlation[y, x - 1:x + 2])]
    return np.array([y, x]) - REACH_PX + exact, float(np.sqrt(noise * np.trace(np.linalg.inv(normal)) / 2))


def _vertex(before: float, at: float, after: float) -> float:
    """Where the parabola through three values, of which the middle one is largest, has its top: from the middle."""
    return float((before - after) / (2 * (before - 2 * at + after)))
