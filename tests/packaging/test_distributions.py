"""What is in the sdist and the wheel, and that both are made and installed where there is no compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest


def build(sources: Path, kind: str, environment: dict[str, str]) -> tuple[Path, str]:
    """(the built file, everything that was said), with this environment's own build tools: no download."""
    out = sources / "out"
    done = subprocess.run([sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "-o", str(out), str(sources)],
                          env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(said)
    (built,) = out.iterdir()
    return built, said


def own_files(sources: Path) -> set[str]:
    """Every file of the package and every example, by its name once installed."""
    package = {path.relative_to(sources).as_posix() for path in (sources / "superres").rglob("*") if path.is_file()}
    examples = {"superres/_examples/" + path.relative_to(sources / "examples").as_posix()
                for pattern in ("*.toml", "*.py") for path in (sources / "examples").rglob(pattern)}
    return package | examples


def test_wheel_without_compiler_is_pure_and_complete(sources: Path, bare_environment: dict[str, str]) -> None:
    wanted = own_files(sources)
    wheel, said = build(sources, "wheel", bare_environment)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert said.count("without its native module") == 1
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (licence,) = (name for name in names if name.endswith(".dist-info/licenses/LICENSE"))
        text = archive.read(licence).decode()
        (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        assert "superres = superres.cli:main" in archive.read(entry_points).decode()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "superres/py.typed" in names
    assert wanted - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"superres"}


def test_sdist_holds_what_a_build_needs(sources: Path, bare_environment: dict[str, str]) -> None:
    sdist, said = build(sources, "sdist", bare_environment)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {path.relative_to(sources).as_posix() for folder in ("superres", "csrc")
              for path in (sources / folder).rglob("*") if path.is_file()}
    needed |= {"setup.py", "pyproject.toml", "CMakeLists.txt", "LICENSE"}
    assert needed - names == set()
    assert "without its native module" not in said      # nothing is compiled for an sdist, so nothing is looked for


def test_asking_for_the_native_module_without_a_compiler_fails_with_the_way_out(
        sources: Path, bare_environment: dict[str, str]) -> None:
    with pytest.raises(RuntimeError) as failure:
        build(sources, "wheel", {**bare_environment, "SUPERRES_NATIVE": "ON"})
    assert "no C++ compiler was found" in str(failure.value)
    assert "SUPERRES_NATIVE=OFF" in str(failure.value)


def test_a_wrong_wish_is_refused(sources: Path, bare_environment: dict[str, str]) -> None:
    with pytest.raises(RuntimeError, match="SUPERRES_NATIVE is 'MAYBE'; expected AUTO, ON or OFF"):
        build(sources, "wheel", {**bare_environment, "SUPERRES_NATIVE": "MAYBE"})


@pytest.mark.slow
def test_wheel_with_compiler_holds_the_native_module(sources: Path) -> None:
    wheel, _ = build(sources, "wheel", {**os.environ, "SUPERRES_NATIVE": "ON"})
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "superres/native/_core" + sysconfig.get_config_var("EXT_SUFFIX") in names
    assert own_files(sources) - names == set()
    assert not wheel.name.endswith("none-any.whl")


@pytest.mark.slow
def test_a_wheel_without_kernels_for_gpus_says_so(tmp_path: Path, sources: Path) -> None:
    """SUPERRES_CUDA=OFF reaches CMake through pip's build, nvcc or not."""
    wheel, _ = build(sources, "wheel", {**os.environ, "SUPERRES_NATIVE": "ON", "SUPERRES_CUDA": "OFF"})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = ("from superres import native; info = native.build_info()\n"
              "print(info['cuda'], info['cuda_architectures'], native.device_count(), native.__file__)\n")
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
                          cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("no none 0 ") and str(tmp_path / "site") in done.stdout


@pytest.mark.slow
def test_sdist_installs_and_works_without_compiler(
        tmp_path: Path, sources: Path, bare_environment: dict[str, str]) -> None:
    """pip's own way, with build isolation (it fetches the build tools from the package registry), in a new environment.

    The dependencies come from the environment of the tests: installing them anew would test pip, not superres.
    """
    sdist, _ = build(sources, "sdist", bare_environment)
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", str(sdist)], env=bare_environment,
                   check=True)
    (place,) = environment.glob("lib/python*/site-packages")
    # Python reads no .pth file in a folder that a .pth file names, so an editable superres there stays unseen.
    (place / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    script = ("import superres, superres.native as native, importlib.resources as resources\n"
              "print(superres.__file__)\n"
              "print(native.available(), native.reason_unavailable())\n"
              "print(sorted(each.name for each in resources.files('superres').joinpath('_examples').iterdir()))\n")
    done = subprocess.run([str(python), "-c", script], env=bare_environment, cwd=tmp_path, capture_output=True,
                          text=True, check=True)
    where, native, examples = done.stdout.splitlines()
    assert str(environment) in where
    assert native.startswith("False ")
    assert "SUPERRES_NATIVE=ON" in native
    assert "quickstart" in examples
    shown = subprocess.run([str(environment / "bin" / "superres"), "--help"], env=bare_environment, cwd=tmp_path,
                           capture_output=True, text=True, check=True)
    assert "upscale" in shown.stdout
