"""One image file through the engine into another, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superres.engine import Engine
from superres.errors import ImageError
from superres.events import Events, Progress
from superres.guard import judge, require_fit
from superres.image import NETWORK, Array, Image, require_white
from superres.io.atomic import require_own_places
from superres.io.header import square_pixel_size_um
from superres.io.images import (
    TIFF_SUFFIXES,
    check_writable_suffix,
    read_header,
    read_image,
    require_black,
    write_image,
    write_image_bands,
)
from superres.io.rows import stored_image
from superres.measuring.consistency import check_map, check_map_suffix, measure_consistency, require_size, write_map
from superres.measuring.drift import drift_page, measure_passes
from superres.optics.consistency import limit_of
from superres.report.pages import Page, write_page

DARK_LIMIT = 16384
"""A 16-bit image of a stained section has clear glass in it, far above a quarter of white; 8 to 14 bits do not get
there."""


DRIFT_PX = 200
"""Side of what the drift report measures: three passes of 2.5× make 3125 px of it."""


@dataclass(frozen=True)
class Sampling:
    """What the user says about an input where its file does not: pixel_size_um, white_level (the value of
    white), and black_level (what the camera stores without light, which is taken off)."""

    pixel_size_um: float | None = None
    white_level: float | None = None
    black_level: float = 0.0


@dataclass(frozen=True)
class Checks:
    """What is asked about an input and its output.

    strict: refuse an input that does not fit the weights, instead of a note.  consistency_map, drift_report: where to
    write them (.html, the map as .tif too), None for not at all.  The drift report is of the middle of the image.
    """

    strict: bool = False
    consistency_map: Path | None = None
    drift_report: Path | None = None


def upscale_file(
    engine: Engine,
    source: Path,
    target: Path,
    sampling: Sampling = Sampling(),
    *,
    passes: int = 1,
    checks: Checks = Checks(),
    events: Events | None = None,
) -> None:
    """Super-resolve an image file.

    source: any image that superres reads.  target: .tif (written band by band: memory stays bounded) or .png (held
    whole).  Without any pixel size the one that the weights were trained on is assumed, and a note says so.  The output
    has the input's dtype, white level (less the black level, where one is given) and colour profile, and its corrected
    pixel size, and says that a network made it; it appears whole or not at all.
    What about the input does not fit the weights is a note each, or with checks.strict an error; an output folder that
    is made is a note too.
    Raises ImageError, StorageError, EngineError or Cancelled.
    """
    events = events if events is not None else Events()
    check_files(source, target, checks, sampling)
    if checks.consistency_map is not None:
        check_map(checks.consistency_map, engine.weights)
    image, known = _read(engine, source, sampling, events)
    if checks.consistency_map is not None:
        require_size(image)
    findings = judge(image, engine.weights, known)
    if checks.strict:
        require_fit(findings, source.name)
    for finding in findings:
        events.note("upscale", f"'{source.name}' may not fit these weights: {finding.text}")
    outputs = [path for path in (target, checks.consistency_map, checks.drift_report) if path is not None]
    for folder in dict.fromkeys(path.parent for path in outputs):
        if not folder.exists():
            events.note("upscale", f"folder '{folder}' is new")
    _write(engine, image, target, passes, events)
    if checks.consistency_map is not None:
        with stored_image(target) as output:
            result = measure_consistency(image, output, engine.weights, _checked(events))
        write_map(result, image, checks.consistency_map)
        events.note("upscale", f"{result.sentence()}. {limit_of(result.model)}")
        events.note("upscale", f"written: {checks.consistency_map}")
    if checks.drift_report is not None:
        write_page(drift_of(engine, image, passes), checks.drift_report)
        events.note("upscale", f"written: {checks.drift_report}")


def check_files(source: Path, target: Path, checks: Checks = Checks(), sampling: Sampling = Sampling()) -> None:
    """What can be wrong about the names of input and outputs, about the input's header and about what is given for it,
    before anything is loaded.

    Raises ImageError or StorageError.
    """
    check_writable_suffix(target)
    header = read_header(source)
    pixel_size_um = sampling.pixel_size_um
    if pixel_size_um is None:
        pixel_size_um = square_pixel_size_um(header, source.name) or 1.0
    # A single pixel is refused for the same pixel size and white level as the whole image.
    Image(np.zeros((1, 1), header.dtype), pixel_size_um, sampling.white_level, source.name)
    require_black(sampling.black_level, header.dtype, sampling.white_level or header.white_level, source.name)
    for path in (target, checks.consistency_map, checks.drift_report):
        if path is not None and path.is_dir():
            raise ImageError(f"'{path}' is a folder; expected the name of a file to write", hint="add a file name")
    if target.exists() and target.samefile(source):
        raise ImageError(f"'{target}' is the input itself",
                         hint="give the output another name; inputs are never changed")
    require_own_places([target, checks.consistency_map, checks.drift_report], [source])
    if checks.consistency_map is not None:
        check_map_suffix(checks.consistency_map)
    if checks.drift_report is not None and checks.drift_report.suffix.lower() not in (".html", ".htm"):
        raise ImageError(f"cannot write the drift report '{checks.drift_report.name}'; expected a page, .html",
                         hint="give it the suffix .html")


def drift_of(engine: Engine, image: Image, passes: int) -> Page:
    """The drift report of the middle of an image: every pass is fed with the unrounded output of the one before."""
    step = engine.geometry.origin_multiple
    height, width = (min(DRIFT_PX, side) // step * step or side for side in image.shape_px)
    top, left = ((side - part) // 2 // step * step for side, part in
                 zip(image.shape_px, (height, width), strict=True))
    given = image.crop(top, left, height, width)
    fed, images = given.with_pixels(given.unit(), white_level=1.0), [given]
    for _ in range(passes):
        fed = engine(fed)
        images.append(fed)
    weights = engine.weights
    measured = measure_passes(images, engine.geometry.scale, weights.coarse)
    return drift_page(image.name, measured, weights.coarse, weights.fine)


def _write(engine: Engine, image: Image, target: Path, passes: int, events: Events) -> None:
    height, width = engine.output_shape(image.height, image.width, passes)
    bands = _reported(engine, image, passes, height, events)
    pixel_size_um = image.pixel_size_um / float(engine.geometry.scale) ** passes
    if target.suffix.lower() not in TIFF_SUFFIXES:
        write_image(target, image.with_pixels(np.concatenate(list(bands)), pixel_size_um=pixel_size_um,
                                              made_by=NETWORK))
        return
    write_image_bands(
        target,
        (height, width, *image.pixels.shape[2:]),
        image.pixels.dtype,
        bands,
        pixel_size_um,
        image.white_level,
        image.icc_profile,
        NETWORK,
    )


def _read(engine: Engine, source: Path, sampling: Sampling, events: Events) -> tuple[Image, bool]:
    """The input, after everything that can be wrong about it has been checked, and whether its pixel size is known."""
    header = read_header(source)
    for ignored in header.ignored:
        events.note("upscale", f"'{source.name}' has {ignored}")
    pixel_size_um, known = sampling.pixel_size_um, True
    if pixel_size_um is None and square_pixel_size_um(header, source.name) is None:
        pixel_size_um, known = engine.weights.coarse_pixel_size_um, False
        events.note(
            "upscale",
            f"'{source.name}' states no pixel size; {pixel_size_um:g} µm is assumed, as in training "
            "(--pixel-size-um says another)",
        )
    image = read_image(source, pixel_size_um, sampling.white_level, sampling.black_level)
    unstated = sampling.white_level is None and header.white_level is None
    if unstated and image.pixels.dtype == np.uint16 and (largest := int(image.pixels.max())) < DARK_LIMIT:
        raise ImageError(
            f"the largest value of '{source.name}' is {largest} of 65535: a camera of fewer bits, or a dark image",
            hint="say what means white, for example --white-level 4095 for 12 bits (or --white-level 65535)",
        )
    require_white(image)
    return image, known


def _checked(events: Events) -> Callable[[int, int], None]:
    def step(done: int, total: int) -> None:
        events.raise_if_cancelled()
        events.progress(Progress("consistency", done, total, f"{done} of {total} rows"))

    return step


def _reported(engine: Engine, image: Image, passes: int, height: int, events: Events) -> Iterator[Array]:
    done = 0
    events.progress(Progress("upscale", 0, height, f"{height} rows"))  # the clock starts before the first band
    for band in engine.stream_rows(image, passes=passes, events=events):
        yield band
        done += len(band)
        events.progress(Progress("upscale", done, height, f"{done} of {height} rows"))
