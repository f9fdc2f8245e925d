"""benchmarks/gpu.sh where there is no GPU: its steps are right, and it says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def gpu_script(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(root / "benchmarks" / "gpu.sh")], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})


def test_a_dry_run_names_every_step_and_files_that_exist(project_root: Path) -> None:
    done = gpu_script(project_root, DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    for words in ("SUPERRES_CUDA_ARCHITECTURES=90a-real", "cmake --build", "superres doctor",
                  "tests/native/test_gpu.py", "--benchmark-json=benchmarks/history/gpu-"):
        assert words in done.stdout
    named = [word for word in done.stdout.split() if word.startswith(("tests/", "benchmarks/bench"))]
    assert len(named) == 3 and all((project_root / name).is_file() for name in named)
    assert "../shared" not in (project_root / "benchmarks" / "gpu.sh").read_text()


def test_without_a_gpu_it_says_so_in_two_lines(project_root: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("a GPU may be here")
    done = gpu_script(project_root)
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
