"""`superres upscale --consistency-map`: the output taken back to the coarse objective, beside its input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superres.api.evaluator import Picture
from superres.builtin.evaluators.pictures import LabelledMap, draw_maps
from superres.errors import ImageError
from superres.image import FloatArray, Image
from superres.io.images import TIFF_SUFFIXES, write_image
from superres.io.rows import StoredImage
from superres.io.weights import Weights
from superres.optics import Optics
from superres.optics.consistency import (
    MARGIN_PX,
    ForwardModel,
    VisibleSpot,
    consistency_map,
    finest_visible,
    limit_of,
    noise_level,
    ordinary_level,
    visible_spots,
)
from superres.optics.spectrum import noise_sd
from superres.report.fields import to_uint8
from superres.report.pages import Page, Section, Table, write_page

NOISE_PX = 1024
"""Side of the piece, from the middle, on which the camera's noise is measured."""

GRATING_CONTRAST = 0.2

MODEL_FLOOR = 0.5
"""% of white: strong stain is imaged not quite linearly, so that a true fine image differs by up to this much."""

LEAST_SIDE_PX = 2 * MARGIN_PX
"""The forward model reaches so far to both sides: in a smaller image everything is border."""

SUFFIXES = (*TIFF_SUFFIXES, ".html")


@dataclass(frozen=True, eq=False)
class ConsistencyResult:
    """percent: (h, w) float32 on the input's pixels, |A(output) − input| in % of white.  noise: its 99th percentile
    where there is only camera noise, and no less than the model's own error.  level: the same, and no less than what
    the map itself shows nearly everywhere: only what rises above that is seen in it.  spots: the smallest invented
    structures that would show."""

    name: str
    percent: FloatArray
    noise: float
    level: float
    model: ForwardModel
    spots: tuple[VisibleSpot, ...]

    @property
    def striking(self) -> float:
        """Share of pixels above twice the noise."""
        return float(np.mean(self.percent > 2 * self.noise))

    def sentence(self) -> str:
        return (f"Consistency of '{self.name}': mean {self.percent.mean():.2f} % of white, 99th percentile "
                f"{np.percentile(self.percent, 99):.2f} %; camera noise and the model alone give {self.noise:.2f} %; "
                f"{self.striking:.1%} of the pixels lie above twice that")


def measure_consistency(given: Image, output: Image | StoredImage, weights: Weights,
                        step: Callable[[int, int], None] = lambda done, total: None) -> ConsistencyResult:
    """given: the coarse input.  output: what the network made of it.  step: hears (rows done, all rows).

    Raises ImageError where the weights do not say which objectives they stand between, or the input is smaller than the
    forward model's reach.
    """
    require_size(given)
    coarse, fine = _require_objectives(weights)
    model = ForwardModel(coarse, fine, given.pixel_size_um, output.pixel_size_um)
    percent = 100 * consistency_map(model, output.pixels, given.pixels, output.white, given.white, step)
    height, width = (min(side, NOISE_PX) for side in given.shape_px)
    middle = given.crop((given.height - height) // 2, (given.width - width) // 2, height, width)
    noise = max(100 * noise_level(noise_sd(middle.unit()), given.channels), MODEL_FLOOR)
    level = max(noise, ordinary_level(percent, given.channels))
    return ConsistencyResult(given.name, percent, noise, level, model, visible_spots(model, 2 * level / 100))


def require_size(given: Image) -> None:
    if min(given.shape_px) < LEAST_SIDE_PX:
        raise ImageError(f"'{given.name}' has {given.height} × {given.width} px, too small for a consistency map: its "
                         f"forward model reaches ±{MARGIN_PX} px; expected at least {LEAST_SIDE_PX} px a side",
                         hint="give a larger image, or leave --consistency-map out")


def _require_objectives(weights: Weights) -> tuple[Optics, Optics]:
    if weights.coarse is None or weights.fine is None:
        raise ImageError("the weights do not say which objectives they were trained for, so the output cannot be taken "
                         "back to the coarse one", hint="train with a source that knows its objectives")
    return weights.coarse, weights.fine


def check_map(path: Path, weights: Weights) -> None:
    """Raises ImageError for a name under which no map can be written, or weights that allow none: before the work."""
    check_map_suffix(path)
    _require_objectives(weights)


def check_map_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"cannot write the consistency map '{path.name}'; expected .html (picture and limits) or .tif "
                         "(values in % of white)", hint="give it one of these suffixes")


def write_map(result: ConsistencyResult, given: Image, path: Path) -> None:
    """.tif: float32 values on the input's grid.  .html: a page with map, numbers and limits."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        write_image(path, Image(result.percent, given.pixel_size_um, 100.0, path.name))
    else:
        write_page(consistency_page(result, given), path)


def consistency_page(result: ConsistencyResult, given: Image) -> Page:
    top = _round_up(max(5 * result.noise, float(np.percentile(result.percent, 99.9))))
    pixels, block = draw_maps([LabelledMap("|A(output) − input|", result.percent)], top, "%")
    height, width = given.shape_px
    step = max(1, -(-max(height, width) // 700))
    shown = to_uint8(given.with_pixels(np.ascontiguousarray(given.pixels[::step, ::step])).rgb())
    averaged = f" One dot is the mean of {block} × {block} px." if block > 1 else ""
    rows = [[f"{spot.side_um:.2f} µm", _contrast(spot.contrast)] for spot in result.spots]
    return Page(
        f"Consistency of {result.name} with the optics", result.sentence() + ".", subtitle="refutes, never confirms",
        sections=[
            Section("Where the output contradicts its input", [
                "The output is taken back through the coarse objective and pixel and compared with what the camera "
                "saw. Bright places hold structure that the input does not support, or lack some that it shows. A "
                "bright rim along the edges of the image is the network's border error: there it sees one side only."],
                pictures=[Picture("map", f"in % of white, blurred by 0.8 px.{averaged}", pixels),
                          Picture("input", f"{height} × {width} px", shown)], side_by_side=True),
            Section("What this map can and cannot show", [
                "It can refute a structure, never confirm one. " + limit_of(result.model),
                _reach(result),
                "The table gives the contrast of an invented dark square on white that lifts the map above "
                f"{2 * result.level:.2f} %, by its side: twice the largest of the camera's noise, what strong stain, "
                "imaged not quite linearly, leaves by itself (half a per cent), and what this map shows nearly "
                "everywhere."],
                table=Table(["side", "contrast"], rows))])


def _contrast(contrast: float | None) -> str:
    if contrast is None:
        return "not even black"
    return "< 1 %" if contrast < 0.01 else f"{100 * contrast:.0f} %"


def _round_up(value: float) -> float:
    """To a round number of which a quarter is round too: where the ticks stand."""
    decade = 10.0 ** math.floor(math.log10(value))
    return next(step * decade for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * decade >= value)


def _reach(result: ConsistencyResult) -> str:
    finest = finest_visible(result.model, 2 * result.level / 100, GRATING_CONTRAST)
    if finest is None:
        return f"In this map an invented grating of {GRATING_CONTRAST:.0%} contrast shows nowhere."
    return (f"In this map an invented grating of {GRATING_CONTRAST:.0%} contrast on white shows up to "
            f"{finest:.1f} cycles/µm; weaker or finer ones do not.")
