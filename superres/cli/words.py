"""Errors and hints speak of keys of a pipeline file; commands without one say the same in options of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from superres.errors import ConfigError, Problem, SuperresError
from superres.overrides import SET_KEY, as_option

_IN_PYTHON = " (in Python: pixel_size_um)"


@contextmanager
def in_words(words: Callable[[str], str]) -> Iterator[None]:
    """Errors raised within are said in the words of a command: message and hint, and each problem of a ConfigError."""
    try:
        yield
    except ConfigError as error:
        problems = tuple(Problem("--scale" if re.fullmatch(r"model\.options(\.up|\.down)?", each.where) else each.where,
                                 words(each.message), words(each.hint))
                         for each in error.problems)
        raise ConfigError(problems, source=error.message.partition(": ")[0]) from error
    except SuperresError as error:
        error.message, error.hint = words(error.message), words(error.hint)
        raise


def for_a_scan(text: str) -> str:
    """For `superres register`, which takes a folder and `--set`:
    `set source.options.white_level = 4095` as `give --set source.options.white_level=4095`."""
    text = text.replace("or set model.options up and down", "or give --scale")
    text = text.replace("with --set run.output=...", "with --out").replace("pixel sizes in [source]", "pixel sizes")
    text = text.replace("set source.options.folder and ", "check the folder that is given, or set ")
    text = text.replace(_IN_PYTHON, "")
    text = re.sub(r"\bset source\.options\.(?=(?:coarse|fine)_pixel_size_um)", "give ", text)
    text = re.sub(r"(?:source\.options\.|\b)(coarse|fine)_pixel_size_um", r"--\1-pixel-size", text)
    return SET_KEY.sub(lambda found: f"give {as_option(found)}", text)


def for_tiles(text: str) -> str:
    """For `superres stitch`, which takes no fine fields."""
    return for_a_scan(text).replace("--coarse-pixel-size or --fine-pixel-size", "--coarse-pixel-size")


def for_an_image(text: str) -> str:
    """For `superres upscale`, which takes one image, `--pixel-size-um`, `--white-level` and `--black-level`."""
    return _levels(_pixel_size(text))


def for_measured_images(text: str) -> str:
    """For `superres mtf` and `resolution`, which take images and `--pixel-size-um`, but no white level."""
    return re.sub(r"set white_level to the (?:stored )?value that means white(?:, such as 255 or 65535)?",
                  "save it with 8 or 16 bits, or with numpy.save as .npy, whose largest value means white",
                  _pixel_size(text))


def for_pairs(text: str) -> str:
    """For the commands that score on a folder of pairs: they take `--white-level`, `--black-level` and all else
    from the files."""
    text = re.sub(r"set source\.options\.folder and source\.options\.\w+", "put them there", text)
    text = text.replace("give both the same file name, or set source.options.key",
                        "give both the same file name; where this is a scan, `superres register` it first")
    text = text.replace(", or set source.options.key", "").replace(", or source.options.coarse and fine", "")
    text = text.replace(f"set source.options.coarse_pixel_size_um or fine_pixel_size_um{_IN_PYTHON}, or ", "")
    text = re.sub(r"or set source\.options\.\w+_pixel_size_um", "or correct what the files say", text)
    return _levels(text.replace("source acquisition registers", "`superres register` registers"))


def _pixel_size(text: str) -> str:
    text = text.replace("source.options.coarse_pixel_size_um or fine_pixel_size_um" + _IN_PYTHON, "pixel_size_um")
    return text.replace("set pixel_size_um", "give --pixel-size-um")


def _levels(text: str) -> str:
    text = re.sub(r"set (?:source\.options\.)?(white|black)_level (?:= |(?=to ))", r"give --\1-level ", text)
    text = re.sub(r"give --(white|black)-level to (the|what)", r"give --\1-level, \2", text)
    return re.sub(r"\bwhite_level is\b", "--white-level is", text)
