"""The native module tells how it was built, or why it is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import superres
from superres import native


def test_either_a_build_or_a_reason() -> None:
    assert native.available() == (native.reason_unavailable() == "") == bool(native.build_info())


def test_the_module_is_of_this_release() -> None:
    """An editable install keeps its compiled module when the sources move on: this is where it shows."""
    info = native.build_info()
    if not native.available():
        assert info == {}
        return
    assert list(info) == ["version", "compiler", "cxx_standard", "build_type", "cuda", "cuda_architectures"]
    assert info["version"] == superres.__version__
    assert info["cxx_standard"] in {"17", "20", "23"}
    assert info["build_type"] == "Release"
    assert info["cuda"] in {"yes", "no"}
    assert (info["cuda_architectures"] == "none") == (info["cuda"] == "no")


def test_the_module_loads_without_a_gpu() -> None:
    """The runtime of CUDA is inside it: with every GPU hidden it loads, and counts none."""
    code = "from superres import native; print(native.available(), native.device_count())"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                          capture_output=True, text=True, check=True)
    assert done.stdout == f"{native.available()} 0\n"


@pytest.mark.parametrize(("content", "reason"), [
    (None, "SUPERRES_NATIVE=ON"),
    ("raise ImportError('libfoo.so.1: cannot open shared object file')", "libfoo.so.1"),
    ("import a_library_that_is_missing", "a_library_that_is_missing"),
])
def test_python_goes_on_without_it(tmp_path: Path, project_root: Path, content: str | None, reason: str) -> None:
    """A copy of the package without _core, or with one that cannot load, says what is wrong and works."""
    package = tmp_path / "superres"
    (package / "native").mkdir(parents=True)
    (package / "__init__.py").touch()
    source = project_root / "superres" / "native" / "__init__.py"
    (package / "native" / "__init__.py").write_text(source.read_text())
    if content is not None:
        (package / "native" / "_core.py").write_text(content)
    script = "from superres import native; print(native.available(), native.build_info(), native.reason_unavailable())"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False {} ")
    assert reason in done.stdout
