"""Reading a mosaic by region: what is decoded for it, and where it holds anything."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from superres.api import Mosaic, PlacedTile, Tile
from superres.builtin.registrars.identity import IdentityRegistrar
from superres.image import Image
from superres.transform import Transform
from tests.registration.specimens import COARSE_UM, Slide, speckle


@dataclass(eq=False)
class Filed:
    """An image in a file that counts how often it is decoded; as ImageFile it keeps nothing."""

    image: Image
    decoded: int = field(default=0)

    @property
    def name(self) -> str:
        return self.image.name

    def read(self) -> Image:
        self.decoded += 1
        return self.image


def grid(rows: int, columns: int, tile_px: int, step_px: int) -> tuple[list[Filed], Mosaic]:
    """Equal tiles in rows and columns, without a flat field; the mosaic is told no shape."""
    rng = np.random.default_rng(5)
    files = [Filed(Image(rng.integers(1, 255, (tile_px, tile_px), dtype=np.uint8), COARSE_UM, name=f"r{r}c{c}"))
             for r in range(rows) for c in range(columns)]
    placed = tuple(PlacedTile(each, Transform.shift(r * step_px * COARSE_UM, c * step_px * COARSE_UM))
                   for each, (r, c) in zip(files, np.ndindex(rows, columns), strict=True))
    return files, Mosaic(placed, ((rows - 1) * step_px + tile_px, (columns - 1) * step_px + tile_px), COARSE_UM)


def test_a_region_decodes_only_the_tiles_that_it_touches() -> None:
    """Tiles of 40 px every 35: rows and columns 80 … 95 lie inside the third tile each way."""
    files, mosaic = grid(5, 10, 40, 35)
    assert mosaic.tile_shape_px == (40, 40)
    for each in files:
        each.decoded = 0  # a hand-made mosaic looks once at its first tile for the shape
    mosaic.read(80, 80, 16, 16)
    assert [each.name for each in files if each.decoded] == ["r2c2"]
    assert sum(each.decoded for each in files) == 1
    mosaic.read(100, 100, 20, 20)
    assert sum(each.decoded for each in files) == 1 + 4, "at a corner four tiles meet"


def test_the_shape_of_tiles_is_known_without_decoding() -> None:
    """From the flat field, from one tile, or from stitching (two tiles: too few for a flat field)."""
    files, mosaic = grid(1, 2, 40, 35)
    assert [each.decoded for each in files] == [1, 0]
    flat = np.ones((40, 40), np.float32)
    assert replace(mosaic, flat_field=flat, tile_shape_px=(0, 0)).tile_shape_px == (40, 40)
    assert [each.decoded for each in files] == [1, 0]
    assert Mosaic.of(Image(np.ones((7, 9), np.uint8), 1.0)).tile_shape_px == (7, 9)
    tiles, _ = Slide(speckle(6, 900)).scan(1, 2, 200, 0.15, jitter_px=2)
    filed = [Filed(tile.image.read()) for tile in tiles]
    stitched = IdentityRegistrar().assemble([Tile(f, t.position_um, t.grid) for f, t in zip(filed, tiles, strict=True)])
    assert stitched.flat_field is None and stitched.tile_shape_px == (200, 200)
    before = [each.decoded for each in filed]
    stitched.read(50, 20, 32, 32)
    assert [after.decoded - count for after, count in zip(filed, before, strict=True)] == [1, 0]


@pytest.mark.parametrize("region", [(-3, -4, 60, 60), (30, 0, 20, 77), (100, 5, 4, 4)])
def test_covered_is_where_a_read_finds_tiles(region: tuple[int, int, int, int]) -> None:
    """Tiles of white on a ragged grid: a pixel that is read as anything but 0 is covered, no other is."""
    white = Image(np.full((40, 40), 255, np.uint8), COARSE_UM)
    places = [(0.0, 0.0), (3.4, 36.2), (35.7, 1.5)]
    mosaic = Mosaic(tuple(PlacedTile(white, Transform.shift(y * COARSE_UM, x * COARSE_UM)) for y, x in places),
                    (76, 77), COARSE_UM)
    covered = mosaic.covered(*region)
    assert covered.shape == region[2:]
    np.testing.assert_array_equal(covered, mosaic.read(*region).pixels > 0)


def test_black_is_covered() -> None:
    mosaic = Mosaic.of(Image(np.zeros((20, 30), np.uint8), COARSE_UM))
    covered = mosaic.covered(-2, 0, 12, 35)
    assert not covered[:2].any() and covered[2:, :30].all() and not covered[:, 30:].any()
