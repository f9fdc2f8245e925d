"""Reading a mosaic: regions at full resolution and a small overview, blended from raw frames at sub-pixel places.

A mosaic is never held as one array.  Frames are divided by the flat field, placed by one cubic spline interpolation
(tiles rounded to whole pixels cost 0.36 px in the pairs) and weighted by their distance to the frame's border, so that
weights fall to zero exactly where a frame ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from superres.errors import ImageError
from superres.image import FloatArray, Image, Readable, luma
from superres.resample import index_matrix
from superres.transform import Transform

SPLINE_MARGIN_PX = 12
"""The cubic spline's prefilter forgets as 0.268^n: 12 pixels leave 1e-7 of what lies beyond a cut."""


class Placed(Protocol):
    """A frame with its place (what api.PlacedTile is)."""

    @property
    def image(self) -> Readable: ...

    @property
    def to_mosaic(self) -> Transform: ...

    @property
    def gain(self) -> float: ...

    @property
    def offset(self) -> float: ...


class Mosaicked(Protocol):
    """Frames with places and a common flat field (what api.Mosaic is)."""

    @property
    def tiles(self) -> Sequence[Placed]: ...

    @property
    def shape_px(self) -> tuple[int, int]: ...

    @property
    def tile_shape_px(self) -> tuple[int, int]: ...

    @property
    def pixel_size_um(self) -> float: ...

    @property
    def flat_field(self) -> FloatArray | None: ...


@dataclass(frozen=True, eq=False)
class _Window:
    """The part of an output grid that one frame can touch: slices of the output, and the index map into the frame."""

    rows: slice
    columns: slice
    matrix: npt.NDArray[np.float64]


def read_region(mosaic: Mosaicked, top: int, left: int, height: int, width: int, *, equalised: bool = True) -> Image:
    """Blend the mosaic pixels [top, top + height) × [left, left + width).

    equalised: by the gain and offset of each tile.
    Returns float32 in units of white, white level 1, 0 where no tile lies; RGB if any tile that touches it is RGB, else
    one channel.  The region may reach beyond the mosaic.  Memory: three times the region and two frames.
    Raises ImageError for an empty region.
    """
    if height < 1 or width < 1:
        raise ImageError(f"mosaic region of {height} × {width} px; expected at least 1 × 1")
    pixel, size_um = mosaic.pixel_size_um, _tile_size_um(mosaic)
    total: FloatArray | None = None
    weights = np.zeros((height, width), dtype=np.float32)
    icc_profile = None
    for tile in _by_place(_near(mosaic, (top, left), (height, width))):
        window = _window(tile.to_mosaic, size_um, (top, left), (height, width), pixel, pixel)
        if window is None:
            continue
        raw = tile.image.read()
        values, weight = _sample(raw, mosaic.flat_field, window)
        if equalised:
            values = _equalised(values, tile)
        icc_profile = icc_profile or raw.icc_profile
        if total is None:
            total = np.zeros((height, width, *values.shape[2:]), dtype=np.float32)
        if total.ndim < values.ndim:
            total = np.repeat(total[:, :, None], 3, axis=2)
        spread = weight if total.ndim == 2 else weight[:, :, None]
        total[window.rows, window.columns] += (values if values.ndim == total.ndim else values[:, :, None]) * spread
        weights[window.rows, window.columns] += weight
    if total is None:
        total = np.zeros((height, width), dtype=np.float32)
    divisor = np.where(weights > 0, weights, np.float32(1))
    total /= divisor if total.ndim == 2 else divisor[:, :, None]
    return Image(total, pixel, 1.0, f"mosaic[{top}:{top + height}, {left}:{left + width}]", icc_profile)


def covered_region(mosaic: Mosaicked, top: int, left: int, height: int, width: int) -> npt.NDArray[np.bool_]:
    """(height, width) bool: where `read_region` finds a tile, whatever its pixels hold.  Decodes nothing."""
    pixel, size_um = mosaic.pixel_size_um, _tile_size_um(mosaic)
    covered = np.zeros((height, width), dtype=np.bool_)
    for tile in _near(mosaic, (top, left), (height, width)):
        window = _window(tile.to_mosaic, size_um, (top, left), (height, width), pixel, pixel)
        if window is not None:
            covered[window.rows, window.columns] |= _weights(window, mosaic.tile_shape_px) > 0
    return covered


def overview(mosaic: Mosaicked, reduction: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The whole mosaic in grey, its tiles equally bright, reduction times smaller, reading every tile once.

    Returns ((H', W') float32 in units of white, (H', W') bool: covered by a tile), H' = ceil(H / reduction).  Pixel i
    has its centre at (i + ½)·reduction mosaic pixels.  Frames are smoothed before sampling (sigma = 0.4 reductions).
    """
    shape = (-(-mosaic.shape_px[0] // reduction), -(-mosaic.shape_px[1] // reduction))
    pixel = mosaic.pixel_size_um * reduction
    total = np.zeros(shape, dtype=np.float32)
    weights = np.zeros(shape, dtype=np.float32)
    for tile in _by_place(mosaic.tiles):
        raw = tile.image.read()
        window = _window(tile.to_mosaic, raw.size_um, (0, 0), shape, pixel, raw.pixel_size_um)
        if window is None:
            continue
        grey = grey_frame(raw, mosaic.flat_field)
        if reduction > 1:
            grey = ndimage.gaussian_filter(grey, 0.4 * reduction, mode="nearest", truncate=3.0)
        values, weight = _interpolate(grey, window, order=1 if reduction > 1 else 3)
        total[window.rows, window.columns] += _equalised(values, tile) * weight
        weights[window.rows, window.columns] += weight
    covered = weights > 0
    total[covered] /= weights[covered]
    return total, covered


def grey_frame(raw: Image, flat_field: FloatArray | None) -> FloatArray:
    """One frame in grey, (H, W) float32 in units of white, divided by the flat field."""
    if flat_field is None:
        return raw.grey()
    if flat_field.ndim == 2 or raw.channels == 1:
        flat = flat_field if flat_field.ndim == 2 else luma(flat_field)
        return np.asarray(raw.grey() / flat, dtype=np.float32)
    return luma(raw.unit() / flat_field)


def _equalised(values: FloatArray, tile: Placed) -> FloatArray:
    if tile.gain == 1.0 and tile.offset == 0.0:
        return values
    return values * np.float32(tile.gain) + np.float32(tile.offset)


def _near(mosaic: Mosaicked, origin: tuple[int, int], shape: tuple[int, int]) -> list[Placed]:
    """The tiles that can touch a region, in their order.  A scan has hundreds of tiles and a field touches a few."""
    matrices = np.stack([tile.to_mosaic.matrix for tile in mosaic.tiles])
    y, x = _tile_size_um(mosaic)
    corners = np.array([(0.0, 0.0), (0.0, x), (y, 0.0), (y, x)]) @ matrices[:, :2, :2].transpose(0, 2, 1)
    corners = (corners + matrices[:, None, :2, 2]) / mosaic.pixel_size_um - np.asarray(origin)
    near = (corners.max(axis=1) > -1).all(axis=1) & (corners.min(axis=1) < np.asarray(shape) + 1).all(axis=1)
    return [mosaic.tiles[int(index)] for index in np.flatnonzero(near)]


def _by_place(tiles: Sequence[Placed]) -> list[Placed]:
    """Sums of float32 depend on the order in their last bits; the order of files must not show."""
    return sorted(tiles, key=lambda tile: tuple(tile.to_mosaic.matrix[:2, 2]))


def _tile_size_um(mosaic: Mosaicked) -> tuple[float, float]:
    return mosaic.tile_shape_px[0] * mosaic.pixel_size_um, mosaic.tile_shape_px[1] * mosaic.pixel_size_um


def _window(to_mosaic: Transform, size_um: tuple[float, float], origin: tuple[int, int], shape: tuple[int, int],
            pixel_um: float, frame_pixel_um: float) -> _Window | None:
    """Which output pixels a frame can touch, and where they lie in it; None if it touches none."""
    corners_um = [(0.0, 0.0), (0.0, size_um[1]), (size_um[0], 0.0), size_um]
    corners = to_mosaic.apply(corners_um) / pixel_um - np.asarray(origin)
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int), shape)
    if (high <= low).any():
        return None
    matrix = index_matrix(to_mosaic.inverse().matrix, pixel_um, frame_pixel_um)
    matrix[:2, 2] += matrix[:2, :2] @ (np.asarray(origin) + low)
    return _Window(slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), matrix)


def _sample(raw: Image, flat_field: FloatArray | None, window: _Window) -> tuple[FloatArray, FloatArray]:
    """Values and weights of one frame on its window; only the part of the frame that is needed becomes float."""
    shape = (window.rows.stop - window.rows.start, window.columns.stop - window.columns.start)
    corners = np.array([(0.0, 0.0), (0.0, shape[1]), (shape[0], 0.0), shape])
    ends = corners @ window.matrix[:2, :2].T + window.matrix[:2, 2]
    low = np.clip(np.floor(ends.min(axis=0)).astype(int) - SPLINE_MARGIN_PX, 0, np.asarray(raw.shape_px) - 1)
    high = np.clip(np.ceil(ends.max(axis=0)).astype(int) + SPLINE_MARGIN_PX + 1, low + 1, raw.shape_px)
    part = raw.crop(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])).unit()
    if flat_field is not None:
        flat = flat_field[low[0]:high[0], low[1]:high[1]]
        if part.ndim == 2 and flat.ndim == 3:
            flat = luma(flat)
        part = part / (flat[:, :, None] if part.ndim > flat.ndim else flat)
    weight = _weights(window, raw.shape_px)
    matrix = window.matrix.copy()
    matrix[:2, 2] -= low
    planes = part[:, :, None] if part.ndim == 2 else part
    values = np.stack([_planar(planes[:, :, c], matrix, shape, 3) for c in range(planes.shape[2])], axis=2)
    return (values[:, :, 0] if part.ndim == 2 else values), weight


def _interpolate(plane: FloatArray, window: _Window, order: int) -> tuple[FloatArray, FloatArray]:
    shape = (window.rows.stop - window.rows.start, window.columns.stop - window.columns.start)
    return _planar(plane, window.matrix, shape, order), _weights(window, (plane.shape[0], plane.shape[1]))


def _planar(plane: FloatArray, matrix: npt.NDArray[np.float64], shape: tuple[int, int], order: int) -> FloatArray:
    """Interpolate; a whole-pixel shift is copied, so that a single frame comes back exactly as it is."""
    shift = np.rint(matrix[:2, 2])
    if np.abs(matrix[:2, :2] - np.eye(2)).max() < 1e-9 and np.abs(matrix[:2, 2] - shift).max() < 1e-6:
        result = np.zeros(shape, dtype=np.float32)
        source, target = [], []
        for axis in range(2):
            first = max(0, int(-shift[axis]))
            last = min(shape[axis], plane.shape[axis] - int(shift[axis]))
            target.append(slice(first, max(first, last)))
            source.append(slice(first + int(shift[axis]), max(first, last) + int(shift[axis])))
        result[target[0], target[1]] = plane[source[0], source[1]]
        return result
    return np.asarray(ndimage.affine_transform(plane, matrix[:2, :2], offset=matrix[:2, 2], output_shape=shape,
                                               order=order, mode="nearest", output=np.float32))


def _weights(window: _Window, frame_shape: tuple[int, int]) -> FloatArray:
    """Distance to the frame's border along y times along x, 0 for points outside the frame's pixel centres."""
    rows = np.arange(window.rows.stop - window.rows.start, dtype=np.float64)[:, None]
    columns = np.arange(window.columns.stop - window.columns.start, dtype=np.float64)[None, :]
    weight: npt.NDArray[np.float64] = np.ones((1, 1))
    for axis in range(2):
        index = window.matrix[axis, 0] * rows + window.matrix[axis, 1] * columns + window.matrix[axis, 2]
        last = frame_shape[axis] - 1
        inside = (index >= -1e-6) & (index <= last + 1e-6)
        weight = weight * np.where(inside, np.minimum(index, last - index) + 0.5, 0.0)
    return weight.astype(np.float32)
