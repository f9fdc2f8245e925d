"""A large slide at the coarse pitch, patched together from real tissue: for measuring time and memory, where sub-pixel
truth does not matter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from superres.api import Tile
from superres.image import Image
from superres.io.images import read_image
from superres.registration.features import stretch
from tests.registration.virtual import COARSE_UM, FINE_UM, TISSUES

PATCH_PX = 550


@dataclass(frozen=True)
class Scan:
    """tiles: with nominal stage positions.  true_px: (n, 2) where they were taken from.  fields: of 0.074 µm, each with
    the place of its centre in pixels of the slide."""

    tiles: list[Tile]
    true_px: npt.NDArray[np.int64]
    fields: list[tuple[Image, npt.NDArray[np.float64]]]


def slide(data: Path, side_px: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(side, side) grey: pieces of training tissue in random order, each piece at most once in each of its eight
    orientations, so that no field fits twice."""
    pieces = []
    for name in TISSUES:
        picture = stretch(read_image(data / "train" / name, pixel_size_um=1.0).grey())
        pieces += [picture[top:top + PATCH_PX, left:left + PATCH_PX]
                   for top in range(0, picture.shape[0] - PATCH_PX + 1, PATCH_PX)
                   for left in range(0, picture.shape[1] - PATCH_PX + 1, PATCH_PX)]
    order = iter(rng.permutation(8 * len(pieces)).tolist())
    result = np.zeros((side_px, side_px), dtype=np.uint8)
    for top in range(0, side_px, PATCH_PX):
        for left in range(0, side_px, PATCH_PX):
            piece, orientation = divmod(next(order), 8)
            patch = np.rot90(pieces[piece], orientation % 4)
            patch = patch[:, ::-1] if orientation >= 4 else patch
            target = result[top:top + PATCH_PX, left:left + PATCH_PX]
            target[:] = patch[:target.shape[0], :target.shape[1]]
    return cv2.GaussianBlur(result, (0, 0), 0.7)


def scan(data: Path, grid: int, tile_px: int, field_count: int, field_px: int = 1024, overlap: float = 0.15,
         seed: int = 0) -> Scan:
    """grid × grid tiles with a jittering stage, noise and vignetting, and fine fields turned by up to 2 degrees."""
    rng = np.random.default_rng(seed)
    step = round(tile_px * (1 - overlap))
    side = step * (grid - 1) + tile_px + 20
    picture = slide(data, side, rng)
    axis = np.linspace(-1, 1, tile_px, dtype=np.float32)
    shade = 1 - 0.05 * (axis[:, None] ** 2 + axis[None] ** 2)
    tiles, places = [], []
    for row in range(grid):
        for column in range(grid):
            y, x = (int(v) for v in np.array([row, column]) * step + 10 + rng.integers(-5, 6, 2))
            light = picture[y:y + tile_px, x:x + tile_px] * shade + rng.normal(0, 3, (tile_px, tile_px))
            image = Image(np.clip(np.rint(light), 0, 255).astype(np.uint8), COARSE_UM, name=f"r{row:02d}c{column:02d}")
            tiles.append(Tile(image, (row * step * COARSE_UM, column * step * COARSE_UM), (row, column)))
            places.append((y, x))
    fields = []
    reach = field_px * FINE_UM / COARSE_UM * 0.55 + 20
    for number in range(field_count):
        centre = rng.uniform(reach, side - reach, 2)
        matrix = cv2.getRotationMatrix2D(((field_px - 1) / 2, (field_px - 1) / 2), float(rng.uniform(-2, 2)),
                                         COARSE_UM / FINE_UM)
        matrix[:, 2] += (field_px - 1) / 2 - (matrix[:, :2] @ (centre[::-1] - 0.5) + matrix[:, 2])
        light = cv2.warpAffine(picture, matrix, (field_px, field_px), flags=cv2.INTER_CUBIC)
        noisy = light + rng.normal(0, 2, light.shape)
        fields.append((Image(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), FINE_UM, name=f"f{number:02d}"), centre))
    return Scan(tiles, np.array(places), fields)
