"""Infer: super-resolve the test fields and write them as the camera would have stored them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from superres.api.evaluator import Case
from superres.api.source import Pair
from superres.events import Events, Progress
from superres.image import NETWORK, FloatArray, Image, default_white_level, from_unit
from superres.io.images import read_image, write_image
from superres.optics import Optics
from superres.resample import bicubic
from superres.stages.store import StageFolder

OUTPUTS = "outputs"

SuperResolve = Callable[[FloatArray], FloatArray]
"""(H, W, 3) float32 in units of white → (ceil(L·H), ceil(L·W), 3) float32, not clamped; what an Engine does."""


@dataclass(frozen=True, eq=False)
class TestField:
    """A pair that training never saw, and how its camera stores pixels."""

    __test__ = False  # not a test class for pytest

    pair: Pair
    dtype: np.dtype[np.generic]
    white_level: float | None

    @property
    def white(self) -> float:
        return self.white_level if self.white_level is not None else default_white_level(self.dtype)


def infer(
    fields: Sequence[TestField],
    super_resolve: SuperResolve,
    scale: Fraction,
    passes: int,
    folder: StageFolder,
    events: Events,
) -> Path:
    """Write `NAME.tif` for every field, and `NAME_passN.tif` for every further pass of self-feeding (Fig. S6).

    Each pass is fed with the unrounded output of the one before.  Returns the folder of the images.
    """
    outputs = folder.path / OUTPUTS
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir(parents=True)  # empty where no specimen is held out for testing
    for number, field in enumerate(fields):
        events.progress(Progress("infer", number, len(fields), field.pair.name))
        unit = field.pair.coarse.rgb()
        for step in range(1, passes + 1):
            events.raise_if_cancelled()
            unit = super_resolve(unit)
            write_image(output_path(outputs, field.pair.name, step), _as_camera(unit, field, step, scale))
    events.progress(Progress("infer", len(fields), len(fields), f"{len(fields)} images"))
    return outputs


def cases(fields: Sequence[TestField], outputs: Path, scale: Fraction, coarse: Optics | None) -> Iterator[Case]:
    """Every test field beside bicubic up-sampling of the same pixels; both as a file of the camera's bits holds
    them."""
    for field in fields:
        pair = field.pair
        raised = bicubic(pair.coarse.rgb(), scale)
        prediction = read_image(output_path(outputs, pair.name, 1)).rgb()
        beside, truth = _rounded(raised, field), np.clip(pair.fine.rgb(), 0.0, 1.0)
        pixels = pair.coarse.pixels.view()
        for array in (prediction, beside, truth, pixels):
            array.setflags(write=False)  # an evaluator that wrote into its case would change the scores of the next
        given = pair.coarse.with_pixels(pixels)
        yield Case(pair.name, pair.specimen, given, prediction, beside, truth, pair.fine.pixel_size_um, coarse)


def output_path(outputs: Path, name: str, step: int) -> Path:
    return outputs / (f"{name}.tif" if step == 1 else f"{name}_pass{step}.tif")


def _as_camera(unit: FloatArray, field: TestField, step: int, scale: Fraction) -> Image:
    coarse = field.pair.coarse
    shown = unit.mean(axis=2) if coarse.channels == 1 else unit
    return Image(
        from_unit(shown, field.dtype, field.white),
        coarse.pixel_size_um / float(scale) ** step,
        field.white_level,
        f"{field.pair.name}_pass{step}",
        coarse.icc_profile,
        NETWORK,
    )


def _rounded(unit: FloatArray, field: TestField) -> FloatArray:
    if not np.issubdtype(field.dtype, np.integer):
        return np.clip(unit, 0.0, 1.0)
    return np.asarray(from_unit(unit, field.dtype, field.white), dtype=np.float32) / np.float32(field.white)
