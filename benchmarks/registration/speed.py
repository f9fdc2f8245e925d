"""Time and memory of stitching and finding at three sizes: `python -m benchmarks.registration.speed --data DIR`.

8 × 8, 12 × 12 and 16 × 16 tiles of 600 px with stage positions; then 12, 25 and 50 fields of 1024 fine pixels found and
refined in the largest mosaic, of 8,200 pixels a side, whose overview is made once.  Seconds of the processor are kept
beside those of the clock, because other programs may run; on one thread they are what a quiet machine would need.
Writes benchmarks/registration/speed.json.

Prediction written before the first run: 256 tiles in 25 s and 50 fields in 25 s of one core, below 1 GB.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registration.patchwork import Scan, scan
from benchmarks.registration.records import write_record
from superres.api import Mosaic
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import RegistrationError

TILE_PX = 600
GRIDS, FIELDS = (8, 12, 16), (12, 25, 50)


def stitched(taken: Scan) -> tuple[Mosaic, dict[str, Any]]:
    cpu, wall = time.process_time(), time.perf_counter()
    mosaic = PaperRegistrar().assemble(taken.tiles)
    facts = {"tiles": len(taken.tiles), "cpu_s": round(time.process_time() - cpu, 1),
             "wall_s": round(time.perf_counter() - wall, 1)}
    off = np.array([tile.to_mosaic.matrix[:2, 2] for tile in mosaic.tiles]) / mosaic.pixel_size_um - taken.true_px
    return mosaic, facts | {"rmse_px": round(float(np.sqrt(((off - off.mean(axis=0)) ** 2).sum(axis=1).mean())), 4)}


def found(taken: Scan, mosaic: Mosaic) -> list[dict[str, Any]]:
    """One row for each number of fields, with the largest distance of a field's centre from its true place."""
    origin = np.mean([tile.to_mosaic.matrix[:2, 2] / mosaic.pixel_size_um - true
                      for tile, true in zip(mosaic.tiles, taken.true_px, strict=True)], axis=0)
    registrar, rows, worst = PaperRegistrar(), [], 0.0
    refused: list[str] = []
    cpu, wall = time.process_time(), time.perf_counter()
    for number, (fine, centre) in enumerate(taken.fields, start=1):
        try:
            place = registrar.register(fine, mosaic).transform.inverse().apply(np.array(fine.size_um) / 2)
        except RegistrationError as error:
            refused.append(error.reason)
        else:
            worst = max(worst, float(np.hypot(*(place / mosaic.pixel_size_um - centre - origin))))
        if number in FIELDS:
            rows.append({"fields": number, "refused": list(refused), "cpu_s": round(time.process_time() - cpu, 1),
                         "wall_s": round(time.perf_counter() - wall, 1), "largest_error_px": round(worst, 3)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs, with train/")
    data = parser.parse_args().data.resolve()
    tiles = []
    for grid in GRIDS:
        taken = scan(data, grid, TILE_PX, FIELDS[-1] if grid == GRIDS[-1] else 0)
        mosaic, facts = stitched(taken)
        tiles.append(facts)
    own_mib = sum(tile.image.read().pixels.nbytes for tile in taken.tiles) / 2 ** 20
    rows = found(taken, mosaic)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_record("speed", {"stitching": tiles, "finding": rows, "mosaic_px": list(mosaic.shape_px),
                           "peak_mib": round(peak_mib), "of_which_tiles_mib": round(own_mib)})


if __name__ == "__main__":
    main()
