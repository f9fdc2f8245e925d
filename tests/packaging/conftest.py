"""A copy of the sources to build from, and a PATH without compiler and CMake."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SOURCES = ("pyproject.toml", "setup.py", "CMakeLists.txt", "MANIFEST.in", "LICENSE", "README.md", "constraints.txt",
           "superres", "csrc", "examples")
BASIC_TOOLS = ("sh", "env", "ls", "cat", "cp", "mv", "rm", "mkdir", "uname", "sed", "grep", "dirname", "basename")


@pytest.fixture
def sources(tmp_path: Path, project_root: Path) -> Path:
    """A copy of what a clean clone holds, without products of earlier builds."""
    folder = tmp_path / "sources"
    folder.mkdir()
    left_out = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", "runs")
    for name in SOURCES:
        origin = project_root / name
        if origin.is_dir():
            shutil.copytree(origin, folder / name, ignore=left_out)
        elif origin.exists():
            shutil.copy(origin, folder / name)
    return folder


@pytest.fixture
def bare_environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a computer without compiler and CMake: basic tools on PATH, nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in BASIC_TOOLS:
        tool = shutil.which(name)
        if tool:
            (folder / name).symlink_to(tool)
    kept = {key: value for key, value in os.environ.items()
            if key.startswith("PIP_") or key in {"HOME", "LANG", "TMPDIR"}}
    return {**kept, "PATH": str(folder)}
