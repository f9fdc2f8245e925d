"""Whether the blocks of an aligned field lie beside their places because tiles under it do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superres.registration.blocks import BlockShifts

ROUNDS = 5
MIN_BLOCKS = 4
"""A tile that shows fewer blocks of a field is not judged."""


@dataclass(frozen=True)
class Seam:
    """The largest step between two tiles under a field.

    step_px: between the shifts of their blocks, in field pixels.  first, second: the tiles.  misfit: median distance
    of blocks from one shift a tile and a similarity, in their own errors.
    """

    step_px: float
    first: int
    second: int
    misfit: float


def largest_seam(blocks: BlockShifts, owners: npt.NDArray[np.int64]) -> Seam | None:
    """Fit a similarity and one shift a tile to what the blocks of a field leave.

    owners: (n,) the tile that shows each block.  Returns None where only one tile can be judged.
    """
    tiles, count = np.unique(owners, return_counts=True)
    tiles = tiles[count >= MIN_BLOCKS]
    used = np.isin(owners, tiles)
    if len(tiles) < 2:
        return None
    y, x = (blocks.places_px[used] - blocks.places_px[used].mean(axis=0)).T
    shifts, errors, owner = blocks.shifts_px[used], np.maximum(blocks.errors_px[used], 1e-6), owners[used]
    of_tile = (owner[:, None] == tiles).astype(np.float64)
    nothing = np.zeros_like(of_tile)
    # Unknowns: scale, rotation, then y and x of every tile's shift.
    down = np.hstack([y[:, None], -x[:, None], of_tile, nothing])
    right = np.hstack([x[:, None], y[:, None], nothing, of_tile])
    rows, values = np.vstack([down, right]), shifts.T.ravel()
    weight = 1 / errors
    for _ in range(ROUNDS):
        root = np.tile(weight, 2)
        fit = np.linalg.lstsq(rows * root[:, None], values * root, rcond=None)[0]
        off = np.hypot(*(values - rows @ fit).reshape(2, -1)) / errors
        weight = np.sqrt(1 / (1 + (off / (3 * np.median(off) + 1e-9)) ** 2)) / errors
    places = fit[2:].reshape(2, -1).T
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    first, second = np.unravel_index(int(apart.argmax()), apart.shape)
    return Seam(float(apart.max()), int(tiles[first]), int(tiles[second]), float(np.median(off)))
