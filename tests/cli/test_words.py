"""Hints in the words of commands that have no pipeline file: what they say can be typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.main import get_command
from typer.testing import CliRunner

from superres.cli import app
from superres.cli.words import for_a_scan, for_an_image, for_measured_images, for_pairs
from superres.errors import ImageError
from superres.image import Image, require_white
from superres.io.header import give_pixel_size
from superres.io.images import write_image
from superres.weights import shipped_weights

NOWHERE = ("--device", "cuda:77")
"""A device that no machine has: an engine would be refused."""


@pytest.mark.parametrize(("hint", "said"), [
    ("set source.options.white_level = 4095 (or 65535, if", "give --set source.options.white_level=4095 (or 65535, if"),
    ("set source.options.stage_axes = '-y,x', or change", "give --set source.options.stage_axes=-y,x, or change"),
    ('set register.options.warp = "smooth"', "give --set register.options.warp=smooth"),
    ("or set source.options.coarse_pixel_size_um", "or give --coarse-pixel-size"),
    ("set source.options.slide_from ('one' for one slide)", "give --set source.options.slide_from=... ('one' for one"),
    (give_pixel_size("metadata"), "give --coarse-pixel-size or --fine-pixel-size, or fix the metadata"),
    ("sizes (source.options.fine_pixel_size_um × scale)", "sizes (--fine-pixel-size × scale)"),
    ("set source.options.folder and source.options.coarse; image",
     "check the folder that is given, or give --set source.options.coarse=...; image"),
    ("choose another folder with --set run.output=...", "choose another folder with --out"),
])
def test_in_the_words_of_register(hint: str, said: str) -> None:
    assert said in for_a_scan(hint)


@pytest.mark.parametrize(("hint", "said"), [
    (give_pixel_size("resolution tags"), "give --pixel-size-um, or fix the resolution tags"),
    ("set white_level to the value that means white", "give --white-level, the value that means white"),
    ("set pixel_size_um, or fix the file's metadata", "give --pixel-size-um, or fix the file's metadata"),
])
def test_in_the_words_of_upscale(hint: str, said: str) -> None:
    assert for_an_image(hint) == said


@pytest.mark.parametrize("command", ["mtf", "resolution"])
def test_measurements_name_their_own_options_and_none_that_they_lack(tmp_path: Path, command: str) -> None:
    tifffile.imwrite(tmp_path / "flat.tif", np.zeros((20, 30), np.uint8), resolution=(50000, 25000),
                     resolutionunit="CENTIMETER")
    tifffile.imwrite(tmp_path / "float.tif", np.full((20, 30), 200, np.float32))
    write_image(tmp_path / "ok.png", Image(np.zeros((20, 30), np.uint8), 0.2))
    for words, hint in ((["flat.tif"], "resample it to square pixels; if they are square, give --pixel-size-um, or"),
                        (["float.tif", "--pixel-size-um", "0.1"], "save it with 8 or 16 bits, or with numpy.save"),
                        (["ok.png", "--pixel-size-um", "inf"], "give --pixel-size-um")):
        done = CliRunner().invoke(app, [command, str(tmp_path / words[0]), *words[1:]])
        assert done.exit_code == 2 and hint in done.output, done.output
        assert "source.options" not in done.output and "white_level" not in done.output, done.output


def test_the_words_of_measurements_leave_nothing_of_a_pipeline() -> None:
    assert for_measured_images(give_pixel_size("metadata")) == "give --pixel-size-um, or fix the metadata"


@pytest.mark.parametrize("command", ["upscale", "evaluate", "cross-tissue", "reproduce", "mtf", "resolution"])
def test_options_come_in_one_order(command: str) -> None:
    """What is used, what it is done with, where it runs, how files are to be read, and what is written."""
    order = ("weights", "passes", "evaluator", "run", "sides", "engine", "precision", "device", "pixel_size_um",
             "white_level", "black_level", "na", "page", "csv")
    options = [each.name for each in get_command(app).commands[command].params if each.name in order]  # type: ignore[attr-defined]
    assert len(options) >= 4 and options == sorted(options, key=order.index)


@pytest.mark.parametrize(("hint", "said"), [
    (give_pixel_size("metadata"), "fix the metadata"),
    ("set source.options.white_level = 4095 (or 65535, if", "give --white-level 4095 (or 65535, if"),
    ("white_level is 4095, which", "--white-level is 4095, which"),
    ("set source.options.folder and source.options.fine; image", "put them there; image"),
    ("rename one, or set source.options.key", "rename one"),
])
def test_in_the_words_of_evaluate(hint: str, said: str) -> None:
    assert for_pairs(hint) == said


@pytest.mark.parametrize(("options", "message", "hint"), [
    ((), "pixels of 'in.tif' are not square", "if they are square, give --pixel-size-um, or fix the"),
    (("--pixel-size-um", "-1"), "has pixel size -1.0 µm; expected a positive number", "give --pixel-size-um"),
    (("--pixel-size-um", "0.2", "--white-level", "4095"), "has white level 4095", "give --white-level, the stored"),
    (("--pixel-size-um", "0.2", "--black-level", "255"), "black level is 255", "give --black-level, what the camera"),
])
def test_upscale_refuses_header_and_arguments_before_the_engine(tmp_path: Path, options: tuple[str, ...], message: str,
                                                                hint: str) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((20, 30), np.uint8), resolution=(50000, 25000),
                     resolutionunit="CENTIMETER")
    done = CliRunner().invoke(app, ["upscale", str(tmp_path / "in.tif"), str(tmp_path / "out.tif"), *NOWHERE, *options])
    assert done.exit_code == 2 and message in done.output and hint in done.output, done.output
    assert "source.options" not in done.output


def test_upscale_asks_for_the_white_level_of_floats_by_its_option(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.full((20, 30), 200, np.float32))
    done = CliRunner().invoke(app, ["upscale", str(tmp_path / "in.tif"), str(tmp_path / "out.tif"), "--device", "cpu"])
    assert done.exit_code == 2 and "give --white-level, the value that means white" in done.output, done.output


@pytest.mark.parametrize("words", [["evaluate", "."], ["cross-tissue", ".", "--weights", str(shipped_weights())],
                                   ["reproduce", ".", "--table", "S1"]], ids=lambda words: words[0])
def test_pairs_are_refused_before_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, side in (("coarse", 20), ("fine", 50)):
        write_image(tmp_path / kind / "a" / "a.tif", Image(np.full((side, side), 3000, np.uint16), 3.7 / side))
    done = CliRunner().invoke(app, [*words, *NOWHERE])
    assert done.exit_code == 2 and "hint: give --white-level 4095 (or 65535, if" in done.output, done.output
    done = CliRunner().invoke(app, [*words, *NOWHERE, "--white-level", "4095", "--black-level", "5000"])
    assert done.exit_code == 2 and "hint: give --black-level, what the camera stores" in done.output, done.output
    given = CliRunner().invoke(app, [*words, *NOWHERE, "--white-level", "4095"])
    assert given.exit_code == 2 and "cuda:77" in given.output, given.output


def test_a_white_level_far_below_the_values_is_refused_by_upscale_and_evaluate(tmp_path: Path,
                                                                               rng: np.random.Generator) -> None:
    for kind, side in (("coarse", 20), ("fine", 50)):
        pixels = rng.integers(40, 4081, size=(side, side)).astype(np.uint16)
        write_image(tmp_path / "pairs" / kind / "a" / "a.tif", Image(pixels, 3.7 / side))
    coarse = str(tmp_path / "pairs" / "coarse" / "a" / "a.tif")
    for words in (["upscale", coarse, str(tmp_path / "out.tif"), "--device", "cpu"],
                  ["evaluate", str(tmp_path / "pairs"), *NOWHERE]):
        done = CliRunner().invoke(app, [*words, "--white-level", "100"])
        assert done.exit_code == 2 and "brighter than its white level 100" in done.output, done.output
        assert "hint: give --white-level, the stored value that means white" in done.output, done.output
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_white_is_doubted_only_where_most_pixels_are_brighter_in_any_channel(dtype: type) -> None:
    pixels = np.full((600, 10, 3), 100, dtype)
    pixels[:300, :, 1] = 400
    require_white(Image(pixels, 0.2, 100.0))
    pixels[300, 0, 2] = 400
    with pytest.raises(ImageError, match="brighter than its white level 100; the greatest value is 400"):
        require_white(Image(pixels, 0.2, 100.0))
    require_white(Image(np.full((20, 20), 105, dtype), 0.2, 100.0))  # clear glass of a flat-fielded image
