"""A smooth local warp on top of a similarity, for optics with distortion.

Blocks of the field say how far their content lies beside its place; a polynomial surface through what they say,
weighted by how much structure each has, is added to one displacement field, and the original scene is looked at anew
through all of it: large blocks and low degrees first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from superres.image import FloatArray
from superres.registration.bands import difference_of_gaussians
from superres.registration.blocks import BlockShifts
from superres.registration.icgn import usable
from superres.resample import index_matrix
from superres.transform import Transform, Warp

BAND = difference_of_gaussians(0.8, 3.0)
BORDER_PX = 8
LEVELS = ((32, 2), (24, 3), (20, 4))
"""Block side in pixels and degree of the surface; lens distortion is of third degree."""
ROUNDS = 4
NODES = 33
HUBER = 1.345
TREND_DEGREE = 3
MIN_BLOCKS_A_TERM = 2

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Smooth:
    """warp: field µm → scene µm.  error_px: expected RMS error over the field in field pixels, by fits to halves of the
    blocks.  largest_px: the longest displacement beside the similarity.  blocks: what the warp leaves."""

    warp: Warp
    error_px: float
    largest_px: float
    blocks: BlockShifts


def refine_smoothly(field: FloatArray, field_pixel_um: float, scene: FloatArray, scene_pixel_um: float,
                    start: Transform, known: npt.NDArray[np.bool_] | None = None) -> Smooth | None:
    """Add a displacement field to a similarity field µm → scene µm that is good to a pixel.

    field, scene, known: as for `icgn.refine`.  Blocks of the field of which the scene does not show every pixel are
    left out; the surface goes on through them.  Returns None where too few are left.
    """
    values, down, right = (plane[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] for plane in BAND.with_gradient(field))
    coefficients = ndimage.spline_filter(BAND.filtered(scene), 3, np.float64, mode="mirror")
    reach = None if known is None or known.all() else usable(scene.shape, known).astype(np.uint8)
    matrix = index_matrix(start.matrix, field_pixel_um, scene_pixel_um)
    lattice = np.asarray(np.indices(values.shape), dtype=np.float64) + BORDER_PX
    unit = _unit(lattice[0], lattice[1], field.shape)
    degree = LEVELS[-1][1]
    surface = np.zeros((_terms(degree), 2))
    error = float("inf")
    for block_px, level_degree in LEVELS:
        for _ in range(ROUNDS):
            moved = _basis(*unit, degree) @ surface
            at = lattice + np.moveaxis(moved, -1, 0)
            places = np.tensordot(matrix[:2, :2], at, axes=1) + matrix[:2, 2][:, None, None]
            shown = ndimage.map_coordinates(coefficients, places, order=3, mode="mirror", prefilter=False)
            seen = None if reach is None else ndimage.map_coordinates(reach, places, order=0, mode="constant") > 0
            sums = _sums(values, down, right, shown, block_px, seen)
            centres = _unit(sums.y + BORDER_PX, sums.x + BORDER_PX, field.shape)
            rows = _basis(*centres, level_degree)
            if len(sums.y) < MIN_BLOCKS_A_TERM * rows.shape[1]:
                return None
            every = np.ones(len(sums.y), dtype=bool)
            step = _solved(rows, sums, every)
            surface[:len(step)] += step
            if np.abs(rows @ step).max() < 1e-3:
                break
        board = (sums.row + sums.column) % 2 == 0
        grid = _basis(*_lattice(15), level_degree)
        apart = grid @ (_solved(rows, sums, board) - _solved(rows, sums, ~board))
        error = 0.5 * float(np.sqrt((apart ** 2).sum(axis=-1).mean()))
    displacement = _basis(*_lattice(NODES), degree) @ surface
    size_um = field.shape[0] * field_pixel_um, field.shape[1] * field_pixel_um
    warp = Warp(Transform.identity(), displacement * field_pixel_um, size_um, start)
    return Smooth(warp, error, float(np.hypot(*np.moveaxis(displacement, -1, 0)).max()), _left(sums, rows @ step))


def _left(sums: _Sums, moved: Values) -> BlockShifts:
    """What single blocks say after the last step, which moved them by moved, (n, 2)."""
    power = np.trace(sums.hessians, axis1=1, axis2=2)
    good = np.linalg.det(sums.hessians) > 1e-2 * (power / 2) ** 2 + 1e-30
    hessians = sums.hessians[good]
    shifts = np.linalg.solve(hessians, sums.gradients[good, :, None])[:, :, 0] - moved[good]
    errors = sums.noise * np.sqrt(np.trace(np.linalg.inv(hessians), axis1=1, axis2=2) / 2)
    places = np.stack([sums.y, sums.x], axis=-1)[good] + BORDER_PX + 0.5
    return BlockShifts(places, shifts, errors)


@dataclass(frozen=True)
class Trend:
    """longest_px: the longest displacement of a smooth surface through what the blocks of a field leave, in field
    pixels; 0 where there is none.  misfit: median distance of blocks from it, in their own errors."""

    longest_px: float
    misfit: float


def trend(blocks: BlockShifts, shape: tuple[int, ...]) -> Trend:
    """A smooth surface through what the blocks of a field leave, as a lens with distortion leaves it.

    Its length counts only where it is longer than three of its own errors: blocks of glass say nothing, and a surface
    goes anywhere between them.  0 too where there are too few blocks to tell a trend from noise.
    """
    if len(blocks.places_px) < MIN_BLOCKS_A_TERM * _terms(TREND_DEGREE):
        return Trend(0.0, float("inf"))
    rows = _basis(*_unit(blocks.places_px[:, 0] - 0.5, blocks.places_px[:, 1] - 0.5, shape), TREND_DEGREE)
    errors = np.maximum(blocks.errors_px, 1e-6)
    weight = 1 / errors
    for _ in range(5):
        fit = np.linalg.lstsq(rows * weight[:, None], blocks.shifts_px * weight[:, None], rcond=None)[0]
        off = np.hypot(*(blocks.shifts_px - rows @ fit).T) / errors
        weight = np.sqrt(1 / (1 + (off / (3 * np.median(off) + 1e-9)) ** 2)) / errors
    covariance = np.linalg.pinv((rows * weight[:, None]).T @ (rows * weight[:, None]))
    # The errors that blocks state are those of white noise; what the surface leaves says how much larger they are.
    excess = max(1.0, float(np.sqrt((off ** 2).mean() / 2)))
    uncertain = excess * np.sqrt(np.einsum("ni,ij,nj->n", rows, covariance, rows))
    longest = np.hypot(*(rows @ fit).T)
    known = longest > 3 * uncertain
    left = float(np.sqrt(((blocks.shifts_px - rows @ fit) ** 2).sum(axis=1).mean()))
    largest = float(longest[known].max()) if known.any() else 0.0
    clear = largest > 3 * left * np.sqrt(rows.shape[1] / len(rows))
    return Trend(largest if clear else 0.0, float(np.median(off)))


@dataclass(frozen=True, eq=False)
class _Sums:
    """Normal equations of the shifts of blocks: places in pixels of the inner part, (n, 2, 2), (n, 2).  noise: standard
    deviation of the residual."""

    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    y: Values
    x: Values
    hessians: Values
    gradients: Values
    noise: float


def _sums(values: Values, down: Values, right: Values, shown: Values, block_px: int,
          seen: npt.NDArray[np.bool_] | None = None) -> _Sums:
    """seen: pixels at which `shown` is to be believed, None for all; blocks that hold others are left out."""
    own, other = (values, shown) if seen is None else (values[seen], shown[seen])
    gain = float(np.vdot(own, other)) / max(float(np.vdot(own, own)), 1e-30)
    residual = shown / max(gain, 0.1) - values
    size = np.abs(residual if seen is None else residual[seen])
    noise = (1.4826 * float(np.median(size)) if size.size else 0.0) + 1e-12
    weight = np.minimum(1.0, HUBER * noise / np.maximum(np.abs(residual), 1e-30))
    height, width = values.shape
    top, left = (np.linspace(0, length, max(2, round(length / block_px)) + 1).astype(int) for length in (height, width))

    def summed(plane: npt.NDArray[Any]) -> Values:
        return np.asarray(np.add.reduceat(np.add.reduceat(plane, top[:-1], axis=0), left[:-1], axis=1)).ravel()

    yy, yx, xx = summed(weight * down * down), summed(weight * down * right), summed(weight * right * right)
    hessians = np.stack([np.stack([yy, yx], -1), np.stack([yx, xx], -1)], -2)
    # Content that lies s beside its place leaves the residual −s·gradient.
    gradients = -np.stack([summed(weight * down * residual), summed(weight * right * residual)], -1)
    rows, columns = (axis.ravel() for axis in np.indices((len(top) - 1, len(left) - 1)))
    whole = np.ones(len(rows), dtype=bool) if seen is None else summed((~seen).astype(np.int64)) == 0
    y, x = ((top[1:] + top[:-1] - 1) / 2)[rows], ((left[1:] + left[:-1] - 1) / 2)[columns]
    return _Sums(rows[whole], columns[whole], y[whole], x[whole], hessians[whole], gradients[whole], noise)


def _solved(rows: Values, sums: _Sums, chosen: npt.NDArray[np.bool_]) -> Values:
    """(terms, 2) of the surface that fits the chosen blocks best."""
    b, h, g = rows[chosen], sums.hessians[chosen], sums.gradients[chosen]
    terms = b.shape[1]
    normal = np.einsum("ni,nj,nab->iajb", b, b, h).reshape(2 * terms, 2 * terms)
    right = np.einsum("ni,na->ia", b, g).ravel()
    return np.asarray(np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(2 * terms), right)).reshape(terms, 2)


def _unit(y: Values, x: Values, shape: tuple[int, ...]) -> tuple[Values, Values]:
    """Index places as −1 … 1 from one outer edge of the field to the other."""
    return (y + 0.5) / shape[0] * 2 - 1, (x + 0.5) / shape[1] * 2 - 1


def _lattice(count: int) -> tuple[Values, Values]:
    y, x = np.meshgrid(np.linspace(-1, 1, count), np.linspace(-1, 1, count), indexing="ij")
    return y, x


def _terms(degree: int) -> int:
    return (degree + 1) * (degree + 2) // 2


def _basis(y: Values, x: Values, degree: int) -> Values:
    """(..., terms): products of Legendre polynomials up to a total degree, lower degrees first."""
    legendre = np.polynomial.legendre.legvander
    rows, columns = legendre(y, degree), legendre(x, degree)
    return np.stack([rows[..., i] * columns[..., total - i] for total in range(degree + 1)
                     for i in range(total + 1)], axis=-1)
