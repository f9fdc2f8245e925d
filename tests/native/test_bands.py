"""Bands of rows: a frame in bounded memory, or on several devices, to the bits of one forward of the whole."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from superres import native
from superres.errors import EngineError, ImageError
from superres.native.model import NativeModel
from superres.native.several import SeveralModels

from . import builds
from .conftest import random_specimen, stained
from .parity import BLOCKS, CPU, EMULATED, FOLDED, LAYERS, Request
from .test_parity import SMALL, levels

HALO_PX = 5
"""Of SMALL, one block: two for its convolutions, three for the input, sub-pixel and output ones."""

needs_native = pytest.mark.skipif(not native.available(), reason=native.reason_unavailable())


@pytest.fixture(scope="module")
def small():
    case = random_specimen(**SMALL)
    return case, NativeModel.create(case.hyper, case.tensors, threads=1)


DRIVEN = pytest.mark.parametrize(("device", "variant"), [(CPU, LAYERS), (EMULATED, LAYERS), (EMULATED, BLOCKS),
                                                         (EMULATED, FOLDED)])


def workspaces(folder, case, device, variant, sizes):
    request = Request()
    request.model(case.hyper, case.tensors, device, variant=variant)
    for size in sizes:
        request.workspace(*size)
    _, *answers = request.serve([builds.emulation() / "superres_parity"], folder)
    return [int(answer.message) for answer in answers]


@DRIVEN
def test_banded_equals_whole_bit_by_bit(tmp_path, small, device, variant):
    """Through the C API: from the smallest band up, odd and even frames."""
    case, _ = small
    images = [stained(1, 33, 9), levels(stained(2, 40, 7))]
    request = Request()
    request.model(case.hyper, case.tensors, device, variant=variant)
    read_rows = (2 * HALO_PX + 3, 17, 20, 31)
    for image in images:
        limits = workspaces(tmp_path, case, device, variant, [(len(image), rows, image.shape[3]) for rows in read_rows])
        for limit in (0, *limits):
            request.forward(image, np.empty(case.output_shape(image), image.dtype), limit)
    made, *outcomes = request.serve([builds.emulation() / "superres_parity"], tmp_path)
    assert made.status == 0 and [each.message for each in outcomes if each.status] == []
    for at in range(0, len(outcomes), 1 + len(read_rows)):
        whole, *banded = outcomes[at:at + 1 + len(read_rows)]
        for each in banded:
            np.testing.assert_array_equal(each.output, whole.output)


def test_the_papers_frame_takes_no_more_than_was_promised(tmp_path, trained):
    """Workspace, uint8 input and output of 2048² within 1.2 GB; layer by layer it takes more."""
    pixels = 2048 ** 2
    folded, layers = (workspaces(tmp_path, trained, EMULATED, variant, [(1, 2048, 2048)])[0]
                      for variant in (FOLDED, LAYERS))
    assert folded == (7 + 8) * 16 * pixels, "the last block's input and output, padded to groups of eight channels"
    assert folded + 3 * pixels + 3 * 5120 ** 2 <= 1.2e9 < layers


def test_more_pixels_than_a_launch_can_number_have_no_workspace(tmp_path, small):
    """A card is given at most 2³¹ − 1 pixels of an image, and 64 times that in all; a CPU is given any number."""
    sizes = [(1, 46340, 46340), (1, 46341, 46341), (1, 2 ** 24, 128), (64, 46340, 46340), (65, 46340, 46340)]
    on_card = workspaces(tmp_path, small[0], EMULATED, FOLDED, sizes)
    assert [size > 0 for size in on_card] == [True, False, False, True, False]
    assert all(workspaces(tmp_path, small[0], CPU, LAYERS, sizes))


def test_a_workspace_too_small_for_any_band_is_refused(tmp_path, small):
    case, _ = small
    request = Request()
    request.model(case.hyper, case.tensors, EMULATED)
    request.forward(stained(1, 40, 9), np.empty((1, 3, 100, 23), np.float32), 256)
    _, outcome = request.serve([builds.emulation() / "superres_parity"], tmp_path)
    assert outcome.status == 1 and "256 bytes, too few for any band" in outcome.message


@needs_native
def test_the_memory_of_a_band_is_known_in_advance_and_kept(small):
    _, model = small
    height, width = 200, 64
    whole = model.workspace_bytes(1, height, width)
    assert model.band_rows(1, height, width, whole) == height
    for limit in (whole - 1, whole // 2, whole // 8):
        rows = model.band_rows(1, height, width, limit)
        assert 0 < rows < height and rows % 2 == 0
        needed = [model.workspace_bytes(1, band.read_rows, width) for band in model.bands(height, rows)]
        assert max(needed) <= limit
        # Two rows more would not fit: nothing is given away.
        taller = model.bands(height, rows + 2)
        assert max(model.workspace_bytes(1, band.read_rows, width) for band in taller) > limit or len(taller) < 3
    assert model.band_rows(1, height, width, 100) == 0


@needs_native
def test_bands_partition_the_output(small):
    _, model = small
    for height, rows in ((33, 2), (33, 10), (40, 8), (7, 6)):
        bands = model.bands(height, rows)
        assert [band.out_first for band in bands] == list(np.cumsum([0, *(band.out_rows for band in bands)])[:-1])
        assert sum(band.out_rows for band in bands) == model.output_shape(height, 1)[0]
        assert all(band.read_first % 2 == 0 for band in bands)


@needs_native
@pytest.mark.parametrize(("first", "rows"), [(1, 2), (0, 3), (-2, 2), (0, 42), (40, 2), (0, 0)])
def test_rows_that_are_no_band_are_refused(small, first, rows):
    with pytest.raises(EngineError, match="expected multiples of 2 within the frame"):
        small[1].band(40, first, rows)


@needs_native
@pytest.mark.parametrize("kind", [lambda x: x, levels])
def test_a_python_caller_says_how_much_memory_a_forward_may_take(small, kind):
    _, model = small
    images = kind(stained(2, 61, 30))
    limit = model.workspace_bytes(2, 2 * HALO_PX + 9, 30)
    np.testing.assert_array_equal(model(images, workspace_bytes=limit), model(images))
    with pytest.raises(EngineError, match="no band of a frame 30 px wide fits"):
        model(images, workspace_bytes=1000)


@needs_native
def test_a_frame_too_large_for_one_call_goes_through_in_bands_or_says_so(small):
    """As on a card: more than 2³¹ pixels have no workspace, whose size is then said to be 0."""
    _, model = small

    class Limited(NativeModel):
        def workspace_bytes(self, count, height, width):
            return super().workspace_bytes(count, height, width) if height <= 40 else 0

    limited, images = Limited(model._core, model.device, model.up, model.down), stained(1, 61, 9)
    with pytest.raises(EngineError, match="a frame of 61 × 9 px is too large for one call"):
        limited(images)
    limit = model.workspace_bytes(1, 40, 9)
    np.testing.assert_array_equal(limited(images, workspace_bytes=limit), model(images))


@needs_native
@pytest.mark.parametrize("workers", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("height", [1, 2, 33, 40])
def test_several_devices_give_the_bits_of_one(small, workers, height):
    case, model = small
    several = SeveralModels([NativeModel.create(case.hyper, case.tensors, threads=1) for _ in range(workers)])
    for images in (stained(2, height, 21), levels(stained(1, height, 8))[:, :, ::-1]):
        np.testing.assert_array_equal(several(images), model(images))


@needs_native
def test_two_workers_work_at_the_same_time(trained):
    """Each waits at a barrier inside its own band: were they one after the other, the first would wait in vain."""
    model = NativeModel.create(trained.hyper, trained.tensors, threads=1)
    meeting = threading.Barrier(2, timeout=20)

    class Met(NativeModel):
        def run_band(self, image, result, band):
            meeting.wait()
            super().run_band(image, result, band)

    workers = [Met(model._core, model.device, model.up, model.down) for _ in range(2)]
    images = stained(1, 30, 8)
    np.testing.assert_array_equal(SeveralModels(workers)(images), model(images))


@needs_native
def test_networks_that_are_not_the_same_cannot_share_a_frame(small):
    other = random_specimen(base_channels=9, blocks=1, alpha=0)
    with pytest.raises(EngineError, match="expected one or more of the same"):
        SeveralModels([small[1], NativeModel.create(other.hyper, other.tensors)])
    with pytest.raises(EngineError, match="expected one or more of the same"):
        SeveralModels([])


@needs_native
@pytest.mark.parametrize("change", [{"seed": 1}, {"grow": "first"}, {"input_relu": True}], ids=str)
def test_networks_of_other_weights_do_not_share_a_frame(change):
    """Half of the result would be another network's, and nobody would see where it begins."""
    one, other = ({"base_channels": 6, "blocks": 1, "alpha": 0, **more} for more in ({}, change))
    models = [NativeModel.create(case.hyper, case.tensors, threads=1)
              for case in (random_specimen(**options) for options in (one, one, other))]
    SeveralModels(models[:2])
    with pytest.raises(EngineError, match=r"models \[2\] \(from 0\) have other weights"):
        SeveralModels(models)


@needs_native
def test_an_error_of_a_band_reaches_the_caller(small):
    with pytest.raises(ImageError, match="dtype float64"):
        SeveralModels([small[1]] * 2)(np.zeros((1, 3, 8, 8)))
