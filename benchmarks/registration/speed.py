"""Time and memory of stitching and of the register stage: `python -m benchmarks.registration.speed --data DIR`.

8 × 8, 12 × 12 and 16 × 16 tiles of 600 px with stage positions; then 12, 25 and 50 fields of 1024 fine pixels found,
refined and cut in the largest mosaic, of 8,200 pixels a side, as the register stage does it: two at a time.  The
mosaic's overview is made anew for each number.  Seconds of the processor are kept beside those of the clock, because
other programs may run.  Every refused field is listed with its reason and the share of it that shows tissue.
Writes benchmarks/registration/speed.json.

Prediction written before the first run: 256 tiles in 25 s and 50 fields in 25 s of one core, below 1 GB; before fields
were registered two at a time: 50 fields in 18 s of the clock, 32 s of the processors.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.registration.patchwork import Scan, scan
from benchmarks.registration.records import write_record
from superres.api import FineField, Mosaic
from superres.api import Scan as Slide
from superres.builtin.registrars.paper import PaperRegistrar
from superres.image import Image
from superres.stages.ahead import in_order
from superres.stages.placing import Placing

TILE_PX = 600
WORKERS = 2
SCALE = Fraction(5, 2)
USABLE = 0.1
"""Fields of which a smaller share shows tissue have nothing to be registered by."""
GRIDS, FIELDS = (8, 12, 16), (12, 25, 50)


def stitched(taken: Scan) -> tuple[Mosaic, dict[str, Any]]:
    cpu, wall = time.process_time(), time.perf_counter()
    mosaic = PaperRegistrar().assemble(taken.tiles)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    facts = {"tiles": len(taken.tiles), "edges": int(float(mosaic.notes["edges used"])), "cpu_s": round(cpu, 1),
             "wall_s": round(wall, 1)}
    off = np.array([tile.to_mosaic.matrix[:2, 2] for tile in mosaic.tiles]) / mosaic.pixel_size_um - taken.true_px
    return mosaic, facts | {"rmse_px": round(float(np.sqrt(((off - off.mean(axis=0)) ** 2).sum(axis=1).mean())), 4)}


def tissue_share(fine: Image) -> float:
    """The share of 32 px blocks that vary by more than glass does."""
    grey = fine.grey()
    rows, columns = (length // 32 for length in grey.shape)
    blocks = grey[:rows * 32, :columns * 32].reshape(rows, 32, columns, 32)
    return float((blocks.std(axis=(1, 3)) > 0.04).mean())


def found(taken: Scan, mosaic: Mosaic, count: int, workers: int = WORKERS) -> dict[str, Any]:
    """Time of the first `count` fields, with the largest distance of a field's centre from its true place."""
    origin = np.mean([tile.to_mosaic.matrix[:2, 2] / mosaic.pixel_size_um - true
                      for tile, true in zip(mosaic.tiles, taken.true_px, strict=True)], axis=0)
    fields = tuple(FineField(fine, "slide") for fine, _ in taken.fields[:count])
    placing = Placing(Slide("slide", tuple(taken.tiles), fields), mosaic, PaperRegistrar(), SCALE, 0.5, None)
    cpu, wall = time.process_time(), time.perf_counter()
    records = [record for _, record in in_order(placing.place, fields, workers)]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    worst, refused = 0.0, []
    for record, (fine, centre) in zip(records, taken.fields, strict=False):
        if record.kept:
            place = np.linalg.inv(np.array(record.transform)) @ (*np.array(fine.size_um) / 2, 1.0)
            worst = max(worst, float(np.hypot(*(place[:2] / mosaic.pixel_size_um - centre - origin))))
        else:
            refused.append({"field": record.name, "reason": record.reason, "tissue": round(tissue_share(fine), 3)})
    return {"fields": count, "refused": refused,
            "usable refused": sum(row["tissue"] >= USABLE for row in refused), "cpu_s": round(cpu, 1),
            "wall_s": round(wall, 1), "largest_error_px": round(worst, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs, with train/")
    data = parser.parse_args().data.resolve()
    with threadpool_limits(1, user_api="blas"):      # as the register stage does
        measure(data)


def measure(data: Path) -> None:
    tiles = []
    for grid in GRIDS:
        taken = scan(data, grid, TILE_PX, FIELDS[-1] if grid == GRIDS[-1] else 0)
        mosaic, facts = stitched(taken)
        tiles.append(facts)
    own_mib = sum(tile.image.read().pixels.nbytes for tile in taken.tiles) / 2 ** 20
    rows = [found(taken, mosaic, count) for count in FIELDS]
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_record("speed", {"stitching": tiles, "finding": rows, "mosaic_px": list(mosaic.shape_px),
                           "load": [round(each, 1) for each in os.getloadavg()], "peak_mib": round(peak_mib),
                           "of_which_tiles_mib": round(own_mib)})


if __name__ == "__main__":
    main()
