"""Rows of a large TIFF file as they are asked for, in the memory of what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from superres.image import Array, Sliced, default_white_level
from superres.io.header import required_pixel_size_um
from superres.io.images import TIFF_SUFFIXES, read_image
from superres.io.tiff import read_tiff_header


@dataclass(frozen=True, eq=False)
class StoredImage:
    """pixels: read when they are cut.  pixel_size_um, white: as of an Image."""

    pixels: Sliced
    pixel_size_um: float
    white: float


@contextmanager
def stored_image(path: Path) -> Iterator[StoredImage]:
    """An image that superres wrote: of a TIFF file only the strips that are asked for are held, a PNG is read whole.

    Raises ImageError like read_image.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        image = read_image(path)
        yield StoredImage(image.pixels, image.pixel_size_um, image.white)
        return
    header = read_tiff_header(path)
    with tifffile.TiffFile(path) as tiff:
        yield StoredImage(_Strips(tiff), required_pixel_size_um(header, path.name),
                          header.white_level or default_white_level(header.dtype))


class _Strips:
    """The first page of a file, a strip being its full width."""

    def __init__(self, tiff: tifffile.TiffFile) -> None:
        self._page, self._file = tiff.pages.first, tiff.filehandle
        self._rows = slice(0, 0)
        self._held: Array = np.empty((0, 0))

    def __getitem__(self, place: tuple[slice, slice]) -> Array:
        rows, columns = place
        top, bottom, _ = rows.indices(self._page.shape[0])
        if not self._rows.start <= top <= bottom <= self._rows.stop:  # pieces of one band ask for the same rows
            self._held = np.empty((0, 0))  # before the next is read: never two at once
            self._rows, self._held = self._read(top, bottom)
        return self._held[top - self._rows.start:bottom - self._rows.start, columns]

    def _read(self, top: int, bottom: int) -> tuple[slice, Array]:
        high = self._page.rowsperstrip
        numbers = range(top // high, -(-bottom // high))
        held = np.empty((min(numbers.stop * high, self._page.shape[0]) - numbers.start * high, *self._page.shape[1:]),
                        self._page.dtype)
        done = 0
        for number in numbers:
            self._file.seek(self._page.dataoffsets[number])
            decoded, _, _ = self._page.decode(self._file.read(self._page.databytecounts[number]), number)
            strip = np.asarray(decoded).reshape(-1, *self._page.shape[1:])
            held[done:done + len(strip)] = strip
            done += len(strip)
        return slice(numbers.start * high, numbers.start * high + done), held
