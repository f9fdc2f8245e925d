"""The examples, whole, against the bars that the project set itself.  Minutes each: `make test-all`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.run.scan_variants import OWN_TABLE, own_table, shuffled, twelve_bits, without_tables

pytestmark = pytest.mark.slow


def run(example, folder, project_root, *words, output=None, **environment):
    """scores.json and registration.json of an example; output: the run folder, if not the example's own."""
    output = output or folder / "runs" / example
    command = [
        sys.executable,
        "-m",
        "superres",
        "run",
        str(project_root / "examples" / example / "pipeline.toml"),
        "--set",
        f"run.output={output}",
        *words,
    ]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((output / "scores.json").read_text()), json.loads((output / "registration.json").read_text())


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory, project_root):
    """The desk with the quickstart's scan on it, and the network's SSIM of the direct run."""
    desk = tmp_path_factory.mktemp("quickstart")
    scores, _ = run("quickstart", desk, project_root)
    subprocess.run([sys.executable, "-m", "superres", "simulate", "--out", "scan"], cwd=desk, check=True)
    return desk, scores["summary"]["ssim"]


def test_quickstart(quickstart):
    _, ssim = quickstart
    assert ssim["model"] > ssim["bicubic"] + 0.02


VARIANTS = {
    "as simulate writes it": lambda scan, target: scan,
    "without positions": without_tables,
    "shuffled names": shuffled,
    "12 bits in 16": twelve_bits,
    "a table of one's own": own_table,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_quickstart_from_folders(quickstart, variant, project_root):
    """Registered, trained and scored again from the folder: the very numbers of the direct run, within 0.002."""
    desk, direct = quickstart
    folder = VARIANTS[variant](desk / "scan", desk / variant.replace(" ", "-"))
    words = []
    if variant == "a table of one's own":
        words = ["--set", "source.options.positions=csv", "--set", f"source.options.positions_csv={folder / OWN_TABLE}"]
    output = desk / f"run-{folder.name}"
    folders, _ = run("folders", desk, project_root, *words, output=output, SUPERRES_SCAN=str(folder))
    assert folders["summary"]["ssim"]["model"] == pytest.approx(direct["model"], abs=0.002)


def test_single_channel_images_train_and_gain(tmp_path, project_root):
    """The same scan by a monochrome camera; a third of the steps, as only "runs through" is asked."""
    scores, _ = run("quickstart", tmp_path, project_root, "--set", "source.options.monochrome=true",
                    "--set", "train.augment=flips-and-turns", "--set", "train.steps=240")
    ssim = scores["summary"]["ssim"]
    assert ssim["model"] > ssim["bicubic"]


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
