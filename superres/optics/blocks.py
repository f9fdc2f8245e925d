"""The borders of the blocks of 8 × 8 px that strong JPEG compression leaves in an image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from superres.image import FloatArray

BLOCK_PX = 8

FAINT = 0.2 / 255
"""In units of white: a difference below this is rounding of 8 bits, and no border is measured against less."""


def block_contrast(pieces: Iterable[tuple[FloatArray, int, int]]) -> float:
    """How much rougher an image is across the borders of blocks than elsewhere: about 1 where there are no blocks.

    pieces: (plane, top, left) of windows of one image: (H, W) luma in units of white, H and W at least 16, and where it
    lies, for the grid of blocks is one for the whole image, wherever it begins.
    Roughness is the mean absolute third difference, which tissue's slow changes leave out, by place within a block.
    The border is the roughest place; it is compared with the roughest of those that the difference does not reach from
    there.  Of rows and columns the smaller contrast counts: stripes are no blocks.
    After the blocking measure of Wang, Sheikh and Bovik, ICIP 2002, doi:10.1109/ICIP.2002.1038064.
    """
    sums, counts = np.zeros((2, BLOCK_PX)), np.zeros((2, BLOCK_PX))
    for plane, top, left in pieces:
        for axis, first in ((0, top), (1, left)):
            roughness = np.abs(np.diff(plane, n=3, axis=axis)).mean(axis=1 - axis, dtype=np.float64)
            # The difference at i is of the pixels i … i + 3: its middle is the border before pixel i + 2.
            place = (np.arange(len(roughness)) + first + 2) % BLOCK_PX
            sums[axis] += np.bincount(place, roughness, BLOCK_PX)
            counts[axis] += np.bincount(place, minlength=BLOCK_PX)
    return min(_contrast(each) for each in sums / counts)


def _contrast(roughness: npt.NDArray[np.float64]) -> float:
    border = int(roughness.argmax())
    apart = (np.arange(BLOCK_PX) - border) % BLOCK_PX
    elsewhere = roughness[(apart >= 2) & (apart <= BLOCK_PX - 2)].max()
    return float(roughness[border] / max(elsewhere, FAINT))
