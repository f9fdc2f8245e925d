"""From tiles to places, through the whole register stage: `python -m benchmarks.registration.end_to_end --data DIR`.

Virtual scans of six real slides (source `simulate` with its own optics, stage, camera and noise): stitched, found,
refined, and cut; the error is that of the pairs, RMS over a field in coarse pixels.
Writes benchmarks/registration/end_to_end.json.

Prediction written before the first run: p95 0.03 px, at most 2 % refused.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import superres
from benchmarks.registration.records import write_record
from superres.plan import make_plan

SLIDES = ("he_liver_gtex.jpg", "psr_liver.jpg", "he_liver_2.jpg", "he_liver_3.jpg", "he_tupac_a.png", "he_tupac_b.png")


def measured(data: Path, folder: Path, slides: Sequence[str] = SLIDES) -> dict[str, Any]:
    """Facts a slide and of all, from a run in `folder`."""
    plan = make_plan({
        "run": {"output": str(folder)},
        "source": {"plugin": "simulate", "options": {
            "scenes": [str(data / "train" / name) for name in slides], "max_scene_px": 1536,
            "fields_per_specimen": 10}},
        "model": {"plugin": "bicubic"}, "split": {"test": 1, "validation": 0}})
    superres.Pipeline(plan).run(until="register")
    rows = json.loads((folder / "registration.json").read_text(encoding="utf-8"))["pairs"]
    names = list(dict.fromkeys(row["slide"] for row in rows))
    return {"slides": {name: facts([row for row in rows if row["slide"] == name]) for name in names},
            "all": facts(rows)}


def facts(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    errors = np.array([row["true_error_px"] for row in rows if row["kept"]])
    return {"fields": len(errors), "refused": len(rows) - len(errors), "median_px": round(float(np.median(errors)), 4),
            "p95_px": round(float(np.percentile(errors, 95)), 4), "max_px": round(float(errors.max()), 4),
            "cut from the mosaic": sum(row["cut_from"] == "mosaic" for row in rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs, with train/")
    data = parser.parse_args().data.resolve()
    with tempfile.TemporaryDirectory() as folder:
        write_record("end_to_end", measured(data, Path(folder) / "run"))


if __name__ == "__main__":
    main()
