"""Reading TIFF, OME-TIFF, ImageJ TIFF and Aperio SVS: the first image at full resolution, through tifffile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from superres.errors import ImageError
from superres.image import Array, default_white_level
from superres.io.header import ALPHA, ImageHeader, accepted_dtype, turned
from superres.io.tiff_metadata import ICC_TAG, made_by, read_sampling

_DAMAGED = "the file is damaged or was not written to its end; copy it again from the microscope, or leave it out"
_JPEG_COMPRESSIONS = frozenset({6, 7, 33007, 34892, 34712})
_APERIO_YCBCR = 33003
_ALPHA = frozenset({1, 2})
_ORIENTATION_TAG = 274


def read_tiff_header(path: Path) -> ImageHeader:
    """The header; its strips and tiles are checked to lie inside the file.  Raises ImageError."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return _header(tiff, path.name)
    except ImageError:
        raise
    except Exception as error:  # tifffile raises whatever its parsing stumbles over
        raise _unreadable(path, error) from error


def read_tiff(path: Path) -> tuple[Array, ImageHeader]:
    """Pixels (H, W) or (H, W, 3) with 0 = black, uint8, uint16 or float32, and the header."""
    try:
        with tifffile.TiffFile(path) as tiff:
            header = _header(tiff, path.name)
            level = tiff.series[0].levels[0]
            axes, photometric = level.axes, level.keyframe.photometric
            pixels: Array = level.asarray()
    except ImageError:
        raise
    except Exception as error:  # so do the codecs
        raise _unreadable(path, error) from error
    channel_axis = next((index for index, axis in enumerate(axes) if axis in "SC"), None)
    if channel_axis is not None:
        pixels = np.moveaxis(pixels, channel_axis, -1)
        pixels = pixels[:, :, 0] if len(header.shape) == 2 else pixels[:, :, :3]
    pixels = np.ascontiguousarray(pixels, dtype=header.dtype)
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        white = header.dtype.type(header.white_level or default_white_level(header.dtype))
        pixels = white - np.minimum(pixels, white)
    return pixels, header


def _header(tiff: tifffile.TiffFile, name: str) -> ImageHeader:
    if not tiff.series:
        raise ImageError(f"'{name}' holds no image", hint=_DAMAGED)
    level = tiff.series[0].levels[0]
    page = level.keyframe
    if level.dtype is None or 0 in level.shape:
        raise ImageError(f"'{name}' holds an empty image of shape {level.shape}", hint=_DAMAGED)
    dtype = accepted_dtype(np.dtype(level.dtype), name)
    _check_photometric(page, dtype, name)
    shape = _image_shape(level.axes, level.shape, page, name)
    _check_complete(tiff, level, name)
    sampling = read_sampling(tiff, page, np.dtype(level.dtype), name)
    orientation = page.tags.valueof(_ORIENTATION_TAG, default=1)
    ignored = (*((ALPHA,) if page.extrasamples else ()), *turned(int(orientation)))
    return ImageHeader(shape, dtype, sampling.pixel_size_um, sampling.origin, sampling.white_level,
                       sampling.stage_position_um, page.tags.valueof(ICC_TAG), ignored, made_by(page))


def _check_photometric(page: tifffile.TiffPage, dtype: np.dtype[np.generic], name: str) -> None:
    kinds = tifffile.PHOTOMETRIC
    photometric = page.photometric
    if int(page.compression) == _APERIO_YCBCR:
        raise ImageError(f"'{name}' is compressed as Aperio JPEG 2000 in YCbCr, which would come out in false colours",
                         hint="export it as RGB TIFF with QuPath")
    if photometric in (kinds.MINISBLACK, kinds.RGB):
        return
    if photometric == kinds.MINISWHITE and np.issubdtype(dtype, np.integer):
        return
    if photometric == kinds.YCBCR and int(page.compression) in _JPEG_COMPRESSIONS:
        return  # the codec gives RGB
    label = getattr(photometric, "name", str(photometric))
    if photometric == kinds.PALETTE:
        raise ImageError(f"'{name}' is a palette image (at most 256 colours)",
                         hint="save the camera's own pixels; in ImageJ: Image > Type > RGB Color")
    raise ImageError(f"'{name}' stores its {dtype} samples as {label}; expected RGB or single-channel intensities",
                     hint="save it as RGB TIFF or PNG")


def _image_shape(axes: str, shape: tuple[int, ...], page: tifffile.TiffPage, name: str) -> tuple[int, ...]:
    """(H, W) or (H, W, 3).  Samples beyond RGB, and the second beside grey, must be alpha; three channels of an OME or
    ImageJ file are R, G, B, since that is how both keep 16-bit colour.
    """
    sizes = dict(zip(axes, shape, strict=True))
    height, width = sizes.pop("Y", 0), sizes.pop("X", 0)
    samples, channels = sizes.pop("S", 1), sizes.pop("C", 1)
    if sizes or not height or not width or (samples > 1 and channels > 1):
        raise ImageError(f"'{name}' is a stack of shape {shape} with axes {axes}; expected one plane",
                         hint="save every tile or field as a file of its own; of a z-stack, save the sharpest plane")
    count = samples * channels
    alpha = samples > 1 and set(page.extrasamples) <= _ALPHA and len(page.extrasamples) == 1
    if count == 1 or (samples == 2 and alpha):
        return height, width
    if count == 3 or (samples == 4 and alpha):
        return height, width, 3
    raise ImageError(f"'{name}' has {count} channels (shape {shape}, axes {axes}); expected 1, or 3 for RGB",
                     hint="convert it to RGB or to a single channel")


def _check_complete(tiff: tifffile.TiffFile, level: tifffile.TiffPageSeries, name: str) -> None:
    size = tiff.filehandle.size
    for page in level.pages:
        if page is None or page.parent is not tiff:
            continue  # a plane that OME metadata place in another file
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        beyond = sum(offset + count > size for offset, count in segments)
        missing = 0 if level.keyframe.is_tiled else sum(count == 0 for _, count in segments)
        if beyond or missing or not segments:
            raise ImageError(f"'{name}' is truncated: {beyond + missing} of its {len(segments)} strips or tiles lie "
                             f"past its end ({size} bytes) or were never written", hint=_DAMAGED)


def _unreadable(path: Path, error: Exception) -> ImageError:
    return ImageError(f"'{path.name}' cannot be read as TIFF: {type(error).__name__}: {error}", hint=_DAMAGED)
