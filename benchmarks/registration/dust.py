"""Weak tissue under heavy dust: `python -m benchmarks.registration.dust --data DIR`.

The `easy` tiles of `stitching`, 36 of each of two slides, brought to a part of their contrast, with specks at the same
pixels of all tiles and new noise of 1/255 in each; stitched with the dust divided out, as superres does, and without.
A scan is placed where the RMSE of its places is below a pixel, wrong where it is not, or refused.
Writes benchmarks/registration/dust.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from benchmarks.registration.records import write_record
from benchmarks.registration.stitching import KINDS, TILE_PX, WINDOWS, Scan, own, rmse_px, scan, scene
from superres.errors import RegistrationError
from superres.image import FloatArray, Image

SLIDES = 2
CONTRASTS = (1.0, 0.3, 0.1, 0.05)
SPECKS = ((0, 0.0), (10, 0.3), (30, 0.3), (60, 0.5), (150, 0.5))
"""How many, and what part of the light they take."""
RADIUS_PX, LIGHT = 3.0, 220
WRONG_PX = 1.0


def specks(count: int, depth: float) -> FloatArray:
    """(h, w): what the camera's dust leaves of the light."""
    rng = np.random.default_rng(5)
    dust = np.ones((TILE_PX, TILE_PX), np.float32)
    for y, x in rng.integers(0, TILE_PX, (count, 2)):
        radius = RADIUS_PX * rng.uniform(0.5, 1.5)
        cv2.circle(dust, (int(16 * x), int(16 * y)), int(16 * radius), 1 - depth, -1, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(dust, (0, 0), 0.7))


def weakened(image: Image, contrast: float, dust: FloatArray, seed: int) -> Image:
    pixels = image.pixels.astype(np.float32)
    light = (LIGHT + contrast * (pixels - pixels.mean())) * (dust if pixels.ndim == 2 else dust[:, :, None])
    noise = np.random.default_rng(seed).standard_normal(pixels.shape)
    return image.with_pixels(np.clip(np.rint(light + noise), 0, 255).astype(np.uint8))


def outcome(scanned: Scan) -> float | None:
    """RMSE of places in px, None where the scan is refused."""
    try:
        return round(rmse_px(own(scanned), scanned), 4)
    except RegistrationError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = [{"specks": count, "depth": depth, "divided out": [], "left in": []}
                                  for count, depth in SPECKS]
    for number, name in enumerate(list(WINDOWS)[:SLIDES]):
        plain = scan(scene(options.data.resolve(), name), KINDS["easy"], number)
        for row in rows:
            dust = specks(row["specks"], row["depth"])
            for contrast in CONTRASTS:
                scanned = replace(plain, images=[weakened(image, contrast, dust, seed)
                                                 for seed, image in enumerate(plain.images)])
                row["divided out"].append(outcome(scanned))
                with patch("superres.registration.layout.estimate_dust", return_value=None):
                    row["left in"].append(outcome(scanned))
    write_record("dust", {"rows": rows, "wrong_px": WRONG_PX})


if __name__ == "__main__":
    main()
