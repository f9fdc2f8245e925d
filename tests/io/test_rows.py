"""A file that is read row by row holds what the whole file holds, in the memory of its rows."""

import tracemalloc

import numpy as np
import pytest

from superres.errors import ImageError
from superres.image import Image
from superres.io.images import read_image, write_image
from superres.io.rows import stored_image


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.png"])
@pytest.mark.parametrize(("dtype", "shape", "white"), [
    (np.uint8, (700, 900, 3), None), (np.uint16, (700, 900, 3), 4095.0), (np.uint8, (2000, 900), None)])
def test_every_cut_is_that_of_the_whole(tmp_path, rng, name, dtype, shape, white):
    path = tmp_path / name
    write_image(path, Image(rng.integers(0, 255, shape).astype(dtype), 0.074, white))
    whole = read_image(path)
    with stored_image(path) as stored:
        assert (stored.pixel_size_um, stored.white) == (pytest.approx(0.074, rel=1e-5), whole.white)
        for top, bottom, left, right in ((0, 300, 0, 200), (0, 300, 100, 900), (230, 640, 0, 900), (10, 20, 5, 7),
                                         (600, 10_000, 850, 10_000)):
            assert np.array_equal(stored.pixels[top:bottom, left:right], whole.pixels[top:bottom, left:right])


def test_no_more_is_held_than_what_is_asked_for(tmp_path):
    path = tmp_path / "a.tif"
    write_image(path, Image(np.zeros((8000, 2000, 3), np.uint8), 0.074))
    tracemalloc.start()
    try:
        with stored_image(path) as stored:
            for top in range(0, 8000, 400):
                assert stored.pixels[top:top + 400, 0:100].shape == (400, 100, 3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 400 rows are 2.4 MB, with the strips that they touch 3.4; the whole image is 48 MB
    assert peak < 8e6


def test_a_file_that_ends_early_is_named(tmp_path):
    path = tmp_path / "a.tif"
    write_image(path, Image(np.random.default_rng(1).integers(0, 255, (500, 900, 3)).astype(np.uint8), 0.074))
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(ImageError, match=r"'a\.tif'"), stored_image(path):
        pass
