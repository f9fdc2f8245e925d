"""What the blocks of an aligned field say on their own: how far the fit can be off, and where it does not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLOCK_PX = 16
SPLITS = 8
MIN_BLOCKS = 8

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Normal equations of each of rows × columns blocks: hessians (n, 4, 4), gradients (n, 4), centres_px (n, 2)."""

    rows: int
    columns: int
    centres_px: Values
    hessians: Values
    gradients: Values


@dataclass(frozen=True, eq=False)
class BlockShifts:
    """Where the blocks of a field lie beside the place that the fit gives them.

    places_px: (n, 2) centres of the blocks in field pixels from the outer corner.  shifts_px: (n, 2) how far the scene
    shows a block's content from there, in the field's pixels and axes.  errors_px: (n,) standard deviation of a
    component of a shift.  Blocks without structure are left out.
    """

    places_px: Values
    shifts_px: Values
    errors_px: Values


def block_sums(jacobian: Values, weight: Values, residual: Values, border_px: int) -> BlockSums:
    """jacobian: (4, h, w).  weight, residual: (h, w), of the inner part of a field that is border_px larger on each
    side.  Blocks are about BLOCK_PX a side."""
    height, width = residual.shape
    rows, columns = max(2, round(height / BLOCK_PX)), max(2, round(width / BLOCK_PX))
    top = np.linspace(0, height, rows + 1).astype(int)
    left = np.linspace(0, width, columns + 1).astype(int)

    def summed(plane: Values) -> Values:
        return np.asarray(np.add.reduceat(np.add.reduceat(plane, top[:-1], axis=0), left[:-1], axis=1)).ravel()

    hessians = np.empty((rows * columns, 4, 4))
    gradients = np.empty((rows * columns, 4))
    for i in range(4):
        weighted = jacobian[i] * weight
        gradients[:, i] = summed(weighted * residual)
        for j in range(i, 4):
            hessians[:, i, j] = hessians[:, j, i] = summed(weighted * jacobian[j])
    centres = np.stack(np.meshgrid((top[1:] + top[:-1]) / 2, (left[1:] + left[:-1]) / 2, indexing="ij"), axis=-1)
    return BlockSums(rows, columns, centres.reshape(-1, 2) + border_px, hessians, gradients)


def split_half_px(sums: BlockSums) -> float:
    """Half the RMS distance between fits to disjoint halves of the blocks; infinite with fewer than MIN_BLOCKS.

    The parameters of the normal equations are shifts, and scale and rotation times the RMS radius, so that the length
    of their vector is the RMS distance over the field.  The halves are a checkerboard and seeded random ones; each is
    one Gauss-Newton step from the common solution, from which both lie within hundredths of a pixel.  Two fits with
    half of the pixels each scatter by √2 of the whole's error, so they are twice the whole's error apart.
    """
    power = np.trace(sums.hessians, axis1=1, axis2=2)
    used = np.flatnonzero(power > 0)
    if len(used) < MIN_BLOCKS:
        return float("inf")
    rng = np.random.default_rng(0)
    row, column = np.divmod(used, sums.columns)
    halves = [(row + column) % 2 == 0]
    halves += [rng.permutation(len(used)) < len(used) // 2 for _ in range(SPLITS - 1)]
    squares = []
    for half in halves:
        one, other = (_solved(sums, used[chosen]) for chosen in (half, ~half))
        squares.append(float(((one - other) ** 2).sum()))
    return float(np.sqrt(np.mean(squares))) / 2


def block_shifts(sums: BlockSums, noise: float) -> BlockShifts:
    """noise: standard deviation of the residual."""
    two = sums.hessians[:, :2, :2]
    power = np.trace(two, axis1=1, axis2=2)
    good = np.linalg.det(two) > 1e-2 * (power / 2) ** 2 + 1e-30
    if not good.any():
        return BlockShifts(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    shifts = np.linalg.solve(two[good], sums.gradients[good, :2, None])[:, :, 0]
    errors = noise * np.sqrt(np.trace(np.linalg.inv(two[good]), axis1=1, axis2=2) / 2)
    return BlockShifts(sums.centres_px[good], -shifts, errors)


def _solved(sums: BlockSums, chosen: npt.NDArray[np.int64]) -> Values:
    hessian = sums.hessians[chosen].sum(axis=0)
    return np.asarray(np.linalg.solve(hessian + 1e-9 * np.trace(hessian) * np.eye(4),
                                      sums.gradients[chosen].sum(axis=0)))
