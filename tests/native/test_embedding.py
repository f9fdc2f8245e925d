"""libsuperres inside a program in C that gives it wrong numbers: each is refused with a reason, under sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from . import builds

PROGRAM = Path(__file__).parent / "embedding"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("tree")
    builds.run(builds.tool("cmake"), "--install", builds.emulation(), "--prefix", folder)
    return folder


def configure(tree: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [builds.tool("cmake"), "-S", str(PROGRAM), "-B", str(folder), "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={tree}",
         f"-DCMAKE_MAKE_PROGRAM={builds.tool('ninja')}", "-DCMAKE_BUILD_TYPE=Debug", *options],
        capture_output=True, text=True, check=False)


def test_a_program_in_c99_is_refused_wrong_numbers_and_not_ended_by_them(tree, tmp_path, project_root):
    assert configure(tree, tmp_path).returncode == 0
    builds.run(builds.tool("cmake"), "--build", tmp_path)
    said = builds.run(tmp_path / "refusals", project_root / "tests" / "data" / "quickstart-weights.safetensors")
    assert "band: 1, the band has 4 rows from 9223372036854775806 on, of 61; expected multiples of " in said
    assert "forward: 1, the band is not one of sr_band_of's" in said


def test_a_project_without_cxx_is_told_so_before_its_linker_fails(tree, tmp_path):
    done = configure(tree, tmp_path, "-DAS_CXX_TOO=OFF")
    assert done.returncode != 0
    assert "LANGUAGES C CXX" in " ".join(done.stderr.split()), done.stderr
