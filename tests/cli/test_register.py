"""`superres register`, on folders and on a pipeline file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from superres.builtin.sources.simulate import SimulateSource
from superres.cli import app
from superres.io.images import read_image, write_image
from superres.scan_folder import write_scan_folder

SCENES = {"scenes": ["builtin:tissue:1"], "tissue_px": 512, "tile_px": 128, "field_px": 200, "fields_per_specimen": 3}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan folder whose last field shows nothing."""
    folder = tmp_path_factory.mktemp("register")
    write_scan_folder(SimulateSource(**SCENES).acquire(), folder / "scan")
    path = sorted((folder / "scan/fine").glob("*/*.tif"))[-1]
    image = read_image(path)
    noise = np.random.default_rng(0).normal(240, 1, image.pixels.shape)
    write_image(path, image.with_pixels(np.rint(noise).clip(0, 255).astype(np.uint8)))
    return folder


def test_folders_need_no_pipeline_file(desk: Path) -> None:
    done = CliRunner().invoke(app, ["register", str(desk / "scan"), "--out", str(desk / "found")])
    assert done.exit_code == 0, done.output
    assert "kept 2 of 3 fields; residual, by the registrar's own estimate: median 0.00" in done.stdout
    assert "rejected tissue-0_f02 (blank)" in done.stdout
    page = (desk / "found/registration.html").read_text()
    assert page.count("<polygon") == 2 and "tissue-0_f02" in page
    rows = json.loads((desk / "found/registration.json").read_text())["pairs"]
    assert [len(row["outline_um"] or ()) for row in rows] == [4, 4, 0]
    assert all(len(row["residuals_um"]) >= 9 for row in rows if row["kept"])


def test_a_run_goes_on_from_it(desk: Path) -> None:
    """The same pipeline file and folder: the register stage is taken over."""
    pipeline = desk / "pipeline.toml"
    pipeline.write_text(f"""
        run.output = "{desk / 'run'}"
        source = {{ plugin = "acquisition", options = {{ folder = "{desk / 'scan'}" }} }}
        model.plugin = "bicubic"
        split = {{ test = 1, validation = 0 }}
        evaluate = [{{ plugin = "ssim" }}]
    """)
    first = CliRunner().invoke(app, ["register", str(pipeline)])
    assert first.exit_code == 0, first.output
    made = (desk / "run/registration.json").stat().st_mtime_ns
    done = CliRunner().invoke(app, ["run", str(pipeline)])
    assert done.exit_code == 0, done.output
    assert (desk / "run/registration.json").stat().st_mtime_ns == made
    assert (desk / "run/report.html").read_text().count("<polygon") == 2


@pytest.mark.parametrize("scale", ["2.5", "a/b", "/2"])
def test_a_scale_that_is_no_ratio(desk: Path, scale: str) -> None:
    done = CliRunner().invoke(app, ["register", str(desk / "scan"), "--scale", scale])
    assert done.exit_code == 2 and "is not a ratio of whole numbers" in done.output
