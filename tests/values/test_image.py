"""Images with their sampling."""

import numpy as np
import pytest

from superres.errors import ImageError
from superres.image import Image, Readable, from_unit


def image(pixels, **more):
    return Image(pixels, 0.185, name="field", **more)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((2, 2), np.int32), "int32"),
        (np.zeros((0, 3), np.uint8), "empty"),
        (np.full((2, 2), np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_image_is_refused_by_name(pixels, message):
    with pytest.raises(ImageError, match=message) as caught:
        image(pixels)
    assert "field" in str(caught.value)


@pytest.mark.parametrize("pitch", [0, -1, float("nan")])
def test_a_pixel_size_must_be_positive(pitch):
    with pytest.raises(ImageError, match="pixel size"):
        Image(np.zeros((2, 2), np.uint8), pitch)


def test_twelve_bits_in_sixteen_are_scaled_by_their_white_level():
    raw = image(np.array([[0, 4095]], np.uint16), white_level=4095)
    np.testing.assert_array_equal(raw.unit(), [[0.0, 1.0]])


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 4095), (np.uint16, 65536), (np.float32, np.inf), (np.uint8, 0),
                                              (np.uint16, np.nan)])
def test_a_white_level_that_no_pixel_can_have_is_refused(dtype, white):
    with pytest.raises(ImageError, match="white level"):
        image(np.zeros((2, 2), dtype), white_level=white)


def test_grey_is_luma_and_single_channels_are_repeated():
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 255
    assert image(red).grey()[0, 0] == pytest.approx(0.299)
    assert image(np.full((2, 3), 51, np.uint8)).rgb().shape == (2, 3, 3)


def test_size_and_crop():
    raw = image(np.arange(20, dtype=np.uint8).reshape(4, 5))
    assert raw.size_um == (pytest.approx(0.74), pytest.approx(0.925))
    assert raw.crop(1, 2, 2, 2).pixels.tolist() == [[7, 8], [12, 13]]
    with pytest.raises(ImageError, match="leaves"):
        raw.crop(3, 0, 2, 2)


def test_an_image_is_readable_like_a_file():
    raw = image(np.zeros((2, 2), np.uint8))
    assert isinstance(raw, Readable) and raw.read() is raw


def test_integers_are_clamped_and_rounded_half_to_even():
    stored = from_unit(np.array([-0.1, 0.5 / 255, 1.5 / 255, 1.2], np.float32), np.dtype(np.uint8), 255)
    assert stored.tolist() == [0, 0, 2, 255]
