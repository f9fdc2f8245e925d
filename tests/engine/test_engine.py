"""The engine as an embedding program sees it."""

import threading
from dataclasses import asdict, replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from superres.builtin.models.bicubic import BicubicModel
from superres.catalog import Catalog
from superres.engine import Engine
from superres.errors import Cancelled, EngineError, ImageError, WeightsError
from superres.events import Events
from superres.image import Image
from superres.io.weights import write_weights
from superres.resample import bicubic

from ..models import twin
from .specimens import SMALL, make_weights, stained


@pytest.fixture(scope="module")
def small():
    """A small network, in tiles so small that every image needs several."""
    return Engine.from_weights(make_weights(**SMALL), device="cpu", engine="torch", catalog=Catalog.builtin(),
                               tile_px=32)


def float64(weights, unit):
    options = weights.options
    return twin.forward(unit, weights.tensors, blocks=options["blocks"], up=options["up"], down=options["down"])


@pytest.mark.parametrize("tile_px", [24, 512])
def test_uint8_is_within_one_grey_level_of_float64(tile_px):
    """The paper's network, whole."""
    weights = make_weights()
    engine = Engine.from_weights(weights, device="cpu", catalog=Catalog.builtin(), tile_px=tile_px)
    image = stained(41, 34)
    expected = np.rint(np.clip(float64(weights, image / 255.0), 0, 1) * 255)
    result = engine(image)
    assert result.dtype == np.uint8 and result.shape == (103, 85, 3)
    assert result.min() == 0 and result.max() == 255, "the test reaches both ends"
    assert np.abs(result - expected).max() <= 1
    assert np.mean(result != expected) < 1e-3


@pytest.mark.parametrize(("dtype", "white"), [
    (np.uint8, None), (np.uint16, None), (np.uint16, 4095), (np.dtype(">u2"), None), (np.float32, None),
    (np.float64, None), (np.float32, 1000.0)])
def test_every_dtype_comes_back_as_itself(small, dtype, white):
    greatest = white or (np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1.0)
    image = stained(37, 50, dtype, greatest)
    result = small(image, white_level=white)
    expected = float64(small.weights, image / greatest)
    assert result.dtype == dtype and result.shape == (93, 125, 3)
    if np.issubdtype(dtype, np.integer):
        # float32 rounding of a value around white, and the rounding to whole numbers.
        assert np.abs(result - np.rint(np.clip(expected, 0, 1) * greatest)).max() <= 1
        assert result.max() == greatest
    else:
        np.testing.assert_allclose(result / greatest, expected, atol=5e-6)
        assert result.max() > greatest, "floats are not clamped"


def test_a_single_channel_comes_back_as_one(small):
    image = stained(30, 33)[:, :, 0]
    expected = float64(small.weights, np.repeat(image[:, :, None] / 255.0, 3, axis=2)).mean(axis=2)
    result = small(image)
    assert result.shape == (75, 83)
    assert np.abs(result - np.rint(np.clip(expected, 0, 1) * 255)).max() <= 1


@pytest.mark.parametrize("view", [lambda x: x[::-1], lambda x: x[:, ::2], lambda x: x[:, :, ::-1],
                                  lambda x: np.asfortranarray(x), lambda x: x.transpose(1, 0, 2)])
def test_views_are_read_as_they_are_seen(small, view):
    image = view(stained(40, 44))
    before = image.copy()
    np.testing.assert_array_equal(small(image), small(np.ascontiguousarray(image)))
    np.testing.assert_array_equal(image, before)


def test_read_only_images_work(small):
    image = stained(10, 12)
    image.setflags(write=False)
    assert small(image).shape == (25, 30, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (33, 65)])
def test_every_size_works(small, size):
    image = stained(*size, np.float32, 1.0)
    np.testing.assert_allclose(small(image), float64(small.weights, image), atol=5e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("channels", [3, 1])
def test_tensors_keep_type_and_device(small, dtype, channels):
    batch = torch.from_numpy(np.stack([stained(12, 18, np.float32, 1.0, seed) for seed in range(5)]))
    batch = batch.permute(0, 3, 1, 2)[:, :channels].to(dtype)
    result = small(batch)
    assert result.dtype == dtype and result.device == batch.device and result.shape == (5, channels, 30, 45)
    for image, output in zip(batch, result, strict=True):
        expected = float64(small.weights, image.permute(1, 2, 0).expand(-1, -1, 3).double().numpy())
        expected = expected if channels == 3 else expected.mean(axis=2, keepdims=True)
        tolerance = 2e-3 if dtype == torch.float16 else 5e-6
        np.testing.assert_allclose(output.permute(1, 2, 0).double().numpy(), expected, atol=tolerance)
    assert small(batch[:0]).shape == (0, channels, 30, 45)
    result.requires_grad_(True)


def test_an_image_keeps_profile_and_white_and_gets_its_pixel_size(small):
    image = Image(stained(20, 30, np.uint16, 4095), 0.185, white_level=4095, name="a", icc_profile=b"profile")
    result = small(image)
    assert result.pixel_size_um == pytest.approx(0.074)
    assert (result.icc_profile, result.white, result.name) == (b"profile", 4095, "a")
    np.testing.assert_array_equal(result.pixels, small(image.pixels, white_level=4095))
    assert small(image, passes=2).pixel_size_um == pytest.approx(0.0296)


def test_self_feeding_is_neither_clamped_nor_rounded_between(small):
    image = stained(21, 26)
    twice = float64(small.weights, float64(small.weights, image / 255.0))
    result = small(image, passes=2)
    assert result.shape == (*small.output_shape(21, 26, passes=2), 3) == (133, 163, 3)
    assert np.abs(result - np.rint(np.clip(twice, 0, 1) * 255)).max() <= 1


def test_rows_stream_in_bands(small):
    image = stained(100, 40)
    bands = list(small.stream_rows(image))
    assert len(bands) > 2 and all(band.dtype == np.uint8 for band in bands)
    np.testing.assert_array_equal(np.concatenate(bands), small(image))


def test_a_memory_map_is_read_by_region(small, tmp_path):
    image = stained(50, 40)
    np.save(tmp_path / "image.npy", image)
    np.testing.assert_array_equal(small(np.load(tmp_path / "image.npy", mmap_mode="r")), small(image))


def test_many_threads_share_one_engine(small):
    images = [stained(60, 50, seed=seed) for seed in range(4)]
    expected = [small(image) for image in images]
    wrong = []

    def work(index):
        for _ in range(3):
            if not np.array_equal(small(images[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index % 4,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_numbers_that_outgrow_the_arithmetic_are_no_black_pixels(dtype):
    """Finite weights whose products are not: NaN and infinity would be stored as 0 and as white."""
    weights = make_weights(**SMALL)
    huge = {name: tensor * np.float32(1e20) for name, tensor in weights.tensors.items() if name.endswith("weight")}
    engine = Engine.from_weights(replace(weights, tensors={**weights.tensors, **huge}), "cpu", "torch")
    with pytest.raises(EngineError, match="model 'rivenson2017' gave NaN or infinite values in rows 0 to 49 "):
        engine(stained(20, 20, dtype, 1.0 if dtype == np.float32 else 255.0))
    if dtype == np.uint8:
        with pytest.raises(EngineError, match="gave NaN or infinite"):
            engine(torch.full((1, 3, 20, 20), 200, dtype=torch.uint8))


def test_describe_names_the_path_and_why(small):
    text = str(small.describe())
    for words in ("rivenson2017", "L = 5/2", "torch on cpu", "exact: float32", "tiles of 32 px", "asked for"):
        assert words in text
    assert small.describe().parameters == sum(tensor.size for tensor in small.weights.tensors.values())
    chosen = Engine.from_weights(small.weights, catalog=Catalog.builtin()).describe()
    assert "chosen" in chosen.why


def test_load_reads_the_file(tmp_path, small):
    write_weights(tmp_path / "w.safetensors", small.weights)
    loaded = Engine.load(str(tmp_path / "w.safetensors"), device="cpu")
    image = stained(16, 16)
    np.testing.assert_array_equal(loaded(image), small(image))
    with pytest.raises(WeightsError):
        Engine.load(tmp_path / "absent.safetensors")


def test_bicubic_needs_no_tensors():
    weights = replace(make_weights(**SMALL), plugin="bicubic", options={}, tensors={},
                      geometry=asdict(BicubicModel().geometry))
    image = stained(31, 44, np.float32, 1.0)
    result = Engine.from_weights(weights, catalog=Catalog.builtin(), tile_px=16)(image)
    np.testing.assert_allclose(result, bicubic(image, Fraction(5, 2)), atol=1e-6)


@pytest.mark.parametrize(("image", "words"), [
    (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\); expected \(H, W\) or \(H, W, 3\)"),
    (np.zeros((4,), np.uint8), "shape"),
    (np.zeros((0, 4, 3), np.uint8), "empty"),
    (np.zeros((4, 4, 3), np.int32), "dtype int32; expected uint8, uint16, float32 or float64"),
    (np.zeros((4, 4, 3), bool), "dtype bool"),
    (np.full((4, 4, 3), np.nan, np.float32), "NaN or infinite"),
    ([[1, 2], [3, 4]], "is a list; expected a numpy array"),
    (torch.zeros(3, 4, 4), r"tensor has shape \(3, 4, 4\); expected \(N, 3, H, W\)"),
    (torch.zeros(1, 4, 4, 4), "tensor has shape"),
    (torch.zeros(1, 3, 0, 4), "tensor has shape"),
    (torch.zeros(1, 3, 4, 4, dtype=torch.int16), "dtype torch.int16; expected floats"),
    (torch.full((1, 3, 4, 4), torch.inf), "NaN or infinite"),
])
def test_wrong_images_are_refused(small, image, words):
    with pytest.raises(ImageError, match=words):
        small(image)


@pytest.mark.parametrize(("image", "white"), [(np.zeros((4, 4), np.uint8), 4095), (np.zeros((4, 4), np.uint16), 0),
                                              (np.zeros((4, 4), np.float32), np.nan), (torch.zeros(1, 3, 4, 4), 255),
                                              (Image(np.zeros((4, 4), np.uint8), 0.2), 128)])
def test_wrong_white_levels_are_refused(small, image, white):
    with pytest.raises(ImageError, match=r"white.level"):
        small(image, white_level=white)


@pytest.mark.parametrize(("options", "words"), [
    ({"engine": "magic"}, "engine 'magic' is unknown; expected one of auto, torch"),
    ({"precision": "half"}, "precision 'half' is unknown; expected exact or fast"),
    ({"device": "tpu"}, "device 'tpu' is unknown; expected auto, cpu, cuda or cuda:N"),
    ({"device": "cuda:99"}, "device 'cuda:99' is not here"),
    ({"device": "cuda:"}, "is unknown"),
    ({"tile_px": 0}, "tile_px is 0"),
])
def test_what_cannot_run_is_refused_not_replaced(small, options, words):
    with pytest.raises(EngineError, match=words):
        Engine.from_weights(small.weights, catalog=Catalog.builtin(), **options)


def test_passes_must_be_positive(small):
    with pytest.raises(EngineError, match="passes is 0"):
        small(np.zeros((4, 4), np.uint8), passes=0)


def test_cancelling(small):
    events = Events()
    events.cancel()
    with pytest.raises(Cancelled):
        small(stained(20, 20), events=events)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_in_grey_levels_are_refused_not_taken_for_white(small, dtype):
    grey_levels = stained(20, 20).astype(dtype)
    with pytest.raises(ImageError, match=r"up to \d+; expected 0 \(black\)"):
        small(grey_levels)
    assert np.abs(small(grey_levels, white_level=255) - small(grey_levels / 255) * 255).max() < 1e-2
