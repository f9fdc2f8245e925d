"""Image files: TIFF, OME-TIFF, ImageJ TIFF, Aperio SVS, PNG, JPEG, BMP in; TIFF, OME-TIFF and PNG out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superres.errors import ImageError
from superres.image import FLOAT_LIMIT, Array, Image, default_white_level
from superres.io.atomic import write_bytes
from superres.io.header import (
    BMP_SIGNATURE,
    JPEG_SIGNATURE,
    PNG_SIGNATURE,
    TIFF_SIGNATURES,
    ImageHeader,
    required_pixel_size_um,
)

TIFF_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".svs", ".png", ".jpg", ".jpeg", ".jpe", ".bmp")

def read_image(path: Path | str, pixel_size_um: float | None = None, white_level: float | None = None,
               black_level: float = 0.0) -> Image:
    """Read the first image of a file at its full resolution.

    The content decides the format, not the suffix.  Alpha is dropped, MinIsWhite turned to black = 0, float64 made
    float32; 16 bits and the colour profile are kept.  pixel_size_um, white_level: given values win over the file's.
    The pixel size otherwise comes from OME metadata, Aperio's MPP, ImageJ's calibration or TIFF resolution tags, but
    never from a screen's dpi; the white level from OME SignificantBits, packed bits, or the dtype's maximum.
    black_level: what the camera stores without light; it is taken off pixels and white level, and integers below it
    become 0.
    Raises ImageError, with the file's name and a hint, for a file that is missing, empty, truncated, damaged or no
    image; a stack; a palette; samples of another type; pixels that are not square; an unknown pixel size; or a
    black level that the pixels cannot hold or that is not below white.
    """
    path = Path(path)
    if _is_tiff(path):
        from superres.io.tiff import read_tiff

        pixels, header = read_tiff(path)
    else:
        from superres.io.raster import read_raster

        pixels, header = read_raster(path)
    if pixel_size_um is None:
        pixel_size_um = required_pixel_size_um(header, path.name)
    if white_level is None:
        white_level = header.white_level
        if white_level is None and pixels.dtype == np.float32 and pixels.max() > FLOAT_LIMIT:
            raise ImageError(f"'{path.name}' holds float values up to {pixels.max():g}; expected 0 (black) … 1 (white)",
                             hint="set white_level to the value that means white, such as 255 or 65535")
    if black_level:
        pixels, white_level = _without_black(pixels, black_level, white_level, path.name)
    return Image(pixels, pixel_size_um, white_level, path.name, header.icc_profile, header.made_by)


def require_black(black_level: float, dtype: np.dtype[np.generic], white_level: float | None, name: str) -> float:
    """The value of white in pixels of that dtype.

    Raises ImageError for a black level that is not below it, is negative or not finite, or that integers cannot hold.
    """
    white = white_level if white_level is not None else default_white_level(dtype)
    whole = dtype.kind == "f" or float(black_level).is_integer()
    if not (whole and 0 <= black_level < white):
        raise ImageError(f"black level is {black_level:g} for '{name}', {dtype} with white at {white:g}; expected a "
                         "number from 0 to below white, a whole one for integers",
                         hint="set black_level to what the camera stores without light")
    return white


def _without_black(pixels: Array, black_level: float, white_level: float | None, name: str) -> tuple[Array, float]:
    white = require_black(black_level, pixels.dtype, white_level, name)
    black = pixels.dtype.type(black_level)
    above = pixels if pixels.dtype == np.float32 else np.maximum(pixels, black)
    return np.subtract(above, black), white - black_level


def read_header(path: Path | str) -> ImageHeader:
    """What the file says about itself, without decoding its pixels; a file that ends early is found out here too.

    Raises ImageError like `read_image`, except for the pixel size, which is reported as it is stated.
    """
    path = Path(path)
    if _is_tiff(path):
        from superres.io.tiff import read_tiff_header

        return read_tiff_header(path)
    from superres.io.raster import read_raster_header

    return read_raster_header(path)


@dataclass(frozen=True)
class ImageFile:
    """An image on disk that is read anew whenever it is asked for: memory holds nothing of it.

    pixel_size_um, white_level: override what the file says.  name: for messages and results; the file's name if empty.
    black_level: as `read_image` takes it.
    """

    path: Path
    pixel_size_um: float | None = None
    white_level: float | None = None
    name: str = ""
    black_level: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if not self.name:
            object.__setattr__(self, "name", self.path.name)

    def read(self) -> Image:
        """Raises ImageError like `read_image`, with the file's folder: many scans have a file of that name."""
        try:
            image = read_image(self.path, self.pixel_size_um, self.white_level, self.black_level)
        except ImageError as error:
            raise ImageError(f"{error.message} (in folder '{self.path.parent}')", hint=error.hint) from error
        return image.with_pixels(image.pixels, name=self.name)


def write_image(path: Path | str, image: Image) -> None:
    """Write an image under a temporary name and rename it into place.

    `.tif` (ImageJ's dialect where it can hold the image), `.ome.tif` and `.png` (8 and 16 bits): all keep dtype, pixel
    size, white level, colour profile and made_by.  Raises ImageError for another suffix, StorageError if it cannot be
    written.
    """
    path = Path(path)
    if path.suffix.lower() == ".png":
        from superres.io.raster import encode_png

        write_bytes(path, encode_png(image, path.name))
        return
    write_image_bands(path, image.pixels.shape, image.pixels.dtype, [image.pixels], image.pixel_size_um,
                      image.white_level, image.icc_profile, image.made_by)


def write_image_bands(path: Path | str, shape: tuple[int, ...], dtype: np.dtype[np.generic], bands: Iterable[Array],
                      pixel_size_um: float, white_level: float | None = None, icc_profile: bytes | None = None,
                      made_by: str = "") -> None:
    """Write a large image as it is made: bands of rows, top to bottom, each (h, W) or (h, W, 3) of any height.

    Memory is bounded by one band.  `.tif`, `.tiff` and their `.ome.` forms only; otherwise like `write_image`.
    Raises ImageError if the bands do not add up to shape.
    """
    path = Path(path)
    check_writable_suffix(path, bands_only=True)
    from superres.io.tiff_write import ImageFacts, write_tiff

    write_tiff(path, ImageFacts(tuple(shape), np.dtype(dtype), pixel_size_um, white_level, icc_profile, made_by), bands)


def check_writable_suffix(path: Path | str, bands_only: bool = False) -> None:
    """Raises ImageError if an image cannot be written under this name: check it before the work, not after."""
    suffix = Path(path).suffix.lower()
    if suffix not in TIFF_SUFFIXES and (bands_only or suffix != ".png"):
        allowed = ".tif or .ome.tif" + ("" if bands_only else " or .png")
        if not suffix:
            raise ImageError(f"cannot write '{Path(path).name}': its name has no suffix; expected {allowed}",
                             hint="give the output the suffix .tif")
        raise ImageError(f"cannot write '{Path(path).name}': images are written as {allowed}, not '{suffix}'",
                         hint="JPEG and others would lose what was gained; give the output the suffix .tif")


def _is_tiff(path: Path) -> bool:
    """True for TIFF, False for PNG, JPEG and BMP.  Raises ImageError for anything else."""
    if path.is_dir():
        raise ImageError(f"'{path}' is a folder; expected an image file", hint="name a file in it")
    try:
        with open(path, "rb") as stream:
            start = stream.read(16)
    except FileNotFoundError:
        raise ImageError(f"no such file: '{path}'", hint="check the path and its spelling") from None
    except OSError as error:
        raise ImageError(f"'{path}' cannot be opened: {error.strerror or error}",
                         hint="check its permissions and the drive") from error
    if not start:
        raise ImageError(f"'{path.name}' is empty (0 bytes)", hint="copy it again from the microscope, or leave it out")
    if start.startswith(TIFF_SIGNATURES):
        return True
    if start.startswith((PNG_SIGNATURE, JPEG_SIGNATURE, BMP_SIGNATURE)):
        return False
    raise ImageError(f"'{path.name}' is not an image that superres reads: it starts with {start[:8]!r}",
                     hint="expected TIFF, OME-TIFF, SVS, PNG, JPEG or BMP; QuPath and Bio-Formats convert others")
