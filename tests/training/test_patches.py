"""Where patches lie, that coarse and fine belong together, and in which order they come."""

import itertools
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.api.model import Geometry
from superres.api.source import Pair
from superres.errors import TrainingError
from superres.image import Image
from superres.training.patches import (
    Change,
    cut_patches,
    default_stride_px,
    grid_offsets,
    patch_order,
    random_changes,
    some_patches,
)

from .specimens import make_pair

PAPER = Geometry(5, 2, halo_px=13, origin_multiple=2)


def doubled(height, width, dtype=np.uint8, white_level=None):
    """L = 2 by repeating pixels: a fine patch must be its coarse patch repeated."""
    coarse = np.random.default_rng(height).integers(0, 200, (height, width, 3)).astype(dtype)
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1)
    return Pair("doubled", "s", Image(coarse, 0.2, white_level), Image(fine, 0.1, white_level))


@given(st.integers(1, 400), st.integers(1, 80), st.integers(1, 60), st.integers(1, 4))
def test_grids_reach_the_border_at_allowed_offsets(length, patch, stride, multiple):
    stride *= multiple
    offsets = grid_offsets(length, patch, stride, multiple)
    assert bool(offsets) == (length >= patch)
    if offsets:
        assert offsets[0] == 0 and all(offset % multiple == 0 and offset + patch <= length for offset in offsets)
        assert length - (offsets[-1] + patch) < multiple, "flush with the border, to the next allowed offset"
        assert all(0 < after - before <= stride for before, after in pairwise(offsets))


def test_a_60_px_patch_of_the_paper_has_150_fine_pixels_at_whole_corners():
    pair = make_pair(coarse_px=(71, 64))
    patches = cut_patches([pair], PAPER, 60, 30)
    assert [(place.top, place.left) for place in patches.places] == [(0, 0), (0, 4), (10, 0), (10, 4)]
    coarse, fine = patches.batch([3])
    assert coarse.shape == (1, 60, 60, 3) and fine.shape == (1, 150, 150, 3)
    np.testing.assert_array_equal(fine[0], pair.fine.unit()[25:175, 10:160])
    np.testing.assert_array_equal(coarse[0], pair.coarse.unit()[10:70, 4:64])


@pytest.mark.parametrize(("dtype", "white_level"), [(np.uint8, None), (np.uint16, 4095), (np.float32, 200.0)])
def test_turned_patches_still_belong_together(dtype, white_level):
    pair = doubled(20, 26, dtype, white_level)
    patches = cut_patches([pair], Geometry(2, 1), 8, 5)
    turns = [Change(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)]
    coarse, fine = patches.batch([5] * 8, turns)
    np.testing.assert_array_equal(fine, coarse.repeat(2, axis=1).repeat(2, axis=2))
    assert len({patch.tobytes() for patch in coarse}) == 8, "the eight symmetries of the square"
    assert coarse.max() <= 1.0


def test_turning_agrees_with_the_phase_of_the_paper():
    """A ramp keeps x_coarse = (x_fine + ½)/2.5 − ½ when its patch is mirrored."""
    coarse_row = np.arange(16, dtype=np.float32) / 20
    fine_row = (((np.arange(40) + 0.5) / 2.5 - 0.5) / 20).astype(np.float32)
    pair = Pair("ramp", "s", Image(np.repeat(np.tile(coarse_row, (16, 1))[..., None], 3, 2), 0.185),
                Image(np.repeat(np.tile(fine_row, (40, 1))[..., None], 3, 2), 0.074))
    coarse, fine = cut_patches([pair], PAPER, 10, 2).batch([2], [Change(2)])
    positions = (np.arange(25) + 0.5) / 2.5 - 0.5
    expected = np.polyval(np.polyfit(np.arange(10), coarse[0, 3, :, 1], 1), positions)
    np.testing.assert_allclose(fine[0, 7, :, 1], expected, atol=1e-6)


def test_single_channel_pairs_are_repeated():
    coarse, fine = cut_patches([make_pair(grey=True)], PAPER, 10, 10).batch([0])
    for patch in (coarse, fine):
        np.testing.assert_array_equal(patch[..., 0], patch[..., 2])


def test_images_smaller_than_a_patch_give_none_unless_all_do():
    pairs = [make_pair(1, (16, 30)), make_pair(2, (24, 24))]
    assert {place.pair for place in cut_patches(pairs, PAPER, 20, 10).places} == {1}
    with pytest.raises(TrainingError, match=r"no patch of 60 × 60 px fits .*\(largest sizes: 24 × 24, 16 × 30\)"):
        cut_patches(pairs, PAPER, 60, 30)


@pytest.mark.parametrize(("patch_px", "stride_px", "words"), [
    (41, 20, "patch_px is 41; expected a multiple of 2"), (40, 15, "patch_stride_px is 15; expected a multiple of 2")])
def test_odd_sizes_are_refused_for_two_and_a_half(patch_px, stride_px, words):
    with pytest.raises(TrainingError, match=words) as caught:
        cut_patches([make_pair(coarse_px=(60, 60))], PAPER, patch_px, stride_px)
    assert "set train." in caught.value.hint


def test_a_fine_image_of_another_size_is_refused():
    pair = make_pair()
    wrong = Pair("wrong", "s", pair.coarse, pair.fine.crop(0, 0, 48, 60))
    with pytest.raises(TrainingError, match=r"'wrong': coarse \(24, 24\) and fine \(48, 60\) px; .* fine \(60, 60\)"):
        cut_patches([wrong], PAPER, 10, 10)


@given(st.integers(1, 50), st.integers(1, 17), st.integers(0, 5))
def test_every_epoch_shows_every_patch_once(count, batch_size, seed):
    steps = -(-3 * count // batch_size)
    shown = np.concatenate([patch_order(count, batch_size, step, seed) for step in range(steps)])
    for epoch in range(3):
        assert sorted(shown[epoch * count:(epoch + 1) * count].tolist()) == list(range(count))


def test_order_and_turns_depend_on_seed_and_step():
    assert patch_order(100, 16, 3, seed=1).tolist() != patch_order(100, 16, 3, seed=2).tolist()
    assert patch_order(16, 16, 0, seed=1).tolist() != patch_order(16, 16, 1, seed=1).tolist(), "epochs differ"
    assert random_changes("none", 4, 0, 0) is None
    drawn = [change for step in range(50) for change in random_changes("flips-and-turns", 16, step, 7)]
    counts = [drawn.count(Change(quarters, mirrored)) for quarters in range(4) for mirrored in (False, True)]
    # 800 draws of 8: 100 ± 9.4; five standard deviations.
    assert min(counts) > 53 and max(counts) < 147


def test_colours_are_permuted_alike_in_both_images_of_a_patch():
    drawn = {change.channels for step in range(20) for change in random_changes("flips-turns-and-colours", 16, step, 7)}
    assert drawn == set(itertools.permutations(range(3)))
    patches = cut_patches([make_pair()], PAPER, 10, 10)
    plain = patches.batch([0, 1])
    changed = patches.batch([0, 1], [Change(channels=(2, 0, 1)), Change(channels=(1, 0, 2))])
    for before, after in zip(plain, changed, strict=True):
        np.testing.assert_array_equal(after[0], before[0][:, :, [2, 0, 1]])
        np.testing.assert_array_equal(after[1], before[1][:, :, [1, 0, 2]])


def test_default_stride_is_half_a_patch_at_allowed_offsets():
    assert default_stride_px(60, PAPER) == 30
    assert default_stride_px(50, PAPER) == 24
    assert default_stride_px(9, Geometry(7, 4, origin_multiple=4)) == 4
    assert default_stride_px(1, Geometry(2, 1)) == 1


def test_some_of_many_patches_are_the_same_some():
    patches = cut_patches([make_pair(coarse_px=(60, 60))], PAPER, 10, 10)
    some = some_patches(patches, limit_px=777, seed=3)
    assert len(some) == 7 and set(some.places) < set(patches.places)
    assert some.places == some_patches(patches, 777, 3).places != some_patches(patches, 777, 4).places
    assert some_patches(patches, 3600, 3) is patches
    assert len(some_patches(patches, 1, 3)) == 1
