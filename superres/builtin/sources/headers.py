"""Whether the files of a scan belong together, from their headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from superres.builtin.sources.files import relative
from superres.errors import ImageError, SourceError
from superres.image import holds_white
from superres.io.header import RATIO_TOLERANCE, ImageHeader, required_pixel_size_um
from superres.io.images import read_header, read_image, require_black

CAMERA_BITS = (8, 10, 12, 14)
"""Depths of cameras whose pixels are stored in 16 bits."""
SAMPLED = 5
"""Files of each kind that are opened to see how bright they are, evenly over the scan."""


def read_headers(paths: Iterable[Path], folder: Path) -> dict[Path, ImageHeader]:
    """The headers of all files.  Raises ImageError, with the path below folder, for the first that cannot be read."""
    headers = {}
    for path in paths:
        try:
            headers[path] = read_header(path)
        except ImageError as error:
            raise ImageError(f"{relative(path, folder)}: {error.message}", hint=error.hint) from error
    return headers


def readable_headers(paths: Sequence[Path], folder: Path) -> dict[Path, ImageHeader]:
    """The headers of those files that have one.  Raises ImageError, of the first, where none has."""
    headers: dict[Path, ImageHeader] = {}
    for path in paths:
        with suppress(ImageError):
            headers |= read_headers((path,), folder)
    return headers or read_headers(paths, folder)


def common_pixel_size_um(headers: Mapping[Path, ImageHeader], given: float | None, what: str, folder: Path,
                         ) -> tuple[float, str]:
    """The pixel size that all files state, or the given one, and where it comes from.

    Raises ImageError where a file states none, SourceError where they differ.
    """
    if given is not None:
        return given, f"source.options.{what}_pixel_size_um"
    sizes = {path: required_pixel_size_um(header, relative(path, folder)) for path, header in headers.items()}
    first_path, first = next(iter(sizes.items()))
    for path, size in sizes.items():
        if abs(size - first) > RATIO_TOLERANCE * first:
            raise SourceError(f"pixel size of {relative(path, folder)} is {size:g} µm, but "
                              f"{relative(first_path, folder)} has {first:g} µm",
                              hint=f"take all {what} images with one objective and camera, or set "
                                   f"source.options.{what}_pixel_size_um")
    return first, headers[first_path].pixel_size_origin


def check_finer(coarse_um: float, fine_um: float) -> None:
    """Raises SourceError if the fine pixels are larger than the coarse ones."""
    if fine_um > coarse_um:
        raise SourceError(f"the fine pixel size is {fine_um:g} µm, the coarse one {coarse_um:g} µm; expected fine <= "
                          "coarse", hint="coarse and fine look exchanged: exchange the two "
                          "folders, or source.options.coarse and fine; or a pixel size is wrong")


def check_not_exchanged(coarse: Mapping[Path, ImageHeader], fine: Mapping[Path, ImageHeader]) -> None:
    """Raises SourceError where the files themselves say that the coarse pixels are the smaller ones, whatever pixel
    sizes the options give."""
    stated = [[header.pixel_size_um for header in headers.values()] for headers in (coarse, fine)]
    if not all(stated) or None in stated[0] or None in stated[1]:
        return
    largest = max(max(size) for size in stated[0] if size is not None)
    smallest = min(min(size) for size in stated[1] if size is not None)
    if largest < smallest:
        raise SourceError(f"the files say that the coarse tiles have {largest:g} µm a pixel and the fine fields "
                          f"{smallest:g}, the other way round than the options: coarse and fine look exchanged",
                          hint="exchange the two folders, or source.options.coarse and fine")


def check_alike(slide: str, tiles: Mapping[Path, ImageHeader], fields: Mapping[Path, ImageHeader],
                folder: Path) -> None:
    """Tiles of a slide share shape and dtype, fields share dtype, and both the number of channels.

    A slide of which no tile can be read is not judged.  Raises SourceError that names the first tile that differs from
    most, or the first field that differs from the first one.
    """
    if not tiles:
        return
    (usual, many), *_ = Counter((header.shape, header.dtype) for header in tiles.values()).most_common(1)
    first_tile, tile = next((path, header) for path, header in tiles.items() if (header.shape, header.dtype) == usual)
    for path, header in tiles.items():
        if (header.shape, header.dtype) != usual:
            raise SourceError(f"coarse tile {relative(path, folder)} of slide '{slide}' is {header.shape} "
                              f"{header.dtype}, but {relative(first_tile, folder)} is {tile.shape} {tile.dtype}, "
                              f"as are {many} of {len(tiles)}",
                              hint="all tiles of a slide come from one camera with one setting; move the odd one out")
    for path, header in fields.items():
        first_field, field = next(iter(fields.items()))
        if header.dtype != field.dtype:
            raise SourceError(f"fine field {relative(path, folder)} of slide '{slide}' is {header.dtype}, but "
                              f"{relative(first_field, folder)} is {field.dtype}",
                              hint="save all fields with the same bits")
        if len(header.shape) != len(tile.shape):
            colour = {2: "a single channel", 3: "RGB"}
            raise SourceError(f"fine field {relative(path, folder)} is {colour[len(header.shape)]}, but coarse tile "
                              f"{relative(first_tile, folder)} is {colour[len(tile.shape)]}",
                              hint="take both with the same camera mode, or convert one")


def check_levels(given: float | None, black_level: float, tiles: Mapping[Path, ImageHeader],
                 fields: Mapping[Path, ImageHeader], folder: Path) -> None:
    """A white level that is given must be one that all files can hold; without, 16-bit files that state none must look
    as if 65535 were white.  The black level must be a value that all files can hold, below their white.

    Opens up to SAMPLED tiles and fields that state none; if all of them stay below 2^8, 2^10, 2^12 or 2^14, a quarter
    of white at most, their camera has fewer bits than the files.  Raises SourceError with the largest value seen, or
    the first file that cannot hold what is given.
    """
    for path, header in (*tiles.items(), *fields.items()):
        try:
            require_black(black_level, header.dtype, given or header.white_level, relative(path, folder))
        except ImageError as error:
            raise SourceError(error.message, hint="set source.options.black_level to what the camera stores without "
                              "light") from error
    if given is not None:
        for path, header in (*tiles.items(), *fields.items()):
            if not holds_white(header.dtype, given):
                raise SourceError(
                    f"white_level is {given:g}, which the {header.dtype} of {relative(path, folder)} cannot hold",
                    hint="set source.options.white_level to the stored value that means white in all files")
        return
    seen: dict[Path, int] = {}
    for headers in (tiles, fields):
        silent = [path for path, header in headers.items() if header.dtype == np.uint16 and header.white_level is None]
        for path in _spread(silent):
            with suppress(ImageError):  # a damaged one is said when its turn comes
                seen[path] = int(read_image(path, pixel_size_um=1.0).pixels.max())
            if seen.get(path, 0) >= 2 ** CAMERA_BITS[-1]:
                return
    largest = max(seen.values(), default=0)
    if largest == 0:
        return
    bits = next(bits for bits in CAMERA_BITS if largest < 2**bits)
    raise SourceError(
        f"the largest value in {len(seen)} of the 16-bit images is {largest} "
        f"({relative(max(seen, key=lambda path: seen[path]), folder)}), and they state no white level: 65535 would "
        f"make them black; they look like {bits} bits",
        hint=f"set source.options.white_level = {2**bits - 1} (or 65535, if they are meant to be that dark)")


def _spread(paths: Sequence[Path]) -> list[Path]:
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(SAMPLED, len(paths))).round().astype(int))
    return [paths[int(index)] for index in chosen]
