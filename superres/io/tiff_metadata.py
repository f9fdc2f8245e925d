"""What TIFF files say about sampling, in the dialects that microscopes write: OME, ImageJ, Aperio, plain tags."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import tifffile

from superres.errors import ImageError
from superres.io.header import PRINT_PIXEL_UM

SOFTWARE = "superres"
"""Start of the Software tag of our own files; only in those is MaxSampleValue the white level and not a statistic."""

MADE_BY = "; made by "
"""In that tag, before what computed the pixels."""

ICC_TAG, MAX_SAMPLE_TAG, FLOAT_MAX_SAMPLE_TAG, SOFTWARE_TAG = 34675, 281, 341, 305
X_RESOLUTION_TAG, Y_RESOLUTION_TAG, RESOLUTION_UNIT_TAG, BITS_TAG = 282, 283, 296, 258

_UM_PER = {
    "pm": 1e-6, "å": 1e-4, "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "micrometers": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "in": 25400.0, "inch": 25400.0,
}
_RESOLUTION_UNIT_UM = {2: 25400.0, 3: 1e4}


@dataclass(frozen=True)
class Sampling:
    """Pixel size (y, x) in µm or None, where it was found or why it is not believed, the white level or None, and the
    stage position (y, x) in µm or None.
    """

    pixel_size_um: tuple[float, float] | None
    origin: str
    white_level: float | None = None
    stage_position_um: tuple[float, float] | None = None


def read_sampling(tiff: tifffile.TiffFile, page: tifffile.TiffPage, dtype: np.dtype[np.generic], name: str) -> Sampling:
    """The first of OME metadata, Aperio's MPP, ImageJ's calibration and the resolution tags that states a pixel size.

    page: the first page of the image.  dtype: of its samples.
    """
    own_white = _own_white_level(page, dtype)
    if tiff.is_ome and tiff.ome_metadata:
        stated = _from_ome(tiff.ome_metadata, dtype, name)
        fallback = stated if stated.pixel_size_um is not None else _from_resolution(page)
        white_level = stated.white_level if own_white is None else own_white
        return Sampling(fallback.pixel_size_um, fallback.origin, white_level, stated.stage_position_um)
    if tiff.is_svs:
        stated = _from_aperio(page.description)
    elif tiff.is_imagej:
        stated = _from_imagej(tiff, page)
    else:
        stated = _from_resolution(page)
    return Sampling(stated.pixel_size_um, stated.origin, own_white)


def made_by(page: tifffile.TiffPage) -> str:
    """What computed the pixels, where one of our own files says so."""
    software = str(page.tags.valueof(SOFTWARE_TAG, default=""))
    return software.partition(MADE_BY)[2] if software.startswith(SOFTWARE) else ""


def _own_white_level(page: tifffile.TiffPage, dtype: np.dtype[np.generic]) -> float | None:
    bits = page.tags.valueof(BITS_TAG)
    bits = bits[0] if isinstance(bits, tuple) else bits
    if np.issubdtype(dtype, np.integer) and isinstance(bits, int) and bits < 8 * dtype.itemsize:
        return float(2 ** bits - 1)  # 12 bits packed by the file itself
    if not str(page.tags.valueof(SOFTWARE_TAG, default="")).startswith(SOFTWARE):
        return None
    value = page.tags.valueof(MAX_SAMPLE_TAG) or page.tags.valueof(FLOAT_MAX_SAMPLE_TAG)
    value = value[0] if isinstance(value, tuple) else value
    return float(value) if value else None


def _from_ome(xml: str, dtype: np.dtype[np.generic], name: str) -> Sampling:
    try:
        pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    except ElementTree.ParseError as error:
        raise ImageError(f"the OME metadata of '{name}' are not valid XML: {error}",
                         hint="export the file again") from error
    if pixels is None:
        return Sampling(None, "OME metadata without Pixels")
    size = tuple(_ome_length(pixels, f"PhysicalSize{axis}", "µm") for axis in "YX")
    bits = pixels.get("SignificantBits")
    white = None
    if bits is not None and np.issubdtype(dtype, np.integer) and 0 < int(bits) <= 8 * dtype.itemsize:
        white = float(2 ** int(bits) - 1)
    plane = pixels.find("{*}Plane")
    # OME's default unit of a position is "reference frame", which is no length.
    place = (None, None) if plane is None else tuple(_ome_length(plane, f"Position{axis}", "reference frame")
                                                      for axis in "YX")
    return Sampling(None if size[0] is None or size[1] is None else (size[0], size[1]), "OME metadata", white,
                    None if place[0] is None or place[1] is None else (place[0], place[1]))


def _ome_length(element: ElementTree.Element, key: str, default_unit: str) -> float | None:
    value = element.get(key)
    um = _UM_PER.get(element.get(f"{key}Unit", default_unit).strip().lower())
    try:
        return None if value is None or um is None else _rounded(float(value) * um)
    except ValueError:
        return None


def _from_aperio(description: str) -> Sampling:
    mpp = tifffile.tifffile.svs_description_metadata(description).get("MPP")
    if not isinstance(mpp, int | float):
        return Sampling(None, "its Aperio description has no MPP")
    return Sampling((float(mpp), float(mpp)), "Aperio MPP")


def _from_imagej(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> Sampling:
    unit = str((tiff.imagej_metadata or {}).get("unit", "")).strip()
    um = _UM_PER.get(unit.replace("\\u00B5", "µ").replace("\\u00b5", "µ").lower())
    if um is None:
        return Sampling(None, f"its ImageJ calibration has the unit '{unit or 'pixel'}'")
    size = _pitches(page, um)
    return Sampling(size, "ImageJ calibration" if size else "its ImageJ calibration has no resolution")


def _from_resolution(page: tifffile.TiffPage) -> Sampling:
    unit = int(page.tags.valueof(RESOLUTION_UNIT_TAG, default=2))
    if unit not in _RESOLUTION_UNIT_UM:
        return Sampling(None, "its resolution tags have no unit")
    size = _pitches(page, _RESOLUTION_UNIT_UM[unit])
    if size is None:
        return Sampling(None, "it has no resolution tags")
    if min(size) > PRINT_PIXEL_UM:
        return Sampling(None, f"its resolution tags say {25400 / size[1]:.0f} dpi, which is a screen's or a printer's")
    return Sampling(size, "resolution tags")


def _pitches(page: tifffile.TiffPage, unit_um: float) -> tuple[float, float] | None:
    ratios = [page.tags.valueof(tag) for tag in (Y_RESOLUTION_TAG, X_RESOLUTION_TAG)]
    if any(not isinstance(ratio, tuple) for ratio in ratios):
        return None
    return tuple(_rounded(unit_um * ratio[1] / ratio[0]) if ratio[0] else 0.0 for ratio in ratios)  # type: ignore[return-value]


def _rounded(um: float) -> float:
    """Nine digits: what a rational of two 32-bit numbers carries, so that 0.185 comes back as 0.185."""
    return float(f"{um:.9g}")
