"""What `make install` says while pip is silent.  pip is a stand-in here: nothing is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def said_by_make(project_root: Path, tmp_path: Path, environment: dict[str, str], nvcc: bool) -> str:
    """The output of the target that installs superres, into an environment whose Python does nothing."""
    for folder, name in (("venv/bin", "python"), *([("tools", "nvcc")] if nvcc else [])):
        program = tmp_path / folder / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
    tools = tmp_path / "bin"
    for name in ("touch", "find", "date", "git"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    done = subprocess.run(
        [str(shutil.which("make")), "-C", str(project_root), f"VENV={tmp_path / 'venv'}",
         str(tmp_path / "venv/.superres-installed")],
        env={**environment, "PATH": f"{tmp_path / 'tools'}:{environment['PATH']}"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("settings", "nvcc", "kernels", "module"), [
    ({}, False, False, True),
    ({}, True, True, True),
    ({"SUPERRES_CUDA": "OFF"}, True, False, True),
    ({"SUPERRES_NATIVE": "OFF"}, True, False, False),
])
def test_make_says_what_it_compiles(project_root: Path, tmp_path: Path, bare_environment: dict[str, str],
                                    settings: dict[str, str], nvcc: bool, kernels: bool, module: bool) -> None:
    said = said_by_make(project_root, tmp_path, bare_environment | settings, nvcc)
    assert "== installing superres" in said
    assert ("== compiling the native module" in said) is module
    assert ("kernels for GPUs, as nvcc was found" in said and "SUPERRES_CUDA=OFF leaves" in said) is kernels
