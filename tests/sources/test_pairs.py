"""Registered pairs: matched by name, refused where the sizes do not belong together."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.api import Acquisition
from superres.builtin.sources.pairs import PairsSource, check_sizes
from superres.errors import ImageError, SourceError
from superres.image import Image
from superres.io.header import ImageHeader
from superres.io.images import write_image

COARSE, FINE = 0.185, 0.074


def save(path: Path, rng: np.random.Generator, pixel_size_um: float, shape: tuple[int, ...], white: float | None = None,
         ) -> Image:
    image = Image(rng.integers(0, 255, shape, dtype=np.uint8 if white is None else np.uint16), pixel_size_um, white)
    write_image(path, image)
    return image


def save_pair(folder: Path, rng: np.random.Generator, name: str, shape: tuple[int, ...] = (11, 8, 3)) -> None:
    fine = (math.ceil(2.5 * shape[0]), math.ceil(2.5 * shape[1]), *shape[2:])
    save(folder / "coarse" / f"{name}.png", rng, COARSE, shape)
    save(folder / "fine" / f"{name}.tif", rng, FINE, fine)


def acquire(folder: Path, **options: object) -> Acquisition:
    source = PairsSource(folder=folder, **options)
    acquisition = source.acquire()
    assert source.known_specimens() == acquisition.specimens, "what is told beforehand holds for every layout"
    return acquisition


def test_pairs_match_by_path_whatever_the_suffix(tmp_path, rng):
    for name in ("slide2/a", "slide10/a", "slide2/b"):
        save_pair(tmp_path, rng, name)
    acquisition = acquire(tmp_path)
    assert [(pair.name, pair.specimen) for pair in acquisition.pairs] == [
        ("slide2-a", "slide2"), ("slide2-b", "slide2"), ("slide10-a", "slide10")]
    assert acquisition.pairs[0].coarse.pixels.shape == (11, 8, 3)
    assert acquisition.pairs[0].fine.pixels.shape == (28, 20, 3)
    assert acquisition.pairs[0].fine.name == "fine/slide2/a.tif"
    assert (acquisition.coarse_pixel_size_um, acquisition.fine_pixel_size_um) == (COARSE, FINE)
    assert acquisition.provenance["files"] == "3 pairs"


def test_flat_folders_are_one_specimen_named_by_their_parent(tmp_path, rng):
    for name in ("a", "b"):
        save_pair(tmp_path, rng, name)
    assert acquire(tmp_path).specimens == (tmp_path.name,)
    assert acquire(tmp_path, specimen_from="(?P<specimen>[ab])[.]").specimens == ("a", "b")
    (tmp_path / "who.csv").write_text("file,specimen\na.tif,anna\nb.tif,ben\n")
    assert acquire(tmp_path, specimen_csv=tmp_path / "who.csv").specimens == ("anna", "ben")


def test_pairs_match_by_key(tmp_path, rng):
    save(tmp_path / "field 7 LR.tif", rng, COARSE, (4, 4), 4095)
    save(tmp_path / "field 7 HR.tif", rng, FINE, (10, 10), 4095)
    (pair,) = acquire(tmp_path, coarse="*LR.tif", fine="*HR.tif", key=r"field (?P<key>\d+)").pairs
    assert (pair.name, pair.coarse.white, pair.fine.white) == ("7", 4095, 4095)
    with pytest.raises(SourceError, match=r"coarse image field 7 LR.tif has no fine partner \(1 of 1 ") as caught:
        acquire(tmp_path, coarse="*LR.tif", fine="*HR.tif")
    assert "source.options.key" in caught.value.hint


def test_partners_missing_or_double(tmp_path, rng):
    save_pair(tmp_path, rng, "a")
    save(tmp_path / "fine" / "b.tif", rng, FINE, (28, 20, 3))
    with pytest.raises(SourceError, match=r"fine image fine/b.tif has no coarse partner \(1 of 2 have none\)"):
        acquire(tmp_path)
    (tmp_path / "fine" / "b.tif").unlink()
    save(tmp_path / "fine" / "a.png", rng, FINE, (28, 20, 3))
    with pytest.raises(SourceError, match=r"fine/a.png and fine/a.tif are both the fine image of 'a'"):
        acquire(tmp_path)


def test_sizes_that_do_not_belong_together(tmp_path, rng):
    save_pair(tmp_path, rng, "a")
    save(tmp_path / "fine" / "a.tif", rng, FINE, (27, 20, 3))
    with pytest.raises(SourceError, match=r"fine/a.tif has 27 × 20 pixels; expected 28 × 20 for coarse/a.png of 11 × 8 "
                                          r"at 0.185/0.074 = 2.5"):
        acquire(tmp_path)
    save(tmp_path / "fine" / "a.tif", rng, FINE, (28, 20))
    with pytest.raises(SourceError, match=r"fine/a.tif is a single channel, but coarse/a.png is RGB"):
        acquire(tmp_path)


@given(side=st.integers(1, 20_000), sizes=st.sampled_from([(0.185, 0.074), (0.5, 0.25), (0.33, 0.11), (0.37, 0.148)]))
def test_the_expected_size_is_exact_and_not_a_float_product(side, sizes):
    coarse_um, fine_um = sizes
    scale = Fraction(round(coarse_um * 1000), round(fine_um * 1000))
    exact = -(-side * scale.numerator // scale.denominator)  # ceil in whole numbers
    header = ImageHeader((side, 1), np.dtype(np.uint8))
    width = math.ceil(scale)
    check_sizes("c", header, "f", ImageHeader((exact, width), header.dtype), coarse_um, fine_um)
    with pytest.raises(SourceError, match=f"expected {exact} ×"):
        check_sizes("c", header, "f", ImageHeader((exact + 1, width), header.dtype), coarse_um, fine_um)


def test_nothing_found_and_unreadable(tmp_path, rng):
    with pytest.raises(SourceError, match=r"no coarse images match coarse = 'coarse/\*\*/\*' in"):
        acquire(tmp_path)
    save_pair(tmp_path, rng, "a")
    content = (tmp_path / "coarse" / "a.png").read_bytes()
    (tmp_path / "coarse" / "a.png").write_bytes(content[:-20])
    with pytest.raises(ImageError, match=r"'a.png' is truncated"):
        acquire(tmp_path)


def test_twelve_bits_without_a_white_level_are_refused_instead_of_trained_on_as_black(tmp_path, rng):
    for kind, size_um, shape in (("coarse", COARSE, (4, 6)), ("fine", FINE, (10, 15))):
        pixels = rng.integers(0, 4096, shape, dtype=np.uint16)
        pixels[0, 0] = 4000
        write_image(tmp_path / kind / "a.png", Image(pixels, size_um))
    with pytest.raises(SourceError, match="look like 12 bits") as caught:
        acquire(tmp_path)
    assert "white_level = 4095" in caught.value.hint
    assert acquire(tmp_path, white_level=4095).pairs[0].fine.white == 4095


def test_a_white_level_that_a_file_cannot_hold_is_refused(tmp_path, rng):
    save_pair(tmp_path, rng, "a")
    with pytest.raises(SourceError, match=r"white_level is 4095, which the uint8 of coarse/a.png cannot hold"):
        acquire(tmp_path, white_level=4095)


def test_what_the_camera_stores_without_light_is_taken_off_both(tmp_path, rng):
    for kind, size_um, shape in (("coarse", COARSE, (4, 6)), ("fine", FINE, (10, 15))):
        write_image(tmp_path / kind / "a.png", Image(np.full(shape, 2100, np.uint16), size_um))
    found = acquire(tmp_path, white_level=4095, black_level=100)
    for image in (found.pairs[0].coarse, found.pairs[0].fine):
        assert image.white == 3995 and (image.pixels == 2000).all()
    assert found.provenance["black level"] == "100, taken off all pixels"
    assert "black level" not in acquire(tmp_path, white_level=4095).provenance
    for black in (4095, 99.5):
        with pytest.raises(SourceError, match=rf"black level is {black:g} for 'coarse/a.png', uint16 with"):
            acquire(tmp_path, white_level=4095, black_level=black)


def test_options_are_checked_early():
    with pytest.raises(pydantic.ValidationError, match="has no group 'key'"):
        PairsSource(key="(.*)")
    with pytest.raises(pydantic.ValidationError, match="'UNSET_FOLDER' is not set"):
        PairsSource(fine="${UNSET_FOLDER}/*")


def test_a_folder_with_brackets(tmp_path, rng):
    folder = tmp_path / "set [1]"
    save_pair(folder, rng, "s/a")
    assert [pair.name for pair in acquire(folder).pairs] == ["s-a"]


def test_fingerprint(tmp_path, rng):
    save_pair(tmp_path, rng, "a")
    before = PairsSource(folder=tmp_path).fingerprint()
    assert before == PairsSource(folder=tmp_path).fingerprint()
    save_pair(tmp_path, rng, "b")
    assert PairsSource(folder=tmp_path).fingerprint() != before
