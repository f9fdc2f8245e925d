"""Frames of other frameworks go in where they lie, and come back without a detour."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from superres import native
from superres.catalog import Catalog
from superres.engine import Engine
from superres.errors import ImageError
from superres.inference.native_network import NativeNetwork

from .specimens import SMALL, make_weights, stained

needs_native = pytest.mark.skipif(not native.available(), reason=native.reason_unavailable())
ENGINES = ["torch", pytest.param("native", marks=needs_native)]


class Foreign:
    """An array of a framework that superres has never heard of: it speaks DLPack and nothing else."""

    def __init__(self, array, kind=None):
        self.array, self.kind, self.asked = array, kind, 0

    def __dlpack__(self, **options):
        self.asked += 1
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__() if self.kind is None else (self.kind, 0)


def load(engine, tile_px=64):
    return Engine.from_weights(make_weights(**SMALL), device="cpu", engine=engine, catalog=Catalog.builtin(),
                               tile_px=tile_px)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return load(request.param)


@pytest.fixture
def seen(monkeypatch):
    """What the compiled network was given and what it gave, call by call."""
    calls = []
    forward = NativeNetwork.forward

    def watched(self, image):
        calls.append((image, forward(self, image)))
        return calls[-1][1]

    monkeypatch.setattr(NativeNetwork, "forward", watched)
    return calls


@pytest.mark.parametrize("shape", ["colour", "grey", "batch"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_object_with_dlpack_gives_what_its_array_gives(engine, shape, dtype):
    image = stained(21, 30, dtype, 1.0 if dtype == np.float32 else np.iinfo(dtype).max)
    image = image[:, :, 0] if shape == "grey" else image
    if shape == "batch":
        batch = np.stack([image.transpose(2, 0, 1), image[::-1].transpose(2, 0, 1)])
        if dtype == np.uint16:
            with pytest.raises(ImageError, match=r"dtype torch.uint16; expected floats"):
                engine(Foreign(batch))
            return
        foreign, expected = Foreign(batch), engine(torch.from_numpy(batch)).numpy()
    else:
        foreign, expected = Foreign(image), engine(image)
    result = engine(foreign)
    assert isinstance(result, np.ndarray) and result.dtype == dtype and foreign.asked == 1
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("view", [lambda x: x[::-1], lambda x: x[:, ::-2], lambda x: x[:, :, ::-1]])
def test_views_that_run_backwards_come_through_dlpack_too(engine, view):
    """torch ends the process when it is handed a negative stride: it never is."""
    image = stained(20, 24)
    np.testing.assert_array_equal(engine(Foreign(view(image))), engine(np.ascontiguousarray(view(image))))
    batch = Foreign(view(image).transpose(2, 0, 1)[None])
    np.testing.assert_array_equal(engine(batch)[0].transpose(1, 2, 0), engine(np.ascontiguousarray(view(image))))


@pytest.mark.parametrize("tile_px", [16, 64])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", ENGINES)
def test_uint8_tensors_give_the_bytes_that_uint8_arrays_give(name, channels, tile_px):
    engine = load(name, tile_px)
    images = [stained(21, 26, seed=seed)[:, :, :channels] for seed in range(3)]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    result = engine(batch)
    assert result.dtype == torch.uint8 and result.shape == (3, channels, 53, 65)
    for image, output in zip(images, result, strict=True):
        array = engine(image if channels == 3 else image[:, :, 0])
        np.testing.assert_array_equal(output.permute(1, 2, 0).numpy().squeeze(), array)
    assert engine(batch[:0]).shape == (0, channels, 53, 65)


@pytest.mark.parametrize("tile_px", [16, 64])
@pytest.mark.parametrize("name", ENGINES)
def test_a_result_lies_as_its_input_lies(name, tile_px):
    frame = torch.from_numpy(stained(40, 30)).permute(2, 0, 1)[None]
    last = load(name, tile_px)(frame)
    assert last.stride() == (100 * 75 * 3, 1, 75 * 3, 3)
    assert torch.equal(load(name, tile_px)(frame.contiguous()), last)


def test_uint8_tensors_fed_twice_are_rounded_once(engine):
    image = stained(12, 14)
    twice = engine(torch.from_numpy(image).permute(2, 0, 1)[None], passes=2)
    np.testing.assert_array_equal(twice[0].permute(1, 2, 0), engine(image, passes=2))


@needs_native
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_frame_in_one_tile_is_neither_copied_in_nor_out(seen, dtype, layout):
    engine = load("native")
    frame = torch.from_numpy(stained(30, 40)).permute(2, 0, 1)[None]
    frame = (frame if dtype == torch.uint8 else frame.float() / 255).contiguous(memory_format=layout)
    result = engine(frame)
    ((given, made),) = seen
    assert given.data_ptr() == frame.data_ptr() and given.stride() == frame.stride()
    assert result.data_ptr() == made.data_ptr() and result.is_contiguous(memory_format=layout)
    result.requires_grad_(dtype == torch.float32)


@needs_native
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("give", [lambda x: x, Foreign])
@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.filterwarnings("error")
def test_an_array_in_one_tile_is_neither_copied_in_nor_out(seen, dtype, give, read_only):
    engine = load("native")
    image = stained(30, 40, dtype, 255 if dtype == np.uint8 else 1.0)
    image.flags.writeable = not read_only
    result = engine(give(image))
    ((given, made),) = seen
    assert given.data_ptr() == image.ctypes.data
    assert result.ctypes.data == made.data_ptr() and result.flags.c_contiguous and result.flags.writeable
    assert result.shape == (75, 100, 3)


@needs_native
def test_tiles_of_a_frame_are_read_where_they_lie(seen):
    engine = load("native", tile_px=16)
    frame = torch.from_numpy(stained(40, 40)).permute(2, 0, 1)[None].contiguous()
    engine(frame)
    first, last = frame.data_ptr(), frame.data_ptr() + frame.numel()
    assert len(seen) == 9 and all(first <= given.data_ptr() < last for given, _ in seen)


def test_results_never_share_memory_with_the_input():
    """A network may give its input back; the engine's caller owns both."""
    from superres.api.model import Geometry
    from superres.events import Events
    from superres.inference.forward import Runner
    from superres.inference.pixels import TensorPixels

    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    runner = Runner(torch.nn.Identity(), Geometry(up=1, down=1, halo_px=0), torch.device("cpu"))
    result = runner.whole(TensorPixels(image), Events())
    assert torch.equal(result, image) and result.data_ptr() != image.data_ptr()


@needs_native
def test_a_copy_of_a_compiled_network_shares_its_weights():
    engine = load("native")
    network = engine._runner.network
    twin = copy.deepcopy(network)
    image = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(1))
    expected = network(image)
    assert twin is not network and twin.model is network.model
    del engine, network
    assert torch.equal(twin(image), expected)


@pytest.mark.parametrize(("image", "words"), [
    (Foreign(np.zeros((4, 4, 3), np.uint8), kind=7), "device of DLPack kind 7; expected the CPU"),
    (Foreign(np.zeros(4, np.uint8)), r"shape \(4,\)"),
    (Foreign(np.zeros((1, 2, 3, 4, 5), np.float32)), r"shape \(1, 2, 3, 4, 5\)"),
    (Foreign(torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16)), "is a Foreign that numpy cannot read"),
    (Foreign(np.zeros((4, 4, 3), np.int64)), "dtype int64"),
])
def test_what_cannot_be_read_is_refused(engine, image, words):
    with pytest.raises(ImageError, match=words):
        engine(image)


def test_a_tensors_white_is_fixed(engine):
    with pytest.raises(ImageError, match=r"expected floats with 1\.0 for white, or uint8 with 255"):
        engine(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), white_level=200)


def test_another_white_level_is_no_reason_to_read_levels_as_they_are_stored(engine):
    """uint8 of a camera whose white is 200, by the unit intensities that they stand for."""
    levels = np.minimum(stained(9, 12), 200)
    unit = engine(levels.astype(np.float32) / 200)
    expected = np.rint(np.clip(unit, 0, 1) * 200)
    result = engine(levels, white_level=200)
    assert np.abs(result - expected).max() <= 1 and not np.array_equal(result, engine(levels))


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_a_field_of_records_is_read_though_its_steps_are_no_multiple_of_its_width(engine, dtype):
    """As files of some cameras hold pixels beside a status byte."""
    records = np.zeros((6, 7, 3), np.dtype([("status", "u1"), ("level", dtype)]))
    records["level"] = stained(6, 7) if dtype == "u1" else stained(6, 7) / np.float32(255)
    np.testing.assert_array_equal(engine(records["level"]), engine(np.ascontiguousarray(records["level"])))
