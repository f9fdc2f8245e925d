"""One image file through the engine into another, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from superres.engine import Engine
from superres.events import Events, Progress
from superres.image import Array, Image
from superres.io.header import square_pixel_size_um
from superres.io.images import (
    TIFF_SUFFIXES,
    check_writable_suffix,
    read_header,
    read_image,
    write_image,
    write_image_bands,
)


def upscale_file(
    engine: Engine,
    source: Path,
    target: Path,
    *,
    passes: int = 1,
    pixel_size_um: float | None = None,
    events: Events | None = None,
) -> None:
    """Super-resolve an image file.

    source: any image that superres reads.  target: .tif (written band by band: memory stays bounded) or .png (held
    whole).  pixel_size_um: of the input, where its file does not say; without either, the one that the weights were
    trained on is assumed, and a note says so.  The output has the input's dtype, white level and colour profile, and
    its corrected pixel size.  The target appears whole or not at all.
    Raises ImageError, StorageError, EngineError or Cancelled.
    """
    events = events if events is not None else Events()
    check_writable_suffix(target)
    if pixel_size_um is None and square_pixel_size_um(read_header(source), source.name) is None:
        pixel_size_um = engine.weights.coarse_pixel_size_um
        events.note(
            "upscale",
            f"'{source.name}' states no pixel size; {pixel_size_um:g} µm is assumed, as in training "
            "(--pixel-size-um says another)",
        )
    image = read_image(source, pixel_size_um)
    if target.suffix.lower() not in TIFF_SUFFIXES:
        write_image(target, engine(image, passes=passes, events=events))
        return
    height, width = engine.output_shape(image.height, image.width, passes)
    write_image_bands(
        target,
        (height, width, *image.pixels.shape[2:]),
        image.pixels.dtype,
        _reported(engine, image, passes, height, events),
        image.pixel_size_um / float(engine.geometry.scale) ** passes,
        image.white_level,
        image.icc_profile,
    )


def _reported(engine: Engine, image: Image, passes: int, height: int, events: Events) -> Iterator[Array]:
    done = 0
    for band in engine.stream_rows(image, passes=passes, events=events):
        yield band
        done += len(band)
        events.progress(Progress("upscale", done, height, f"{done} of {height} rows"))
