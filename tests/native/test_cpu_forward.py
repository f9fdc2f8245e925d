"""The forward on the CPU: Winograd's transform beside plain loops and beside the float64 twin."""

from __future__ import annotations

import numpy as np
import pytest

from superres import native
from superres.native.model import NativeModel
from superres.native.several import SeveralModels

from . import builds
from .conftest import random_specimen, stained
from .parity import CPU, FOLDED, LAYERS, Request
from .test_parity import levels

pytestmark = pytest.mark.skipif(native.winograd() is None, reason="this processor, or this build, has no AVX2")
WIDE = {"base_channels": 16, "blocks": 1, "alpha": 5}
HALO_PX = 4 * 3 + 2
"""Of WIDE: a tile of 4 px for each of its three transformed layers, and a pixel for the first and for the last one."""
RELATIVE = 1e-5


def models(case):
    return [NativeModel.create(case.hyper, case.tensors, threads=2, variant=variant) for variant in ("auto", "layers")]


def error(case, images, result):
    """Of the largest value."""
    expected = case.expected(images)
    assert result.shape == expected.shape
    return float(np.abs(result - expected).max() / np.abs(expected).max())


def test_it_says_which_layers_take_what(trained):
    fast, plain = models(trained)
    assert fast.describe()["kernel"] == ("Winograd F(4x4, 3x3) by AVX2 for 11 of 13 layers, plain loops for the others")
    assert (fast.describe()["halo_px"], fast.describe()["origin_multiple"]) == ("46", "4")
    assert plain.describe()["kernel"] == "plain loops"
    assert (plain.describe()["halo_px"], plain.describe()["origin_multiple"]) == ("13", "2")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 4), (5, 3), (8, 12), (13, 17), (31, 40)])
def test_it_gives_what_the_network_gives(size):
    case = random_specimen(**WIDE)
    images = stained(2, *size)
    fast, plain = (model(images) for model in models(case))
    assert error(case, images, fast) <= RELATIVE and error(case, images, plain) <= RELATIVE
    if min(size) > 4:
        assert not np.array_equal(fast, plain), "the transform has not run"


@pytest.mark.parametrize("options", [{}, {"grow": "first"}, {"up": 4, "down": 3}, {"up": 3, "down": 1},
                                     {"up": 2, "down": 2}, {"up": 7, "down": 4}, {"up": 8, "down": 1},
                                     {"input_relu": False}, {"base_channels": 15, "alpha": 3},
                                     {"base_channels": 40, "blocks": 3}])
def test_every_kind_of_network(options):
    case = random_specimen(**{**WIDE, **options})
    images = stained(1, 10, 11)
    assert error(case, images, models(case)[0](images)) <= RELATIVE


def test_the_papers_network_as_trained(trained):
    images = stained(1, 30, 37)
    fast, plain = models(trained)
    assert error(trained, images, fast(images)) <= RELATIVE
    expected = np.rint(np.clip(trained.expected(levels(images) / 255.0), 0, 1) * 255)
    for model in (fast, plain):
        assert np.abs(model(levels(images)) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_under_sanitizers_whole_and_in_bands(tmp_path, dtype):
    """A band is the whole bit by bit, whatever its height, since it begins with a tile and reads all tiles it needs."""
    case = random_specimen(**WIDE)
    images = stained(2, 61, 9) if dtype is np.float32 else levels(stained(2, 61, 9))
    target = np.empty(case.output_shape(images), dtype)
    model = models(case)[0]
    request = Request()
    for variant in (FOLDED, LAYERS):
        request.model(case.hyper, case.tensors, CPU, variant=variant)
        request.forward(images, target)
        for rows in (2 * HALO_PX + 7, 2 * HALO_PX + 14, 50):
            request.forward(images, target, model.workspace_bytes(2, rows, 9))
    outcomes = request.serve([builds.emulation() / "superres_parity"], tmp_path)
    assert [each.message for each in outcomes if each.status] == []
    for _, whole, *banded in (outcomes[:5], outcomes[5:]):
        for each in banded:
            np.testing.assert_array_equal(each.output, whole.output)


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_several_workers_give_the_bits_of_one(workers):
    case = random_specimen(**WIDE)
    images = stained(1, 70, 13)
    several = SeveralModels([models(case)[0] for _ in range(workers)])
    np.testing.assert_array_equal(several(images), models(case)[0](images))


def test_a_part_that_begins_within_a_tile_rounds_otherwise():
    """Why the origin must be a multiple of four; the sums are the same to rounding."""
    case = random_specimen(**WIDE)
    model, images = models(case)[0], stained(1, 80, 20)
    whole, part = model(images), model(images[:, :, 2:])
    inner = slice(2 * 5 * HALO_PX // 4, -2 * 5 * HALO_PX // 4)
    assert not np.array_equal(part[:, :, inner], whole[:, :, 5:][:, :, inner])
    np.testing.assert_allclose(part[:, :, inner], whole[:, :, 5:][:, :, inner], atol=RELATIVE * np.abs(whole).max())
    aligned = model(images[:, :, 4:])
    np.testing.assert_array_equal(aligned[:, :, inner], whole[:, :, 10:][:, :, inner])


def test_the_same_bits_from_any_number_of_threads():
    case = random_specimen(**WIDE)
    images = stained(1, 33, 20)
    results = [NativeModel.create(case.hyper, case.tensors, threads=count)(images) for count in (1, 2, 7, 64)]
    assert all(np.array_equal(result, results[0]) for result in results)
