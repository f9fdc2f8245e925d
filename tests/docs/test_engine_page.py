"""docs/engine.md: its snippet and its commands run, and its numbers are those of committed measurements."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from superres import native

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
WEIGHTS = ROOT / "tests" / "data" / "quickstart-weights.safetensors"


def blocks(language: str) -> list[str]:
    return [str(found) for found in re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)]


def block(language: str) -> str:
    (found,) = blocks(language)
    return found


@pytest.mark.skipif(not native.available(), reason=native.reason_unavailable())
@pytest.mark.parametrize("snippet", blocks("python"), ids=["one frame", "a stream of frames"])
def test_the_snippets_run(tmp_path, monkeypatch, snippet):
    shutil.copy(WEIGHTS, tmp_path / "weights.safetensors")
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "docs/engine.md", "exec"), {})


def test_what_was_never_run_on_a_gpu_is_said(project_root):
    """Until a result of benchmarks/gpu.sh is committed."""
    if list((project_root / "benchmarks" / "history").glob("gpu-*.json")):
        pytest.skip("a measurement on a GPU is committed")
    assert "not yet measured on a GPU" in PAGE
    assert "run on a GPU yet" in (project_root / "README.md").read_text(encoding="utf-8")


def test_links_of_the_page_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in target]
    assert targets and all((ROOT / "docs" / target).exists() for target in targets)


@pytest.mark.slow
def test_the_commands_run(tmp_path):
    for name in ("csrc", "examples/cpp", "CMakeLists.txt", "superres/_version.py",
                 "tests/data/quickstart-weights.safetensors"):
        origin, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(origin, target) if origin.is_dir() else shutil.copy(origin, target)
    cv2.imwrite(str(tmp_path / "frame.ppm"), np.full((8, 10, 3), 200, np.uint8))
    done = subprocess.run(["bash", "-euc", block("sh")], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert cv2.imread(str(tmp_path / "sharp.ppm")).shape == (20, 25, 3)
