"""Dust on the camera: what stands still in all frames of a scan, and matches where the tissue does not.

Specks shade every tile at the same pixels.  Relative to its surroundings a pixel's median over the tiles is 1 but for
the tissue's noise, and less under a speck.  Divided out, they neither hide weak tissue nor tie tiles together at a
shift at which one speck lies on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from superres.image import FloatArray
from superres.registration.edges import Structure
from superres.registration.flatfield import DARK
from superres.registration.frames import Frames

MIN_TILES, MAX_TILES = 16, 33
"""Of fewer tiles the median may be tissue (nine of drawn cells had a "speck"); more tell no more than they cost."""
MAX_PIXELS = 128 * 1024 * 1024
"""Of all tiles together, two bytes each: large cameras make do with fewer tiles."""
SURROUNDINGS_PX = 8.0
"""Standard deviation of what a pixel is compared with: shifts are measured on finer structure."""
MIN_ERRORS, MIN_DEPTH = 5.0, 0.02
"""A pixel is dusty where its median is off by so many of its errors, and by so much.  In 42 scans of six real sections
without dust, and in 9 to 16 tiles of each drawn at random, no pixel is."""
BORDER_PX = 2
"""Around what is dusty beyond doubt, the flanks of a speck."""
UNIT = 16384
"""Ratios are kept as whole numbers of so many parts, up to 4."""
BAND_ROWS = 64


def estimate_dust(frames: Frames, structure: Structure) -> FloatArray | None:
    """By what the dust of a camera multiplies a frame, (h, w) float32, 1 where there is none; None for a camera
    without, and for scans of fewer than MIN_TILES.

    From the tiles that show least, which are the same ones in any order.
    """
    height, width = frames.shape_px
    count = min(MAX_TILES, len(frames), MAX_PIXELS // (height * width))
    if count < MIN_TILES:
        return None
    tiles = [int(tile) for tile in np.argsort(structure.strength, kind="stable")[:count]]
    # Whether there is any is seen at half the resolution, for a quarter of the time.
    dusty = _dusty(*_median_ratio([frames.reduced(tile, 2) for tile in tiles], SURROUNDINGS_PX / 2))
    if not dusty.any():
        return None
    # A speck dims its surroundings too, against which what lies beside it looks bright: they are taken without specks.
    dusty = _dusty(*_median_ratio([frames.reduced(tile, 2) for tile in tiles], SURROUNDINGS_PX / 2, dusty))
    known = cv2.resize(dusty.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    middle, error = _median_ratio([frames.grey(tile) for tile in tiles], SURROUNDINGS_PX, known)
    return np.where(_dusty(middle, error), middle, np.float32(1))


def _median_ratio(planes: Sequence[FloatArray], within_px: float, dusty: npt.NDArray[np.bool_] | None = None,
                  ) -> tuple[FloatArray, FloatArray]:
    """(h, w): what a pixel is to its surroundings, the median over all planes, and the median's standard error."""
    ratios = np.stack([_to_surroundings(plane, within_px, dusty) for plane in planes])
    count, height, width = ratios.shape
    middle, error = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    for top in range(0, height, BAND_ROWS):
        band = slice(top, top + BAND_ROWS)
        ranked = np.sort(ratios[:, band], axis=0).astype(np.float32) / UNIT
        middle[band] = (ranked[count // 2] + ranked[(count - 1) // 2]) / 2
        # From the quartiles, as if of normal noise.
        error[band] = 1.2533 / 1.349 / np.sqrt(count) * (ranked[3 * count // 4] - ranked[count // 4])
    return middle, error


def _dusty(middle: FloatArray, error: FloatArray) -> npt.NDArray[np.bool_]:
    away = np.abs(middle - 1)
    certain = (away > MIN_ERRORS * np.maximum(error, np.median(error))) & (away > MIN_DEPTH)
    certain = ndimage.binary_opening(certain, np.ones((2, 2)))
    return np.asarray(ndimage.binary_dilation(certain, iterations=BORDER_PX))


def described_dust(dust: FloatArray | None, tiles: int) -> str:
    """For the notes of a mosaic."""
    if dust is None:
        return f"not looked for in fewer than {MIN_TILES} tiles" if tiles < MIN_TILES else "none"
    return (f"specks on {100 * float((np.abs(dust - 1) > MIN_DEPTH).mean()):.1f} % of the frame, the darkest of "
            f"{100 * (1 - float(dust.min())):.0f} %: left out of the search for shifts, not of the images")


def _to_surroundings(grey: FloatArray, within_px: float, dusty: npt.NDArray[np.bool_] | None,
                     ) -> npt.NDArray[np.uint16]:
    # Beyond the edges the frame goes on with its slope: mirrored shading would look like dust there.
    reach = round(3 * within_px)

    def blurred(plane: FloatArray, beyond: Literal["even", "odd"]) -> FloatArray:
        padded = np.pad(plane, reach, "reflect", reflect_type=beyond)
        return np.asarray(cv2.GaussianBlur(padded, (0, 0), within_px)[reach:-reach, reach:-reach])

    around: FloatArray = blurred(grey, "odd")
    if dusty is not None:
        clean = (~dusty).astype(np.float32)
        share = np.maximum(blurred(clean, "even"), np.float32(0.01))
        around = np.asarray(around + blurred((grey - around) * clean, "even") / share, dtype=np.float32)
    ratio = grey / np.maximum(around, np.float32(DARK))
    return np.clip(np.rint(ratio * UNIT), 1, 65535).astype(np.uint16)
