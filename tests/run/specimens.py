"""Small drawn specimens for runs: discs at the fine pitch, one coarse frame, two fine fields at known places."""

from fractions import Fraction

import numpy as np
from scipy.special import expit

from superres.api import FineField, Scan, Tile
from superres.image import Image, from_unit
from superres.resample import bicubic

COARSE_UM, FINE_UM = 0.185, 0.074
FIELD_PX = 120


def drawn_scan(number):
    """A scan of 80 × 80 coarse pixels; a field's name ends with its place, `_TOP_LEFT` in fine pixels."""
    rng = np.random.default_rng((5, number))
    side = 200
    rows, columns = np.mgrid[0:side, 0:side]
    scene = np.full((side, side, 3), 0.92, dtype=np.float32)
    for _ in range(60):
        y, x, radius = rng.uniform((0, 0, 3), (side, side, 14))
        inside = expit(2 * (radius - np.hypot(rows - y, columns - x)))
        scene *= 1 - inside[:, :, None] * rng.uniform((0.2, 0.3, 0.05), (0.5, 0.6, 0.3))
    slide = f"drawn-{number}"

    def camera(pixels, pitch, name):
        noisy = pixels + rng.normal(0, 0.004, pixels.shape)
        return Image(from_unit(noisy.astype(np.float32), np.dtype(np.uint8), 255.0), pitch, name=name)

    coarse = camera(bicubic(scene, Fraction(2, 5)), COARSE_UM, f"{slide}_coarse")
    fields = []
    for index in range(2):
        top, left = (int(place) for place in rng.integers(5, side - FIELD_PX - 5, size=2))
        fine = camera(scene[top : top + FIELD_PX, left : left + FIELD_PX], FINE_UM, f"{slide}_f{index}_{top}_{left}")
        fields.append(FineField(fine, slide))
    return Scan(slide, (Tile(coarse),), tuple(fields))
