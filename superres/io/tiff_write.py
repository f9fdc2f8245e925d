"""Writing TIFF files that ImageJ, QuPath and Bio-Formats read with their pixel size, band by band."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from superres._version import __version__
from superres.errors import ImageError
from superres.image import Array
from superres.io.atomic import replacing
from superres.io.tiff_metadata import FLOAT_MAX_SAMPLE_TAG, MADE_BY, MAX_SAMPLE_TAG, SOFTWARE

_STRIP_BYTES = 1 << 20
_CLASSIC_LIMIT = 2 ** 32 - 2 ** 25
"""Classic TIFF, the only one that ImageJ's format allows, addresses 4 GiB; tifffile keeps 32 MiB in reserve too."""
_DEFLATE_LEVEL = 4
"""Of libdeflate.  Measured on tissue enlarged ×2: 105 MB/s to 59 % (level 6: 74 MB/s, 58 %; zlib: 28 MB/s)."""


@dataclass(frozen=True)
class ImageFacts:
    """What a file should say besides its pixels.

    shape: (H, W) or (H, W, 3).  dtype: uint8, uint16 or float32.  pixel_size_um: > 0.  white_level: None for the
    dtype's maximum.  icc_profile: carried along.  made_by: what computed the pixels, goes into the Software tag.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    pixel_size_um: float
    white_level: float | None = None
    icc_profile: bytes | None = None
    made_by: str = ""

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def write_tiff(path: Path, facts: ImageFacts, bands: Iterable[Array]) -> None:
    """Write bands of rows, top to bottom, as they come; memory is bounded by a band and a strip of 1 MiB.

    The name decides the dialect: OME-TIFF for `.ome.tif`, otherwise ImageJ's where its format can hold the image (RGB
    of 8 bits, single channels; up to 4 GiB), otherwise plain TIFF with resolution in centimetres.  Deflate without
    predictor: ImageJ ignores predictors with it.  Raises ImageError if bands do not add up to the shape, StorageError
    if the file cannot be written; nothing is left behind then.
    """
    row_bytes = facts.bytes // facts.shape[0]
    rows = max(1, min(facts.shape[0], _STRIP_BYTES // row_bytes))
    little = facts.dtype.newbyteorder("<")
    source = _strips(path.name, facts, bands, rows)
    big = facts.bytes > _CLASSIC_LIMIT
    dialect, tags = _dialect(path, facts, big)
    with replacing(path) as temporary, \
            tifffile.TiffWriter(temporary, bigtiff=big, byteorder="<", **dialect) as tiff:
        tiff.write((_deflated(strip, little) for strip in source), shape=facts.shape, dtype=little,
                   photometric="rgb" if len(facts.shape) == 3 else "minisblack",
                   compression="adobe_deflate", rowsperstrip=rows, iccprofile=facts.icc_profile,
                   software=f"{SOFTWARE} {__version__}" + (MADE_BY + facts.made_by if facts.made_by else ""),
                   extratags=_white_level_tags(facts), **tags)
        if next(source, None) is not None:
            raise ImageError(f"'{path.name}': more rows were given than its shape {facts.shape} holds")


def _dialect(path: Path, facts: ImageFacts, big: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords of the writer, and of its write()."""
    white = facts.white_level
    colour = len(facts.shape) == 3
    if path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        metadata: dict[str, Any] = {"axes": "YXS" if colour else "YX"}
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": facts.pixel_size_um, f"PhysicalSize{axis}Unit": "µm"}
        if white is not None and facts.dtype == np.uint16 and white == 2 ** int(np.log2(white + 1)) - 1:
            metadata["SignificantBits"] = int(np.log2(white + 1))
        return {"ome": True}, {"metadata": metadata} | _per_centimetre(facts)
    if not big and (not colour or facts.dtype == np.uint8):
        shown = {} if white is None or facts.dtype == np.uint8 else {"min": 0.0, "max": float(white)}
        per_um = (1 / facts.pixel_size_um,) * 2
        return {"imagej": True}, {"metadata": {"unit": "um"} | shown, "resolution": per_um}
    return {}, {"metadata": None} | _per_centimetre(facts)


def _deflated(strip: Array, dtype: np.dtype[np.generic]) -> bytes:
    return bytes(imagecodecs.deflate_encode(np.ascontiguousarray(strip, dtype=dtype).tobytes(), level=_DEFLATE_LEVEL))


def _per_centimetre(facts: ImageFacts) -> dict[str, Any]:
    return {"resolution": (1e4 / facts.pixel_size_um,) * 2, "resolutionunit": "centimeter"}


def _white_level_tags(facts: ImageFacts) -> list[tuple[int, int, int, Any, bool]]:
    if facts.white_level is None:
        return []
    samples = 3 if len(facts.shape) == 3 else 1
    value: float = float(facts.white_level)
    if facts.dtype == np.float32 or not value.is_integer():
        return [(FLOAT_MAX_SAMPLE_TAG, int(tifffile.DATATYPE.FLOAT), samples, (value,) * samples, True)]
    return [(MAX_SAMPLE_TAG, int(tifffile.DATATYPE.SHORT), samples, (int(value),) * samples, True)]


def _strips(name: str, facts: ImageFacts, bands: Iterable[Array], rows: int) -> Iterator[Array]:
    """Cut bands of any heights into strips of `rows` rows, the last one shorter."""
    pending: list[Array] = []
    waiting, seen = 0, 0
    for band in bands:
        if band.ndim != len(facts.shape) or band.shape[1:] != facts.shape[1:] or band.dtype != facts.dtype:
            raise ImageError(f"'{name}': a band of {band.shape} {band.dtype} does not belong to {facts.shape} "
                             f"{facts.dtype}")
        seen += band.shape[0]
        if seen > facts.shape[0]:
            raise ImageError(f"'{name}': more rows were given than its shape {facts.shape} holds")
        pending.append(band)
        waiting += band.shape[0]
        while waiting >= rows:
            joined = pending[0] if len(pending) == 1 else np.concatenate(pending)
            for top in range(0, waiting - rows + 1, rows):
                yield joined[top:top + rows]
            pending = [joined[waiting // rows * rows:]]
            waiting %= rows
    if seen < facts.shape[0]:
        raise ImageError(f"'{name}': {seen} rows were given; its shape is {facts.shape}")
    if waiting:
        yield np.concatenate(pending)
