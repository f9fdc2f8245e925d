"""Feature points and their matches: SIFT from OpenCV, SURF from `surf`.

Points are (y, x) in pixels of the frame, the centre of pixel (0, 0) at (0.5, 0.5), so that times the pixel size they
are µm.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from superres.image import FloatArray
from superres.registration.surf import surf

Method = Literal["sift", "surf"]
Descriptors = npt.NDArray[np.float32]
Features = tuple[npt.NDArray[np.float64], Descriptors]
"""(n, 2) places in pixels from the outer corner, (n, d) descriptors."""

RATIO = 0.8
"""Lowe's limit for nearest / second nearest descriptor distance, doi:10.1023/B:VISI.0000029664.99615.94."""
MAX_FEATURES = 6000
SMOOTH_PX = 0.8
BLOCK_ENTRIES = 4_000_000


def stretch(grey: FloatArray) -> npt.NDArray[np.uint8]:
    """Grey to 8 bits between its 0.5 and 99.5 percentiles."""
    low, high = np.percentile(grey, (0.5, 99.5))
    return np.asarray(np.clip((grey - low) / max(float(high - low), 1e-6) * 255 + 0.5, 0, 255), dtype=np.uint8)


def smooth(grey: FloatArray) -> FloatArray:
    """A light blur before features are sought: it brings coarse and fine contrast closer and takes noise out.  On a
    stained section with noise 0.01 it brings SIFT's median error from 0.014 to 0.009 coarse pixels.
    """
    return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(grey), (0, 0), SMOOTH_PX, borderType=cv2.BORDER_REFLECT))


def sift(grey: FloatArray, limit: int = MAX_FEATURES) -> Features:
    """SIFT with precise upscaling: without it OpenCV's points are biased by a quarter pixel, 0.22 px between two
    pitches."""
    detector = cv2.SIFT.create(nfeatures=limit, contrastThreshold=0.02, enable_precise_upscale=True)
    points, descriptors = detector.detectAndCompute(stretch(grey), None)
    if descriptors is None or not len(points):
        return np.zeros((0, 2)), np.zeros((0, 128), dtype=np.float32)
    places = np.array([(point.pt[1] + 0.5, point.pt[0] + 0.5) for point in points], dtype=np.float64)
    return places, np.asarray(descriptors, dtype=np.float32)


def detect(method: Method, grey: FloatArray, *, upright: bool = True, limit: int = MAX_FEATURES) -> Features:
    """grey: (H, W) float32 in units of white.  upright: SURF without orientation; SIFT always has it."""
    if method == "surf":
        return surf((stretch(grey) / 255).astype(np.float32), upright=upright)
    return sift(grey, limit)


def matches(a: Descriptors, b: Descriptors, ratio: float = RATIO) -> npt.NDArray[np.int64]:
    """(n, 2) index pairs: each other's nearest, and clearly nearer than the second nearest.

    Squared distances come from matrix products, block by block of a: ten times faster than comparing one by one.
    """
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    norms = np.einsum("ij,ij->i", b, b)
    nearest = np.empty(len(a), dtype=np.int64)
    clear = np.empty(len(a), dtype=bool)
    best_for_b = np.full(len(b), np.inf, dtype=np.float32)
    owner = np.full(len(b), -1, dtype=np.int64)
    step = max(1, BLOCK_ENTRIES // len(b))
    for start in range(0, len(a), step):
        part = a[start:start + step]
        square = np.einsum("ij,ij->i", part, part)[:, None] + norms - 2 * (part @ b.T)
        rows = np.arange(len(part))
        near = square.argmin(axis=1)
        first = square[rows, near].copy()
        for_b = square.argmin(axis=0)
        lower = square[for_b, np.arange(len(b))] < best_for_b
        best_for_b[lower] = square[for_b, np.arange(len(b))][lower]
        owner[lower] = start + for_b[lower]
        square[rows, near] = np.inf
        clear[start:start + step] = np.maximum(first, 0) < ratio ** 2 * square.min(axis=1)
        nearest[start:start + step] = near
    mine = np.arange(len(a))
    kept = clear & (owner[nearest] == mine)
    return np.stack([mine[kept], nearest[kept]], axis=1)
