"""NumPy files as images: the largest value is white, and what holds no intensities is refused with the way out."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from superres.errors import ImageError
from superres.io.arrays import read_array


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, np.bool_])
def test_the_largest_value_is_white(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "scan.npy", np.array([[0, 1], [1, 1]], dtype=dtype))
    image = read_array(tmp_path / "scan.npy", 0.5)
    assert (image.pixel_size_um, image.white, image.name) == (0.5, 1.0, "scan.npy")
    np.testing.assert_array_equal(image.unit(), [[0, 1], [1, 1]])


@pytest.mark.parametrize(("array", "words"), [
    (np.array([[-3.0, 5.0]]), "holds values from -3 to 5; expected intensities of 0 and more"),
    (np.zeros((2, 2)), "holds values from 0 to 0"),
    (np.array([[1.0, np.nan]]), "NaN"),
    (np.zeros((0, 3)), "is empty"),
    (np.zeros((2, 2), dtype=complex), "holds complex128; expected one array of numbers"),
    (np.ones((2, 2, 2)), "has shape"),
])
def test_what_is_no_picture_is_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "scan.npy", array)
    with pytest.raises(ImageError, match=words):
        read_array(tmp_path / "scan.npy", 1.0)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    (tmp_path / "scan.npy").write_bytes(pickle.dumps({"pixels": 1}))
    with pytest.raises(ImageError, match="cannot be read"):
        read_array(tmp_path / "scan.npy", 1.0)
    np.savez(tmp_path / "many.npz", a=np.ones((2, 2)))
    with pytest.raises(ImageError, match="several arrays"):
        read_array(tmp_path / "many.npz", 1.0)
