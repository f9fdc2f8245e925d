"""What all tests share: one thread a worker, the real micrographs, a seeded generator."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers on two cores: a second thread in each only makes them wait for one another.  Set before numpy, torch
    # or OpenCV are imported, which read it then; child processes inherit it.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[variable] = "1"

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A deadline measures the machine, not the code; the same examples in each run make a failure one that stays.
hypothesis.settings.register_profile("superres", deadline=None, derandomize=True)
hypothesis.settings.load_profile("superres")


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real micrographs: $SUPERRES_DATA, or ../shared/data beside the repository."""
    named = os.environ.get("SUPERRES_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real micrographs are not at '{folder}'; set SUPERRES_DATA to their folder")
    return folder.resolve()


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with the same seed for every test."""
    return np.random.default_rng(7)
