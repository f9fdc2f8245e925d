"""The gates of registration, measured anew: 200 transforms a view, 3,000 placements, tiles to place.  Minutes each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import superres
from benchmarks.registration.methods import measured
from benchmarks.registration.placements import judge, placements
from benchmarks.registration.stitching import KINDS, own, rmse_px, scan, scene
from superres.plan import make_plan
from tests.registration.virtual import CLEAN, HARD, TISSUES, Condition

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("condition", "median", "p95", "bias"),
                         [(CLEAN, 0.01, 0.02, 0.005), (HARD, 0.05, 0.09, 0.015)], ids=["clean", "hard"])
def test_two_hundred_transforms(shared_data: Path, condition: Condition, median: float, p95: float,
                                bias: float) -> None:
    """On eight real tissues, in coarse px."""
    facts = measured(shared_data, condition, 26, 0)["icgn (default)"].facts()
    assert facts["fields"] >= 0.98 * 26 * len(TISSUES)
    assert facts["median_px"] <= median and facts["p95_px"] <= p95 and facts["bias_px"] <= bias
    assert 0.7 <= facts["estimate_over_error"] <= 1.4


def test_three_thousand_placements(shared_data: Path) -> None:
    """None that is accepted is wrong by more than a coarse pixel; at most 2 % of usable fields are refused."""
    table = judge(placements(shared_data, list(TISSUES), 24))
    assert sum(row["placements"] for row in table.values()) >= 3000
    assert {kind: row["wrong ones"] for kind, row in table.items() if row["wrong"]} == {}
    assert table["true"]["usable refused"] <= 0.02 * table["true"]["usable"]


@pytest.mark.parametrize(("kind", "bar"), [("easy", 0.03), ("vignette", 0.05), ("blank", 0.03)])
def test_thirty_six_tiles(shared_data: Path, kind: str, bar: float) -> None:
    scanned = scan(scene(shared_data, "psr_liver.jpg"), KINDS[kind], 5)
    assert rmse_px(own(scanned), scanned) <= bar


def test_from_tiles_to_place(shared_data: Path, tmp_path: Path) -> None:
    """Scans of real tissue through the whole stage: stitched, found, refined, cut."""
    plan = make_plan({
        "run": {"output": str(tmp_path / "run")},
        "source": {"plugin": "simulate", "options": {
            "scenes": [str(shared_data / "train" / name) for name in ("he_liver_gtex.jpg", "psr_liver.jpg")],
            "max_scene_px": 1024}},
        "model": {"plugin": "bicubic"}, "split": {"test": 1, "validation": 0}})
    superres.Pipeline(plan).run(until="register")
    rows = json.loads((tmp_path / "run/registration.json").read_text())["pairs"]
    errors = [row["true_error_px"] for row in rows if row["kept"]]
    assert len(errors) >= 0.98 * len(rows) and np.percentile(errors, 95) <= 0.05
