"""Seams before and after evening out the brightness of tiles: `python -m benchmarks.registration.levels --data DIR`.

The tiles of `stitching` (6 × 6 of 256 px, three slides) with gains planted in them, of no, 2 and 5 % standard
deviation, and the micrographs of tiles_sem, whose microscope set brightness and contrast anew for each tile.  A step is
the median difference between two tiles over what both show, as a share of their brightness.  The flat field's error is
RMS against the true vignetting.  Writes benchmarks/registration/levels.json.

Prediction written before the first run: steps below 0.4 % (one grey level of 255) afterwards, and a flat field as good
with planted gains as without.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.registration.records import write_record
from benchmarks.registration.stitching import KINDS, TILE_PX, WINDOWS, rmse_px, scan, scene
from superres.image import FloatArray, Image
from superres.registration.layout import stitch

SPREADS = (0.0, 0.02, 0.05)
EXPOSURE = 0.9
"""Of the tiles, before gains: brighter ones should not saturate."""


def planted(images: list[Image], spread: float, rng: np.random.Generator) -> list[Image]:
    gains = EXPOSURE * np.exp(spread * rng.standard_normal(len(images)))
    return [image.with_pixels(np.clip(np.rint(image.pixels * gain), 0, 255).astype(np.uint8))
            for image, gain in zip(images, gains, strict=True)]


def flat_error(found: FloatArray | None, vignetting: float) -> float:
    y = (np.arange(TILE_PX) + 0.5) / TILE_PX * 2 - 1
    true = 1 - vignetting * 0.5 * (y[:, None] ** 2 + y[None] ** 2)
    ratio = (1.0 if found is None else found) / (true / true.mean())
    return float(np.std(ratio))


def virtual(data: Path, names: list[str]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for number, name in enumerate(names):
        view = scene(data, name)
        for kind, settings in KINDS.items():
            taken = scan(view, settings, number)
            for spread in SPREADS:
                images = planted(taken.images, spread, np.random.default_rng([17, number]))
                layout = stitch(images, taken.nominal_um, [None] * len(images))
                row = rows.setdefault(f"{kind}, gains {100 * spread:g} %",
                                      {"before": [], "after": [], "flat_error": [], "rmse_px": []})
                levels = layout.levels
                row["before"].append(None if levels is None else round(levels.before, 5))
                row["after"].append(None if levels is None else round(levels.after, 5))
                row["flat_error"].append(round(flat_error(layout.flat_field, settings.vignetting), 5))
                row["rmse_px"].append(round(rmse_px(np.array(layout.origins_px), taken), 4))
    return rows


def real(data: Path) -> dict[str, Any]:
    folder = data / "tiles_sem"
    names = list(json.loads((folder / "truth.json").read_text(encoding="utf-8"))["coords"])
    images = [Image(cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE), 1.0, name=name) for name in names]
    levels = stitch(images, [None] * len(images), [(int(name[8]), int(name[3])) for name in names]).levels
    if levels is None:
        return {}
    return {"before": round(levels.before, 4), "after": round(levels.after, 4), "with offsets": any(levels.offsets)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs")
    parser.add_argument("--tissues", type=int, default=3)
    options = parser.parse_args()
    data = options.data.resolve()
    write_record("levels", {"virtual": virtual(data, list(WINDOWS)[:options.tissues]), "tiles_sem": real(data)})


if __name__ == "__main__":
    main()
