"""Pixels as data URIs: pictures that live inside the HTML file."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from superres.image import Array

JPEG_QUALITY = 88
"""At 4:4:4 the errors stay near 1 grey level, below the differences that a reader is asked to see."""

PNG_LIMIT_BYTES = 120_000
"""Above this a drawn picture is kept as JPEG: noise-like maps compress badly without loss."""

MAX_SIDE_PX = 1000
"""Larger pictures of third-party evaluators are reduced by whole blocks: a report should stay mailable."""


def png_bytes(pixels: Array) -> bytes:
    """pixels: (H, W, 3) RGB uint8."""
    return _encoded(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def jpeg_bytes(pixels: Array, quality: int = JPEG_QUALITY) -> bytes:
    """pixels: (H, W, 3) RGB uint8.  Full colour resolution (4:4:4): stains differ in colour more than in brightness."""
    return _encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality,
                                     cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])


def photograph_uri(pixels: Array) -> str:
    """A micrograph as a JPEG data URI."""
    return _uri("image/jpeg", jpeg_bytes(pixels))


def grey_uri(pixels: Array) -> str:
    """A grey picture, (H, W) uint8, as a JPEG data URI."""
    return photograph_uri(np.repeat(pixels[:, :, None], 3, axis=2))


def picture_uri(pixels: Array) -> str:
    """A drawn picture as a PNG data URI, or as JPEG of quality 92 where PNG would be too large."""
    reduced = _reduced(pixels)
    content = png_bytes(reduced)
    if len(content) > PNG_LIMIT_BYTES:
        return _uri("image/jpeg", jpeg_bytes(reduced, quality=92))
    return _uri("image/png", content)


def _reduced(pixels: Array) -> Array:
    block = -(-max(pixels.shape[:2]) // MAX_SIDE_PX)
    if block == 1:
        return pixels
    height, width = (side - side % block for side in pixels.shape[:2])
    whole = np.asarray(pixels[:height, :width], dtype=np.float32)
    means = whole.reshape(height // block, block, width // block, block, 3).mean(axis=(1, 3))
    return np.asarray(np.rint(means), dtype=np.uint8)


def _encoded(suffix: str, pixels: Array, parameters: list[int]) -> bytes:
    done, content = cv2.imencode(suffix, np.ascontiguousarray(pixels[:, :, ::-1]), parameters)
    if not done:
        raise ValueError(f"cannot encode pixels of shape {pixels.shape} and dtype {pixels.dtype} as {suffix}")
    return content.tobytes()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
