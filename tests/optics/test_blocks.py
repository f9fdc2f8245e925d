"""Blocks of 8 × 8 px are seen wherever their grid begins; stripes, other periods and texture are none."""

import cv2
import numpy as np
import pytest

from superres.optics.blocks import BLOCK_PX, block_contrast


@pytest.fixture
def texture(rng):
    """(160, 176): smooth structure with a camera's noise."""
    grain = cv2.GaussianBlur(rng.normal(0, 1, (160, 176)), (0, 0), 3)
    return (0.5 + 0.1 * grain / grain.std() + rng.normal(0, 0.01, grain.shape)).astype(np.float32)


def tiles(shape, side, rng):
    """A level for each tile of so many pixels a side."""
    levels = rng.normal(0, 0.05, [length // side + 2 for length in shape])
    return np.kron(levels, np.ones((side, side)))


def test_texture_and_flat_glass_have_none(texture):
    assert block_contrast([(texture, 0, 0)]) < 1.1
    assert block_contrast([(np.full((64, 64), 0.9, np.float32), 0, 0)]) == 0, "below rounding"


@pytest.mark.parametrize("first", [(0, 0), (3, 5)])
def test_blocks_are_seen_wherever_the_grid_begins(texture, rng, first):
    height, width = texture.shape
    grid = tiles(texture.shape, BLOCK_PX, rng)[first[0]:first[0] + height, first[1]:first[1] + width]
    blocky = (texture + grid).astype(np.float32)
    whole = block_contrast([(blocky, 0, 0)])
    assert whole > 1.5
    # Windows at any place add up to one grid; without their places each would have a grid of its own.
    windows = [(blocky[top:top + 70, left:left + 75], top, left) for top in (0, 85) for left in (0, 101)]
    assert block_contrast(windows) > 1.5
    assert block_contrast([(plane, 0, 0) for plane, _, _ in windows]) < 1.2


@pytest.mark.parametrize("side", [5, 7, 10])
def test_other_periods_are_no_blocks(texture, rng, side):
    grid = tiles(texture.shape, side, rng)[:texture.shape[0], :texture.shape[1]]
    assert block_contrast([((texture + grid).astype(np.float32), 0, 0)]) < 1.35


def test_stripes_are_no_blocks(texture, rng):
    rows = np.repeat(rng.normal(0, 0.05, texture.shape[0] // BLOCK_PX), BLOCK_PX)[:, None]
    assert block_contrast([((texture + rows).astype(np.float32), 0, 0)]) < 1.1


def test_the_stronger_the_compression_the_more(texture):
    stored = np.rint(255 * np.clip(texture, 0, 1)).astype(np.uint8)
    found = []
    for quality in (100, 80, 60, 40):
        _, coded = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
        found.append(block_contrast([((cv2.imdecode(coded, 0) / 255).astype(np.float32), 0, 0)]))
    assert found == sorted(found) and found[0] < 1.12 < found[2]
