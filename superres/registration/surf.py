"""SURF: points where the Hessian's determinant peaks in place and scale, and their 64 numbers.

Written after Bay, Ess, Tuytelaars and Van Gool, "Speeded-Up Robust Features (SURF)", CVIU 110, 346 (2008),
doi:10.1016/j.cviu.2007.09.014.  Patent notice: US 8,165,401 (filed 2007-04-30) covers parts of this method.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from superres.image import FloatArray

FILTER_SIZES = ((9, 15, 21, 27), (15, 27, 39, 51), (27, 51, 75, 99))
THRESHOLD = 2e-4
HESSIAN_WEIGHT = 0.912
"""0.9 in the paper's text: the ratio of Frobenius norms of box and Gaussian second derivatives for the 9 × 9 filter."""

Values = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Integral = npt.NDArray[np.float64]


def surf(grey: FloatArray, *, upright: bool = True, threshold: float = THRESHOLD,
         ) -> tuple[Values, npt.NDArray[np.float32]]:
    """Feature points and descriptors.

    grey: (H, W) in [0, 1].  upright: descriptors along the image axes, good to ±15° of rotation; otherwise along each
    point's dominant Haar response.  Sampled at every pixel in every octave.
    Returns ((n, 2) (y, x) in pixels, the centre of pixel (0, 0) at (0.5, 0.5); (n, 64) float32 of unit length).
    """
    table = np.zeros((grey.shape[0] + 1, grey.shape[1] + 1))
    table[1:, 1:] = np.cumsum(np.cumsum(grey, axis=0, dtype=np.float64), axis=1)
    responses: dict[int, Values] = {}
    found = []
    for sizes in FILTER_SIZES:
        if sizes[2] >= min(grey.shape):
            break
        for size in sizes:
            if size not in responses:
                responses[size] = _hessian(table, size)
        for low in (0, 1):
            found.append(_maxima([responses[size] for size in sizes[low:low + 3]], sizes[low:low + 3], threshold))
    points = np.concatenate(found) if found else np.zeros((0, 3))
    if not len(points):
        return np.zeros((0, 2)), np.zeros((0, 64), dtype=np.float32)
    angles = np.zeros(len(points)) if upright else _orientation(table, points)
    descriptors = _describe(table, points, angles)
    return points[:, :2] + 0.5, descriptors


def _box(table: Integral, top: Whole, left: Whole, height: Whole | int, width: Whole | int) -> Values:
    """Sums over boxes given by integer arrays of their corners; parts outside the image count as nothing."""
    y0, y1 = np.clip(top, 0, table.shape[0] - 1), np.clip(top + height, 0, table.shape[0] - 1)
    x0, x1 = np.clip(left, 0, table.shape[1] - 1), np.clip(left + width, 0, table.shape[1] - 1)
    return np.asarray(table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0])


def _hessian(table: Integral, size: int) -> Values:
    """Determinant of the box-filter Hessian, normalised by the filter's area; −1 where the filter leaves the image."""
    height, width = table.shape[0] - 1, table.shape[1] - 1
    lobe, reach = size // 3, size // 2
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    long, half = 2 * lobe - 1, lobe // 2

    def box(dy: int, dx: int, h: int, w: int) -> Values:
        return _box(table, y + dy, x + dx, h, w)

    yy = box(-reach, -(lobe - 1), size, long) - 3 * box(-half, -(lobe - 1), lobe, long)
    xx = box(-(lobe - 1), -reach, long, size) - 3 * box(-(lobe - 1), -half, long, lobe)
    xy = (box(-lobe, 1, lobe, lobe) + box(1, -lobe, lobe, lobe) - box(-lobe, -lobe, lobe, lobe) - box(1, 1, lobe, lobe))
    area = float(size * size)
    result = (yy * xx - (HESSIAN_WEIGHT * xy) ** 2) / area ** 2
    inside = np.zeros((height, width), dtype=bool)
    inside[reach + 1:height - reach - 1, reach + 1:width - reach - 1] = True
    return np.where(inside, result, -1.0)


def _maxima(layers: list[Values], sizes: tuple[int, ...], threshold: float) -> Values:
    """Maxima of 3 × 3 × 3 neighbourhoods, moved to the top of a quadratic.  (n, 3): y, x in index pixels, scale
    sigma."""
    stack = np.stack(layers)
    height, width = stack.shape[1:]
    middle = stack[1, 1:-1, 1:-1]
    top = middle > threshold
    for layer in range(3):
        for dy in range(3):
            for dx in range(3):
                if (layer, dy, dx) != (1, 1, 1):
                    top &= middle > stack[layer, dy:height - 2 + dy, dx:width - 2 + dx]
    rows, columns = np.nonzero(top)
    rows, columns = rows + 1, columns + 1
    if not len(rows):
        return np.zeros((0, 3))
    cube = np.stack([np.stack([np.stack([stack[s, rows + dy, columns + dx] for dx in (-1, 0, 1)], -1)
                               for dy in (-1, 0, 1)], -2) for s in range(3)], -3)
    c = cube[:, 1, 1, 1]
    ends = [(cube[:, 2, 1, 1], cube[:, 0, 1, 1]), (cube[:, 1, 2, 1], cube[:, 1, 0, 1]),
            (cube[:, 1, 1, 2], cube[:, 1, 1, 0])]
    gradient = np.stack([(high - low) / 2 for high, low in ends], -1)
    hessian = np.empty((len(c), 3, 3))
    for axis, (high, low) in enumerate(ends):
        hessian[:, axis, axis] = high - 2 * c + low
    for a, b in ((0, 1), (0, 2), (1, 2)):
        mixed = cube.take(1, axis=1 + 3 - a - b)  # the plane of axes a and b through the middle of the third
        hessian[:, a, b] = hessian[:, b, a] = (mixed[:, 2, 2] - mixed[:, 2, 0] - mixed[:, 0, 2] + mixed[:, 0, 0]) / 4
    regular = np.abs(np.linalg.det(hessian)) > 1e-30
    offset = np.full((len(c), 3), np.inf)
    offset[regular] = -np.linalg.solve(hessian[regular], gradient[regular][:, :, None])[:, :, 0]
    good = (np.abs(offset) < 1.0).all(axis=1)
    size = sizes[1] + offset[good, 0] * (sizes[1] - sizes[0])
    return np.stack([rows[good] + offset[good, 1], columns[good] + offset[good, 2], 1.2 * size / 9], axis=1)


def _haar(table: Integral, y: Values, x: Values, scale: Values) -> tuple[Values, Values]:
    """Haar responses along y and x with boxes of 2 × scale, centred on (y, x) to a pixel; mean intensities."""
    half = np.maximum(1, np.rint(scale)).astype(np.int64)
    top = np.rint(y + 0.5).astype(np.int64) - half
    left = np.rint(x + 0.5).astype(np.int64) - half
    area = (2.0 * half * half)
    down = (_box(table, top + half, left, half, 2 * half) - _box(table, top, left, half, 2 * half)) / area
    right = (_box(table, top, left + half, 2 * half, half) - _box(table, top, left, 2 * half, half)) / area
    return down, right


def _orientation(table: Integral, points: Values) -> Values:
    """The direction of the largest summed Haar response in a window of 60°, in radians from x towards y."""
    grid = np.array([(i, j) for i in range(-6, 7) for j in range(-6, 7) if i * i + j * j <= 36], dtype=np.float64)
    scale = points[:, 2:3]
    down, right = _haar(table, points[:, :1] + grid[:, 0] * scale, points[:, 1:2] + grid[:, 1] * scale, 2 * scale)
    weight = np.exp(-(grid ** 2).sum(axis=1) / (2 * 2.5 ** 2))
    down, right = down * weight, right * weight
    angle = np.arctan2(down, right)
    best = np.zeros(len(points))
    strength = np.full(len(points), -1.0)
    for start in np.arange(-np.pi, np.pi, np.pi / 18):
        within = (np.mod(angle - start, 2 * np.pi) < np.pi / 3)
        total = (down * within).sum(axis=1), (right * within).sum(axis=1)
        power = total[0] ** 2 + total[1] ** 2
        better = power > strength
        strength[better] = power[better]
        best[better] = np.arctan2(total[0], total[1])[better]
    return best


def _describe(table: Integral, points: Values, angles: Values) -> npt.NDArray[np.float32]:
    """Sums of dx, |dx|, dy, |dy| over 4 × 4 squares of 5 × 5 samples, 20 scales wide, weighted by a Gaussian of 3.3
    scales."""
    steps = np.arange(-10, 10) + 0.5
    v, u = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    scale = points[:, 2:3]
    y = points[:, :1] + scale * (v * cosine + u * sine)
    x = points[:, 1:2] + scale * (u * cosine - v * sine)
    down, right = _haar(table, y, x, scale)
    weight = np.exp(-(u ** 2 + v ** 2) / (2 * 3.3 ** 2))
    along, across = weight * (right * cosine + down * sine), weight * (down * cosine - right * sine)
    parts = []
    for values in (along, np.abs(along), across, np.abs(across)):
        parts.append(values.reshape(-1, 4, 5, 4, 5).sum(axis=(2, 4)).reshape(-1, 16))
    descriptor = np.concatenate(parts, axis=1)
    length = np.linalg.norm(descriptor, axis=1, keepdims=True)
    return np.asarray(descriptor / np.maximum(length, 1e-12), dtype=np.float32)
