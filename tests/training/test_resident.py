"""Patches from a device's memory are those that are cut on the CPU, pixel for pixel."""

import numpy as np
import pytest
import torch

from superres.api.model import Geometry
from superres.api.source import Pair
from superres.image import Image
from superres.training.patches import cut_patches, random_changes
from superres.training.resident import ResidentPatches, stored_bytes

from .specimens import make_pair

PAPER = Geometry(5, 2, halo_px=13, origin_multiple=2)


def as_stored(pair, dtype, white_level):
    full = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(np.dtype(dtype), 1)
    images = [Image((each.unit() * full).astype(dtype), each.pixel_size_um, white_level, each.name)
              for each in (pair.coarse, pair.fine)]
    return Pair(pair.name, pair.specimen, *images)


@pytest.mark.parametrize("augment", ["none", "flips-and-turns", "flips-turns-and-colours", "flips-turns-and-stains"])
@pytest.mark.parametrize(("dtype", "white_level"), [(np.uint8, None), (np.uint16, 49152.0), (np.float32, None)])
def test_a_gather_gives_what_cutting_gives(augment, dtype, white_level):
    pairs = [as_stored(make_pair(seed, size, grey=seed == 2), dtype, white_level)
             for seed, size in ((1, (24, 30)), (2, (26, 22)), (3, (12, 40)))]
    patches = cut_patches(pairs, PAPER, 12, 4)
    indices = np.random.default_rng(0).integers(0, len(patches), 40).tolist()
    changes = random_changes(augment, 40, step=3, seed=5)
    resident = ResidentPatches(patches, torch.device("cpu")).batch(indices, changes)
    for tensor, cut in zip(resident, patches.batch(indices, changes), strict=True):
        assert tensor.dtype == torch.float32 and tensor.is_contiguous(memory_format=torch.channels_last)
        # One rounding more where a stain changes: a product and a sum instead of two steps in place.
        np.testing.assert_allclose(tensor.permute(0, 2, 3, 1).numpy(), cut, rtol=0,
                                   atol=2e-7 if "stains" in augment else 0)


def test_all_eight_turns_occur_in_that_comparison():
    changes = random_changes("flips-and-turns", 40, step=3, seed=5)
    assert len({(each.quarters, each.mirrored) for each in changes}) == 8


def test_images_of_several_dtypes_share_floats():
    mixed = [make_pair(1), as_stored(make_pair(2), np.uint16, 49152.0)]
    patches = cut_patches(mixed, PAPER, 12, 12)
    for tensor, cut in zip(ResidentPatches(patches, torch.device("cpu")).batch(range(len(patches))),
                           patches.batch(range(len(patches))), strict=True):
        np.testing.assert_array_equal(tensor.permute(0, 2, 3, 1).numpy(), cut)


def test_what_it_takes_is_known_before():
    patches = cut_patches([make_pair(1, (20, 30))], PAPER, 12, 12)
    assert stored_bytes(patches) == 3 * (20 * 30 + 50 * 75)
    assert stored_bytes(cut_patches([as_stored(make_pair(1, (20, 30)), np.uint16, None)], PAPER, 12, 12)) == \
        2 * stored_bytes(patches)
