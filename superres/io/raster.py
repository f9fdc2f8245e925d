"""PNG, JPEG and BMP: decoded by OpenCV, which keeps 16-bit colour; checked here, since it also decodes half a file.

PNG: https://www.w3.org/TR/png-3/.  JPEG: ITU-T T.81.  ICC profiles in both: ICC.1:2022, annex B.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from superres.errors import ImageError, SuperresError
from superres.image import Array, Image
from superres.io.header import ALPHA, JPEG_SIGNATURE, PNG_SIGNATURE, ImageHeader, turned

_HEADER_BYTES = 1 << 20
_TEXT_KEY = b"superres\0"
_PNG_GREY, _PNG_PALETTE, _PNG_GREY_ALPHA, _PNG_RGB_ALPHA = 0, 3, 4, 6
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE, _APP1, _APP2 = 0xDA, b"\xff\xd9", 0xE1, 0xE2
_ORIENTATION_TAG = 0x0112


def read_raster_header(path: Path) -> ImageHeader:
    """The header of a PNG, JPEG or BMP file.  Raises ImageError if it is damaged or the file ends early."""
    with open(path, "rb") as stream:
        start = stream.read(_HEADER_BYTES)
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - (1 << 16)))
        tail = stream.read()
    return _parse(start, tail, size, path.name)


def read_raster(path: Path) -> tuple[Array, ImageHeader]:
    """Pixels (H, W) or (H, W, 3) RGB, uint8 or uint16, and the header.  Alpha is dropped, EXIF orientation ignored."""
    content = path.read_bytes()
    header = _parse(content, content, len(content), path.name)
    if content.startswith(PNG_SIGNATURE):
        for _ in _png_chunks(content, path.name, whole=True):
            pass
    cv2 = load_cv2()
    try:
        decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"'{path.name}' cannot be decoded: {error}", hint=_DAMAGED) from error
    if decoded is None:
        raise ImageError(f"'{path.name}' cannot be decoded", hint=_DAMAGED)
    pixels: Array = decoded
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0] if len(header.shape) == 2 else np.ascontiguousarray(pixels[:, :, 2::-1])
    if pixels.shape != header.shape or pixels.dtype != header.dtype:
        raise ImageError(f"'{path.name}' decodes to {pixels.shape} {pixels.dtype}, but its header says "
                         f"{header.shape} {header.dtype}", hint=_DAMAGED)
    return pixels, header


def encode_png(image: Image, name: str) -> bytes:
    """A PNG file: 8 or 16 bits, with the colour profile, and with pixel size, white level and made_by in a text chunk
    of our own (PNG's pHYs means the size on paper).  Raises ImageError for float pixels.
    """
    if image.pixels.dtype == np.float32:
        raise ImageError(f"cannot write '{name}': PNG holds 8 or 16 bits, the image is float32",
                         hint="write a .tif file")
    cv2 = load_cv2()
    bgr = image.pixels if image.pixels.ndim == 2 else image.pixels[:, :, ::-1]
    encoded, data = cv2.imencode(".png", np.ascontiguousarray(bgr))
    if not encoded:
        raise ImageError(f"cannot write '{name}': OpenCV refused {image.pixels.shape} {image.pixels.dtype}")
    content: bytes = data.tobytes()
    facts: dict[str, float | str] = {"pixel_size_um": image.pixel_size_um}
    if image.white_level is not None:
        facts["white_level"] = float(image.white_level)
    if image.made_by:
        facts["made_by"] = image.made_by
    added = _chunk(b"tEXt", _TEXT_KEY + json.dumps(facts).encode("ascii"))
    if image.icc_profile:
        added = _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(image.icc_profile)) + added
    after_header = len(PNG_SIGNATURE) + 25  # IHDR: length 4, type 4, data 13, checksum 4
    return content[:after_header] + added + content[after_header:]


def load_cv2() -> Any:
    """The module cv2.  Raises SuperresError that names the ways out where a bare server lacks libGL."""
    try:
        import cv2
    except ImportError as error:
        raise SuperresError(f"OpenCV cannot be loaded: {error}",
                            hint="install the system library (Debian, Ubuntu: apt-get install libgl1), or replace "
                                 "opencv-contrib-python by opencv-contrib-python-headless") from error
    return cv2


_DAMAGED = "the file is damaged; copy it again from the microscope, or leave it out"


def _parse(start: bytes, tail: bytes, size: int, name: str) -> ImageHeader:
    try:
        if start.startswith(PNG_SIGNATURE):
            return _parse_png(start, tail, name)
        if start.startswith(JPEG_SIGNATURE):
            return _parse_jpeg(start, tail, name)
        return _parse_bmp(start, size, name)
    except (struct.error, IndexError, ValueError) as error:
        raise ImageError(f"'{name}' has a damaged header, or ends in the middle of it ({size} bytes): {error}",
                         hint=_DAMAGED) from error


def _truncated(name: str, expected: str) -> ImageError:
    return ImageError(f"'{name}' is truncated: {expected}", hint=_DAMAGED)


def _parse_png(start: bytes, tail: bytes, name: str) -> ImageHeader:
    height, width, depth, colour = 0, 0, 0, 0
    facts: dict[str, Any] = {}
    icc: bytes | None = None
    for kind, data in _png_chunks(start, name, whole=False):
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[:10])
        elif kind == b"iCCP":
            icc = _inflated(data[data.index(b"\0") + 2:], name)
        elif kind == b"tEXt" and data.startswith(_TEXT_KEY):
            facts = json.loads(data[len(_TEXT_KEY):])
    if b"IEND" not in tail[-(1 << 16):]:
        raise _truncated(name, "a PNG file ends with an IEND chunk")
    if colour == _PNG_PALETTE:
        raise ImageError(f"'{name}' is a palette image (at most 256 colours)", hint="save the camera's own RGB pixels")
    grey = colour in (_PNG_GREY, _PNG_GREY_ALPHA)
    pixel_size_um = facts.get("pixel_size_um")
    return ImageHeader(
        (height, width) if grey else (height, width, 3), np.dtype(np.uint16 if depth == 16 else np.uint8),
        None if pixel_size_um is None else (pixel_size_um, pixel_size_um),
        "PNG text chunk" if facts else "PNG states a size on paper only",
        facts.get("white_level"), icc_profile=icc,
        ignored=(ALPHA,) if colour in (_PNG_GREY_ALPHA, _PNG_RGB_ALPHA) else (), made_by=str(facts.get("made_by", "")))


def _png_chunks(content: bytes, name: str, whole: bool) -> Iterator[tuple[bytes, bytes]]:
    """(type, data) of every chunk, checksums verified; with whole=False only those before the pixels."""
    offset = len(PNG_SIGNATURE)
    while True:
        if offset + 12 > len(content):
            raise _truncated(name, "a PNG file ends with an IEND chunk")
        length, kind = struct.unpack_from(">I4s", content, offset)
        if kind == b"IDAT" and not whole:
            return
        end = offset + 12 + length
        if end > len(content):
            raise _truncated(name, f"a {kind.decode('latin-1')} chunk of {length} bytes goes past the end")
        checked = memoryview(content)[offset + 4:end - 4]
        if zlib.crc32(checked) != struct.unpack_from(">I", content, end - 4)[0]:
            raise ImageError(f"'{name}' is damaged: wrong checksum in a {kind.decode('latin-1')} chunk", hint=_DAMAGED)
        yield kind, bytes(checked[4:]) if not whole else b""
        if kind == b"IEND":
            return
        offset = end


def _inflated(data: bytes, name: str) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise ImageError(f"'{name}' has a damaged colour profile: {error}", hint=_DAMAGED) from error


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _parse_jpeg(start: bytes, tail: bytes, name: str) -> ImageHeader:
    shape: tuple[int, ...] = ()
    profile: dict[int, bytes] = {}
    orientation = 1
    offset = 2
    while True:
        marker, length = struct.unpack_from(">xBH", start, offset)
        if marker == 0xFF:  # fill byte
            offset += 1
            continue
        data = start[offset + 4:offset + 2 + length]
        if marker in _START_OF_FRAME:
            precision, height, width, components = struct.unpack(">BHHB", data[:6])
            if precision != 8 or components not in (1, 3):
                raise ImageError(f"'{name}' is a JPEG of {components} components of {precision} bits; "
                                 "expected grey or RGB of 8 bits", hint="save it as RGB TIFF or PNG")
            shape = (height, width) if components == 1 else (height, width, 3)
        elif marker == _APP1 and data.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(data[6:])
        elif marker == _APP2 and data.startswith(b"ICC_PROFILE\0"):
            profile[data[12]] = data[14:]
        elif marker == _START_OF_SCAN:
            break
        offset += 2 + length
    # Thumbnails, which end like images, stand before the scan.
    if _END_OF_IMAGE not in (tail[offset:] if tail is start else tail):
        raise _truncated(name, "a JPEG file ends with an end-of-image marker")
    icc = b"".join(profile[number] for number in sorted(profile)) or None
    return ImageHeader(shape, np.dtype(np.uint8), None, "JPEG states a size on paper only", icc_profile=icc,
                       ignored=turned(orientation))


def _exif_orientation(block: bytes) -> int:
    """Of an Exif block (a TIFF header and its first directory), 1 where it states none or is damaged."""
    order = ">" if block.startswith(b"MM") else "<"
    try:
        (first,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, first)
        for entry in range(count):
            tag, value = struct.unpack_from(order + "H6xH", block, first + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return int(value)
    except struct.error:
        pass
    return 1


def _parse_bmp(start: bytes, size: int, name: str) -> ImageHeader:
    pixels_at, header_length, width, height, _, bits, compression = struct.unpack_from("<10xIIiiHHI", start)
    if header_length < 40 or compression not in (0, 3) or bits not in (8, 24, 32):
        raise ImageError(f"'{name}' is a BMP of {bits} bits, compression {compression}; expected 8, 24 or 32 bits, "
                         "uncompressed", hint="save it as TIFF or PNG")
    height = abs(height)
    expected = pixels_at + (width * bits + 31) // 32 * 4 * height
    if size < expected:
        raise _truncated(name, f"{size} bytes; expected {expected} for {width} × {height} pixels of {bits} bits")
    if bits == 8:
        table = np.frombuffer(start, dtype=np.uint8)[14 + header_length:pixels_at]
        table = table[:len(table) // 4 * 4].reshape(-1, 4)
        grey = np.arange(len(table), dtype=np.uint8)
        if not (table[:, :3] == grey[:, None]).all():
            raise ImageError(f"'{name}' is a palette image (at most 256 colours)",
                             hint="save the camera's own RGB pixels")
    return ImageHeader((height, width) if bits == 8 else (height, width, 3), np.dtype(np.uint8), None,
                       "BMP states a size on paper only", ignored=(ALPHA,) if bits == 32 and compression == 3 else ())
