"""The examples, whole, against the bars that the project set itself.  Minutes each: `make test-all`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def run(example, folder, project_root, *words, **environment):
    command = [
        sys.executable,
        "-m",
        "superres",
        "run",
        str(project_root / "examples" / example / "pipeline.toml"),
        *words,
    ]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    output = folder / "runs" / example
    return json.loads((output / "scores.json").read_text()), json.loads((output / "registration.json").read_text())


def test_quickstart_and_the_same_from_folders(tmp_path, project_root):
    scores, _ = run("quickstart", tmp_path, project_root)
    direct = scores["summary"]["ssim"]
    assert direct["model"] > direct["bicubic"] + 0.02
    subprocess.run([sys.executable, "-m", "superres", "simulate", "--out", "scan"], cwd=tmp_path, check=True)
    folders, _ = run("folders", tmp_path, project_root, SUPERRES_SCAN="scan")
    assert folders["summary"]["ssim"]["model"] == pytest.approx(direct["model"], abs=0.002)


def test_tissue(tmp_path, project_root, shared_data):
    scores, registration = run("tissue", tmp_path, project_root, SUPERRES_DATA=str(shared_data))
    pairs = registration["pairs"]
    kept = [pair for pair in pairs if pair["kept"]]
    assert len(kept) >= 0.95 * len(pairs)
    assert np.median([pair["true_error_px"] for pair in kept]) <= 0.08
    specimens = scores["specimens"]
    assert len(specimens) == 4
    assert np.mean([each["ssim"]["model"] - each["ssim"]["bicubic"] for each in specimens.values()]) >= 0.04
    assert all(each["ssim"]["model"] > each["ssim"]["bicubic"] for each in specimens.values())
