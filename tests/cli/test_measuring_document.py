"""docs/measuring.md: every command in it runs as it is written, and its pictures are there and small."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from superres.builtin.sources.simulate import SimulateSource
from superres.image import Image
from superres.io.images import write_image
from superres.io.weights import read_weights, write_weights
from superres.optics import Optics
from superres.optics.usaf.target import TargetSpec, draw_target
from superres.weights import shipped_weights
from tests.optics.edges import gaussian_edge


@pytest.fixture
def desk(tmp_path, weights_file, monkeypatch, rng):
    """The files that the document names."""
    monkeypatch.chdir(tmp_path)
    drawn = draw_target(TargetSpec(first_group=8, nests=1, margin_um=2.5), 3.90625 / 12)
    write_image("target.tif", Image(np.rint(255 * drawn.transmittance).astype(np.uint8), 3.90625 / 12))
    write_image("edge.png", Image(np.rint(255 * gaussian_edge(5, 1.0)).astype(np.uint8), 0.1))
    for number in (1, 2):
        frame = 0.5 + 0.1 * gaussian_edge(5, 2.0, 160, 160) + rng.normal(0, 0.01, (160, 160))
        write_image(f"exposure-{number}.tif", Image(np.rint(65535 * frame).astype(np.uint16), 0.1, 65535.0))
    pair = SimulateSource(scenes=["builtin:ihc"], give="pairs", max_scene_px=330).acquire().pairs[0]
    write_image("photo.tif", pair.coarse)
    write_image("pairs/coarse/ihc/field.tif", pair.coarse)
    write_image("pairs/fine/ihc/field.tif", pair.fine)
    weights = replace(read_weights(weights_file), coarse=Optics(0.95, magnification=40),
                      fine=Optics(1.4, refractive_index=1.515, magnification=100))
    for name in ("weights.safetensors", "other.safetensors"):
        write_weights(tmp_path / name, weights)
    return tmp_path


@pytest.mark.slow
def test_every_command_of_the_document_runs(superres, desk, project_root):
    text = (project_root / "docs" / "measuring.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]
    assert len(commands) >= 9 and {command[0] for command in commands} == {"superres"}
    for command in commands:
        outcome = superres(*command[1:])
        assert outcome.status == 0, f"{shlex.join(command)}\n{outcome.err}"
    pages = {word for command in commands for word in command if word.endswith(".html")}
    assert all((desk / page).is_file() for page in pages)


def test_its_pictures_and_anchors_are_there(project_root):
    folder = project_root / "docs"
    text = (folder / "measuring.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) >= 4
    for name in pictures:
        assert (folder / name).stat().st_size <= 300_000
        assert cv2.imread(str(folder / name)) is not None
    headings = {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-")
                for line in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


@pytest.mark.slow
def test_its_pictures_can_be_made_again(tmp_path, project_root, shared_data):
    scan = shared_data / "usaf" / "usaf_real_scan_319x312.npy"
    made_by = project_root / "docs" / "measuring_pictures.py"
    done = subprocess.run([sys.executable, made_by, shipped_weights(), scan, tmp_path],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for path in sorted(tmp_path.glob("*.png")):
        made, committed = (cv2.imread(str(each)).astype(int) for each in (path, project_root / "docs" / path.name))
        assert made.shape == committed.shape
        # Another processor rounds otherwise; a curve that runs elsewhere near its end changes 0.6 % of the pixels.
        assert np.mean(np.abs(made - committed).max(axis=2) > 32) < 0.001, f"{path.name} is not what is made today"
    assert len(list(tmp_path.glob("*.png"))) == 4
