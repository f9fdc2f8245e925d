"""Image: pixels with their sampling.  The value that every stage hands to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from superres.errors import ImageError

Array = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.float32]

FLOAT_LIMIT = 10.0
"""Unit intensities stay near 1, a flat-fielded glint included; 8- or 16-bit values kept as floats do not."""

BRIGHT, MOST_BRIGHT = 1.1, 0.5
"""A pixel is too bright above this × white (clear glass in flat-fielded images lies near 1, on either side), and a
white level is refused where more than this share of an image is: stains darken, and glints are few."""

NETWORK = "a network of superres"
"""What `Image.made_by` says of outputs: a measurement of cameras must be able to refuse them."""

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601: what "greyscale" means in Matlab's rgb2gray (the paper's tool), OpenCV and JPEG."""


@dataclass(frozen=True, eq=False)
class Image:
    """A bright-field image as it is stored, with its sampling.

    pixels: (H, W, 3) RGB or (H, W) single channel; uint8, uint16 or float32; linear in the stored intensity.
    pixel_size_um: pitch of square pixels in the object plane, in µm; > 0.  The centre of pixel i lies at
        (i + ½)·pixel_size_um from the outer top-left corner, which is the origin of the image's frame.
    white_level: the stored value that means 1.0 (255 for uint8; 4095 for 12 bits in a uint16; 1.0 for float).
        None stands for the maximum of the dtype.
    name: where it came from, for messages.  icc_profile: the file's colour profile, carried along untouched.
    made_by: what computed the pixels; empty for a camera, and where nobody says so.
    Raises ImageError for another shape or dtype, an empty image, NaN or infinity, a pixel size that is not positive, or
    a white level that the dtype cannot hold.
    """

    pixels: Array
    pixel_size_um: float
    white_level: float | None = None
    name: str = ""
    icc_profile: bytes | None = field(default=None, repr=False)
    made_by: str = ""

    def __post_init__(self) -> None:
        label = f"image '{self.name}'" if self.name else "image"
        pixels = self.pixels
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
            raise ImageError(
                f"{label} has shape {pixels.shape}; expected (H, W) or (H, W, 3)",
                hint="convert it to RGB or to a single channel",
            )
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise ImageError(f"{label} has dtype {pixels.dtype}; expected uint8, uint16 or float32")
        if pixels.shape[0] == 0 or pixels.shape[1] == 0:
            raise ImageError(f"{label} is empty: shape {pixels.shape}")
        if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
            raise ImageError(f"{label} contains NaN or infinite values", hint="repair or leave out the file")
        if not (np.isfinite(self.pixel_size_um) and self.pixel_size_um > 0):
            raise ImageError(
                f"{label} has pixel size {self.pixel_size_um} µm; expected a positive number",
                hint="set pixel_size_um, or fix the file's metadata",
            )
        if self.white_level is not None and not holds_white(pixels.dtype, self.white_level):
            raise ImageError(
                f"{label} has white level {self.white_level:g}; expected a positive number that {pixels.dtype} holds",
                hint="set white_level to the stored value that means white",
            )

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def shape_px(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def size_um(self) -> tuple[float, float]:
        """(height, width) in µm."""
        return self.height * self.pixel_size_um, self.width * self.pixel_size_um

    @property
    def channels(self) -> int:
        return 1 if self.pixels.ndim == 2 else 3

    @property
    def white(self) -> float:
        """The stored value that means 1.0."""
        return float(self.white_level) if self.white_level is not None else default_white_level(self.pixels.dtype)

    def read(self) -> Image:
        """Itself: an Image in memory is Readable like an image in a file."""
        return self

    def unit(self) -> FloatArray:
        """(H, W, 3) or (H, W) float32 in units of the white level (1.0 = white; a new array)."""
        return np.asarray(self.pixels, dtype=np.float32) / np.float32(self.white)

    def rgb(self) -> FloatArray:
        """(H, W, 3) float32 in units of the white level; a single channel is repeated three times."""
        unit = self.unit()
        return np.repeat(unit[:, :, None], 3, axis=2) if unit.ndim == 2 else unit

    def grey(self) -> FloatArray:
        """(H, W) float32 luma (BT.601) in units of the white level, for matching only."""
        unit = self.unit()
        return unit if unit.ndim == 2 else luma(unit)

    def crop(self, top: int, left: int, height: int, width: int) -> Image:
        """The pixels [top, top+height) × [left, left+width), a view.  Raises ImageError if they leave the image."""
        if top < 0 or left < 0 or top + height > self.height or left + width > self.width:
            raise ImageError(f"crop ({top}, {left}, {height}, {width}) leaves image '{self.name}' of {self.shape_px}")
        return replace(self, pixels=self.pixels[top : top + height, left : left + width])

    def with_pixels(self, pixels: Array, **changes: object) -> Image:
        """The same image with other pixels (and other fields where named)."""
        return replace(self, pixels=pixels, **changes)  # type: ignore[arg-type]


@runtime_checkable
class Readable(Protocol):
    """Something that gives an Image when asked: an Image in memory, or a file that is read only when needed."""

    @property
    def name(self) -> str: ...

    def read(self) -> Image: ...


class Sliced(Protocol):
    """What can be cut like an array: [top:bottom, left:right] gives (h, w) or (h, w, 3)."""

    def __getitem__(self, place: tuple[slice, slice], /) -> Array: ...


def luma(rgb: FloatArray) -> FloatArray:
    """(H, W) float32 luma (BT.601) of (H, W, 3) intensities, in their unit."""
    return np.asarray(rgb @ np.asarray(LUMA_WEIGHTS, dtype=np.float32), dtype=np.float32)


def default_white_level(dtype: np.dtype[np.generic]) -> float:
    """255 for uint8, 65535 for uint16, 1.0 for floats."""
    return float(np.iinfo(str(dtype)).max) if np.issubdtype(dtype, np.integer) else 1.0


def holds_white(dtype: np.dtype[np.generic], white_level: float) -> bool:
    """Whether a value can mean white in pixels of a dtype: 4095 in uint16, but not in uint8."""
    greatest = default_white_level(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(np.float32).max
    return bool(0 < white_level <= greatest)


def require_white(image: Image) -> None:
    """Raises ImageError where most of an image is brighter than its white level, so that a network would see white."""
    limit, bright, rows = BRIGHT * image.white, 0, 256
    for top in range(0, image.height, rows):  # large images: no second one in memory
        above = np.greater(image.pixels[top:top + rows], limit)
        bright += int(np.count_nonzero(above if above.ndim == 2 else above.any(axis=2)))
    share = bright / (image.height * image.width)
    if share > MOST_BRIGHT:
        raise ImageError(f"{share:.0%} of the pixels of '{image.name}' are brighter than its white level "
                         f"{image.white:g}; the greatest value is {image.pixels.max():g}",
                         hint="set white_level to the stored value that means white: the present one is too small")


def from_unit(unit: FloatArray, dtype: np.dtype[np.generic], white: float) -> Array:
    """Unit intensities back into stored values: clamped to [0, 1], rounded half to even for integers.

    unit: float array in units of white.  Returns an array of dtype; floats are scaled by white and not clamped.
    """
    if np.issubdtype(dtype, np.integer):
        return np.asarray(np.rint(np.clip(unit, 0.0, 1.0) * white), dtype=dtype)
    return np.asarray(unit * white, dtype=dtype)
