"""Flat field: the relative illumination of a camera's frame, estimated from the tiles of a scan.

Two kinds of evidence go into one robust least-squares fit of a smooth surface to log intensity.  Overlaps: the same
place of the specimen seen at two places of the camera; the tissue cancels.  Tile means: what all tiles share at a
place of the camera; the tissue does not cancel but averages out, and this alone reaches the middle of a frame.
Where tiles differ in brightness as a whole, one gain a tile is fitted beside the surface: left in the overlaps, steps
of 2 % bend it by 1.5 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from superres.image import FloatArray
from superres.registration.edges import Edge
from superres.registration.frames import Frames
from superres.registration.shifts import overlap_of

MIN_TILES = 4
QUARTIC_TILES = 12
"""From fewer tiles a quartic surface would follow the tissue; a quadratic one holds a tilt and a vignette."""
BLOCKS = 24
MEAN_TRUST = 0.1
"""Neighbouring block means of one tile share their tissue, so each counts as a tenth of an independent one."""
MIN_GAIN = 0.1
"""A surface that explains less than a tenth of the variance between overlapping frames is noise: no flat field then."""
ROUNDS = 12
MIN_STEP, MAX_STEP = 0.005, 0.2
"""Steps between tiles (RMS of log intensity) below the first are left to the surface's fit: what it leaves of 35 %
vignetting makes 0.002.  Beyond the second they are not gains: electron microscopes with automatic brightness have
0.4."""
SEEN_SLOPE = 0.03
"""What planted gains of 5 % leave of a slope, which is no news: 1 %."""
SATURATED = 0.995
DARK = 0.02

Values = npt.NDArray[np.float64]


def estimate_flat_field(frames: Frames, edges: Sequence[Edge]) -> FloatArray | None:
    """The relative illumination, mean 1, (h, w) or (h, w, 3) float32; None with fewer than 4 tiles or 3 edges, or where
    it would explain nothing.

    edges: with shifts to a pixel; only accepted ones are used.
    """
    used = [edge for edge in edges if edge.accepted]
    if len(frames) < MIN_TILES or len(used) < 3:
        return None
    order = 4 if len(frames) >= QUARTIC_TILES else 2
    ends = np.array([(edge.first, edge.second) for edge in used])
    pairs = [_overlap_evidence(frames, edge) for edge in used]
    means = [_mean_evidence(frames, tile) for tile in range(len(frames))]
    planes = []
    gained = False
    for channel in range(frames.channels):
        coefficients, gain = _fit(order, [_channel(p, channel) for p in pairs], [_channel(m, channel) for m in means],
                                  ends)
        gained = gained or gain >= MIN_GAIN
        y, x = _camera(frames.shape_px)
        surface = np.exp(np.asarray(_basis(y[:, None], x[None], order) @ coefficients))
        planes.append(surface / surface.mean())
    if not gained:
        return None
    return np.asarray(planes[0] if len(planes) == 1 else np.stack(planes, axis=2), dtype=np.float32)


def described_flat_field(flat: FloatArray | None) -> str:
    """For the notes of a mosaic.  A slope is also what a scan leaves that gets darker or brighter on its way: in every
    overlap the two look alike, and only what all tiles share tells them apart, as well as tissue lets it."""
    if flat is None:
        return "none: too few overlapping tiles, or nothing to correct"
    text = f"{100 * (float(flat.max()) - float(flat.min())):.1f} % from darkest to brightest"
    plane = flat.mean(axis=2) if flat.ndim == 3 else flat
    slopes = []
    for axis, (low, high) in enumerate((("top", "bottom"), ("left", "right"))):
        along = _camera((plane.shape[0], plane.shape[1]))[axis]
        rise = 2 * float(along @ plane.mean(axis=1 - axis)) / float(along @ along)
        if abs(rise) >= SEEN_SLOPE:
            slopes.append(f"{100 * abs(rise):.0f} % from {high if rise > 0 else low} to {low if rise > 0 else high}")
    return f"{text}; it falls by {' and '.join(slopes)}: shading, or a drift over the scan" if slopes else text


Evidence = tuple[Values, Values, Values]
"""(n, 2) places in the camera, (n, 2) the other frame's places (NaN for means), (n, channels) log intensities."""


def _camera(shape_px: tuple[int, int]) -> tuple[Values, Values]:
    """Camera coordinates in (−1, 1) of pixel centres."""
    y, x = ((np.arange(length) + 0.5) / length * 2 - 1 for length in shape_px)
    return y, x


def _basis(y: Values, x: Values, order: int) -> Values:
    """Monomials of degree 1 … order, each centred; the constant is left out because a flat field is relative."""
    y, x = np.broadcast_arrays(y, x)
    terms = [y ** i * x ** (degree - i) - _mean_power(i) * _mean_power(degree - i)
             for degree in range(1, order + 1) for i in range(degree + 1)]
    return np.stack(terms, axis=-1)


def _mean_power(power: int) -> float:
    return 1 / (power + 1) if power % 2 == 0 else 0.0


def _block_means(planes: FloatArray, block: int) -> Values:
    """Log of the mean intensity of block × block pixels, NaN where saturated or dark.  (rows, columns, channels)."""
    rows, columns = planes.shape[0] // block, planes.shape[1] // block
    cut = planes[:rows * block, :columns * block].reshape(rows, block, columns, block, -1)
    mean = cut.mean(axis=(1, 3), dtype=np.float64)
    mean[(mean > SATURATED) | (mean < DARK)] = np.nan
    return np.asarray(np.log(mean))


def _block_places(offset: tuple[int, int], grid: tuple[int, ...], block: int, shape_px: tuple[int, int]) -> Values:
    axes = [((offset[k] + (np.arange(grid[k]) + 0.5) * block) / shape_px[k]) * 2 - 1 for k in range(2)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def _overlap_evidence(frames: Frames, edge: Edge) -> Evidence:
    whole = (int(round(edge.shift_px[0])), int(round(edge.shift_px[1])))
    a, b = overlap_of(frames.raw(edge.first).unit(), frames.raw(edge.second).unit(), whole)
    block = max(4, min(max(frames.shape_px) // BLOCKS, min(a.shape[:2]) // 2))
    means = _block_means(a, block), _block_means(b, block)
    starts = ((max(0, whole[0]), max(0, whole[1])), (max(0, -whole[0]), max(0, -whole[1])))
    places = [_block_places(start, means[0].shape[:2], block, frames.shape_px) for start in starts]
    return places[0], places[1], (means[0] - means[1]).reshape(-1, means[0].shape[2])


def _mean_evidence(frames: Frames, tile: int) -> Evidence:
    unit = frames.raw(tile).unit()
    block = max(4, max(frames.shape_px) // BLOCKS)
    means = _block_means(unit, block)
    places = _block_places((0, 0), means.shape[:2], block, frames.shape_px)
    values = means.reshape(-1, means.shape[2])
    centre = np.array([np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else 0.0
                       for column in values.T])
    return places, np.full_like(places, np.nan), values - centre


def _channel(evidence: Evidence, channel: int) -> Evidence:
    values = evidence[2][:, channel]
    good = np.isfinite(values)
    return evidence[0][good], evidence[1][good], values[good]


def _fit(order: int, pairs: Sequence[Evidence], means: Sequence[Evidence], ends: npt.NDArray[np.int64],
         ) -> tuple[Values, float]:
    """Coefficients, and the share of the overlaps' robust variance that they explain.

    pairs: of each overlap, whose two tiles are a row of ends.
    """
    pair_rows = np.concatenate([_basis(a[:, 0], a[:, 1], order) - _basis(b[:, 0], b[:, 1], order) for a, b, _ in pairs])
    pair_values = np.concatenate([v for *_, v in pairs])
    mean_rows = np.concatenate([_basis(a[:, 0], a[:, 1], order) for a, *_ in means])
    mean_values = np.concatenate([v for *_, v in means])
    coefficients = np.zeros(pair_rows.shape[1])
    if len(pair_values) < 4 * len(coefficients):
        return coefficients, 0.0
    steps = np.zeros(len(pair_values))
    rows = np.concatenate([pair_rows, mean_rows])
    for _ in range(ROUNDS):
        weights = _weights(pair_values - pair_rows @ coefficients, mean_values - mean_rows @ coefficients)
        values = np.concatenate([pair_values, mean_values])
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(rows * root[:, None], values * root, rcond=None)[0]
    overlap = np.repeat(np.arange(len(pairs)), [len(v) for *_, v in pairs])
    spread = _step_spread(pair_values - pair_rows @ coefficients, overlap)
    if MIN_STEP < spread <= MAX_STEP:
        for _ in range(ROUNDS):
            weights = _weights(pair_values - steps - pair_rows @ coefficients, mean_values - mean_rows @ coefficients)
            coefficients, gains = _with_gains(rows, np.concatenate([pair_values, mean_values]), weights, overlap, ends,
                                              spread)
            steps = (gains[ends[:, 0]] - gains[ends[:, 1]])[overlap]
    before, after = _spread(pair_values - steps), _spread(pair_values - steps - pair_rows @ coefficients)
    return coefficients, 1 - (after / max(before, 1e-12)) ** 2


def _weights(pair_residual: Values, mean_residual: Values) -> Values:
    return np.concatenate([_huber(pair_residual), MEAN_TRUST * _huber(mean_residual - np.median(mean_residual))])


def _step_spread(residual: Values, overlap: npt.NDArray[np.int64]) -> float:
    """RMS of the median residuals of the overlaps.  overlap: its number for each residual."""
    medians = [float(np.median(residual[overlap == each])) for each in np.unique(overlap)]
    return float(np.sqrt(np.mean(np.square(medians))))


def _with_gains(rows: Values, values: Values, weights: Values, overlap: npt.NDArray[np.int64],
                ends: npt.NDArray[np.int64], spread: float) -> tuple[Values, Values]:
    """Weighted least squares for a surface and one log gain a tile.

    rows, values, weights: of the overlaps' evidence, then of the tiles' own, which is relative and knows no gain.
    spread: RMS of the steps; gains are taken to scatter about 0 as two that make such a step.  A slow drift over the
    scan looks like a slope of the surface in every overlap, and would else take its part.
    """
    count, tiles = rows.shape[1], int(ends.max()) + 1
    paired = len(overlap)
    weighted = weights[:, None] * rows
    number = len(ends)
    per_overlap = np.stack([np.bincount(overlap, weighted[:paired, k], number) for k in range(count)], axis=1)
    trust = np.bincount(overlap, weights[:paired], number)
    said = np.bincount(overlap, (weights * values)[:paired], number)
    normal = np.zeros((count + tiles, count + tiles))
    right = np.zeros(count + tiles)
    normal[:count, :count], right[:count] = rows.T @ weighted, weighted.T @ values
    for end, sign in ((ends[:, 0], 1.0), (ends[:, 1], -1.0)):
        np.add.at(normal[count:, :count], end, sign * per_overlap)
        np.add.at(right[count:], end, sign * said)
        for other, other_sign in ((ends[:, 0], 1.0), (ends[:, 1], -1.0)):
            np.add.at(normal[count:, count:], (end, other), sign * other_sign * trust)
    normal[:count, count:] = normal[count:, :count].T
    normal[count:, count:] += 2 / spread ** 2 * np.eye(tiles)
    solved = np.linalg.solve(normal, right)
    return solved[:count], solved[count:]


def _spread(residual: Values) -> float:
    return 1.4826 * float(np.median(np.abs(residual))) + 1e-9


def _huber(residual: Values) -> Values:
    """Inverse variance times Huber's weight."""
    scale = _spread(residual)
    return np.minimum(1.0, 1.5 * scale / np.maximum(np.abs(residual), 1e-12)) / scale ** 2
