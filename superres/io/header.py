"""What an image file says about itself, read without decoding its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superres.errors import ImageError

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
BMP_SIGNATURE = b"BM"

PRINT_PIXEL_UM = 20.0
"""A bare resolution tag with larger pixels is a screen's or printer's (72 … 1200 dpi are 353 … 21 µm), not an
objective's: a camera pixel of 7.4 µm behind the weakest objective in use (1×) is finer."""

ALPHA = "an alpha channel, which is dropped"


def turned(orientation: int) -> tuple[str, ...]:
    """What an Exif or TIFF orientation other than 1 (upright) means here."""
    return (f"orientation {orientation} (a viewer turns it), but pixels are taken as they are stored",) \
        if 1 < orientation <= 8 else ()


RATIO_TOLERANCE = 1e-3
"""Largest y/x difference of the pixel size that is taken for rounding in the file: 1 px in a field of 1,000."""


@dataclass(frozen=True)
class ImageHeader:
    """The facts in a file's header, as `read_image` will use them.

    shape: (H, W) or (H, W, 3), dtype: as the Image will have them (alpha dropped, float64 as float32).
    pixel_size_um: (y, x) as stated, None where nothing is stated that can be believed.  pixel_size_origin: where that
    was found, or why it is not believed.  white_level: stated by the file, None for the dtype's maximum.
    stage_position_um: (y, x) of the stage, or None.  ignored: what else the file holds and the Image will not.
    made_by: what our own files say about who computed their pixels.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    pixel_size_um: tuple[float, float] | None = None
    pixel_size_origin: str = ""
    white_level: float | None = None
    stage_position_um: tuple[float, float] | None = None
    icc_profile: bytes | None = None
    ignored: tuple[str, ...] = ()
    made_by: str = ""


def square_pixel_size_um(header: ImageHeader, name: str) -> float | None:
    """The pitch of square pixels in µm, None where the file states none.

    Raises ImageError where the stated size is not positive or differs between y and x.
    """
    if header.pixel_size_um is None:
        return None
    y_um, x_um = header.pixel_size_um
    if not (np.isfinite(y_um) and np.isfinite(x_um) and y_um > 0 and x_um > 0):
        raise ImageError(f"pixel size of '{name}' is ({y_um:g}, {x_um:g}) µm in its {header.pixel_size_origin}; "
                         "expected a positive number", hint=give_pixel_size(header.pixel_size_origin))
    if abs(y_um - x_um) > RATIO_TOLERANCE * max(y_um, x_um):
        raise ImageError(
            f"pixels of '{name}' are not square: ({y_um:g}, {x_um:g}) µm in its {header.pixel_size_origin}",
            hint=f"resample it to square pixels; if they are square, {give_pixel_size(header.pixel_size_origin)}")
    return x_um


def required_pixel_size_um(header: ImageHeader, name: str) -> float:
    """The same, where the file must state one.  Raises ImageError."""
    pixel_size_um = square_pixel_size_um(header, name)
    if pixel_size_um is None:
        reason = f": {header.pixel_size_origin}" if header.pixel_size_origin else ""
        raise ImageError(f"no pixel size is known for '{name}'{reason}", hint=give_pixel_size("metadata"))
    return pixel_size_um


def give_pixel_size(origin: str) -> str:
    return ("set source.options.coarse_pixel_size_um or fine_pixel_size_um (in Python: pixel_size_um), "
            f"or fix the {origin}")


def accepted_dtype(dtype: np.dtype[np.generic], name: str) -> np.dtype[np.generic]:
    """The dtype of the Image made from stored samples of dtype: uint8 and uint16 stay, floats become float32.

    Raises ImageError for any other dtype.
    """
    if dtype in (np.uint8, np.uint16):
        return np.dtype(dtype.newbyteorder("="))
    if dtype in (np.float16, np.float32, np.float64):
        return np.dtype(np.float32)
    seen = "1 bit per pixel (bool)" if dtype == np.bool_ else str(dtype)
    raise ImageError(f"'{name}' has samples of type {seen}; expected 8- or 16-bit unsigned integers, or floats",
                     hint="save the camera's own pixels as 8 or 16 bits")
