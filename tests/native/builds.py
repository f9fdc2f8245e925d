"""Builds of libsuperres for the tests, each made once and kept in build/."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = os.environ.get("SUPERRES_REQUIRE_CUDA") == "1"


def missing(reason: str) -> None:
    """Skip, or fail where SUPERRES_REQUIRE_CUDA=1 says that nothing may be missing."""
    if REQUIRED:
        pytest.fail(f"SUPERRES_REQUIRE_CUDA=1, but {reason}")
    pytest.skip(reason)


def beyond(reason: str) -> None:
    """Skip for want of what SUPERRES_REQUIRE_CUDA=1 does not ask for: a second GPU, much memory."""
    pytest.skip(f"{reason}; SUPERRES_REQUIRE_CUDA=1 asks for one GPU of any size")


def tool(name: str) -> str:
    """A program beside this Python or on PATH; `missing` where there is none."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        missing(f"{name} is not installed")
    assert found is not None
    return found


def run(*command: str | Path, **options: object) -> str:
    """What a command says.  Raises AssertionError with it if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False,
                          **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return str(done.stdout + done.stderr)


def build(name: str, *options: str) -> Path:
    """The folder of a build with these CMake options, configured and compiled; one process at a time makes it."""
    if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        missing("no C++ compiler was found")
    cmake = tool("cmake")
    folder = ROOT / "build" / "tests" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
        run(cmake, "-S", ROOT, "-B", folder, *generator, "-DSUPERRES_PYTHON=OFF", *options)
        run(cmake, "--build", folder)
    return folder


def emulation() -> Path:
    """The kernels on the host, address and undefined-behaviour sanitizers on."""
    return build("emulation", "-DSUPERRES_CUDA=OFF", "-DSUPERRES_EMULATION=ON", "-DSUPERRES_SANITIZE=ON",
                 "-DSUPERRES_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release")


def on_gpu() -> Path:
    """The same driver for this machine's GPU; skips without one.  SUPERRES_GPU_BUILD names a build that has it."""
    ready = os.environ.get("SUPERRES_GPU_BUILD")
    if ready:
        return Path(ready)
    nvidia_smi = shutil.which("nvidia-smi")
    if nvidia_smi is None or shutil.which("nvcc") is None:
        missing("no GPU with nvcc is here")
    assert nvidia_smi is not None
    said = subprocess.run([nvidia_smi, "--query-gpu=compute_cap", "--format=csv,noheader"], capture_output=True,
                          text=True, check=False)
    if said.returncode or not said.stdout.strip():
        missing(f"nvidia-smi finds no GPU: {said.stdout}{said.stderr}")
    architecture = said.stdout.split()[0].replace(".", "")
    return build("gpu", "-DSUPERRES_CUDA=ON", f"-DSUPERRES_CUDA_ARCHITECTURES={architecture}-real",
                 "-DSUPERRES_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release")
