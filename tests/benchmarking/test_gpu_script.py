"""benchmarks/gpu.sh where there is no GPU: its steps are right, and it says what is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

FILES = ("benchmarks/bench_gpu_engines.py", "benchmarks/bench_gpu_stream.py", "tests/native/test_parity.py",
         "tests/native/test_fused.py", "tests/native/test_graph.py", "tests/native/test_gpu.py")


def gpu_script(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(root / "benchmarks" / "gpu.sh")], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})


def test_a_dry_run_names_every_step_and_files_that_exist(project_root: Path) -> None:
    done = gpu_script(project_root, DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    for words in ("SUPERRES_CUDA_ARCHITECTURES=90a-real", "SUPERRES_TESTS=ON", "cmake --build", "cmake -G Ninja",
                  "tests/native/test_gpu.py", "--benchmark-json=benchmarks/history/gpu-"):
        assert words in done.stdout
    named = {word for word in done.stdout.split() if word.startswith(("tests/", "benchmarks/bench"))}
    assert named == set(FILES) and all((project_root / name).is_file() for name in named)
    assert "../shared" not in (project_root / "benchmarks" / "gpu.sh").read_text()


BENCHMARKS = """
import time

def test_quick(benchmark):
    benchmark.pedantic(int, rounds=1)

def test_endless(benchmark):
    benchmark.pedantic(lambda: time.sleep(600), rounds=1)
"""


def test_a_step_that_is_cut_off_leaves_what_it_had_measured(project_root: Path, tmp_path: Path) -> None:
    """By the script's own words for it, of a pytest in earnest."""
    text = (project_root / "benchmarks" / "gpu.sh").read_text()
    (words,) = re.findall(r'^ *(timeout .*) "\$\(\(LIMIT_S', text, re.MULTILINE)
    (tmp_path / "test_two.py").write_text(BENCHMARKS)
    shutil.copy(project_root / "benchmarks" / "conftest.py", tmp_path)
    # What xdist tells its workers would switch the measuring off.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    for limit_s in ("8", "30", "90"):  # on a busy machine pytest takes its time to start
        done = subprocess.run([*words.split(), limit_s, sys.executable, "-m", "pytest", "-q", "-n", "0", "-p",
                               "no:cacheprovider", "--benchmark-json=times.json", "test_two.py"], cwd=tmp_path,
                              env=alone, capture_output=True, text=True, check=False)
        assert done.returncode == 124, done.stdout + done.stderr
        if (tmp_path / "times.json").exists():
            break
    kept = json.loads((tmp_path / "times.json").read_text())["benchmarks"]
    assert [each["name"] for each in kept] == ["test_quick"]


def is_selected(name: str, expression: str) -> bool:
    """pytest's -k for words joined by `and`, some with `not`."""
    return all((word.removeprefix("not ") in name) != word.startswith("not ") for word in expression.split(" and "))


def test_every_test_on_a_gpu_and_every_time_is_in_exactly_one_step(project_root: Path) -> None:
    text = (project_root / "benchmarks" / "gpu.sh").read_text()
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "", "--collect-only", *FILES],
                          cwd=project_root, capture_output=True, text=True, check=True)
    names = [line for line in done.stdout.splitlines() if "::" in line]
    times = [name for name in names if "kernels_beside_pytorch" in name]
    selections = re.findall(r"-k (kernels_beside_pytorch and .*)$", gpu_script(project_root, DRY_RUN="1").stdout,
                            re.MULTILINE)
    assert len(times) == 15 and len(selections) == 6
    assert all(sum(is_selected(name, each) for each in selections) == 1 for name in times)
    steps = list(re.findall(r'-k "([^$"]*)"', text))
    assert steps == ["not emulated and not compute_sanitizer", "compute_sanitizer"]
    tests = [name for name in names if name.startswith("tests/") and "emulated" not in name]
    assert len(tests) > 60 and all(sum(is_selected(name, each) for each in steps) == 1 for name in tests)


def test_without_a_gpu_it_says_so_in_two_lines(project_root: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("nvidia-smi is here: the script would measure instead of refusing")
    done = gpu_script(project_root)
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]


PYTHON = """#!/usr/bin/env bash
here=$(dirname "$0")
echo "$*" >> "$here/calls"
case "$*" in
  -) if [ ! -f "$here/wheels-installed" ]; then cat "$here/missing"; fi ;;
  *pip*install*) touch "$here/wheels-installed" ;;
  *"-k compute_sanitizer"*) ;;
  *test_parity.py*) cp superres/native/_core.so "$here/used"; if [ ! -f "$here/is-sound" ]; then exit 3; fi ;;
  *"and compile") if [ -f "$here/compiles-slowly" ]; then exit 124; fi ;;
  *bench_gpu*)
    echo "parity=$SUPERRES_PARITY build=$SUPERRES_GPU_BUILD path=$PYTHONPATH of $SUPERRES_COMMIT" >> "$here/calls" ;;
esac
"""


@pytest.fixture
def machine(project_root: Path, tmp_path: Path) -> Path:
    """A checkout with a native module of its own, on a machine whose tools only say that they were called."""
    for folder in ("benchmarks", "superres/native", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(project_root / "benchmarks" / "gpu.sh", tmp_path / "benchmarks")
    (tmp_path / "superres" / "native" / "_core.so").write_text("the developer's")
    programs = {"python": PYTHON, "nvcc": "#!/bin/sh\n", "ninja": "#!/bin/sh\n",
                "nvidia-smi": "#!/bin/sh\necho 8.0\n",
                "cmake": "#!/bin/sh\nmkdir -p build/gpu && echo new > build/gpu/_core.so\n"}
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "bin" / "missing").write_text("")
    return tmp_path


def run_on(machine: Path, **environment: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """What the script says there, called from that folder with a relative PYTHON, and what it asked of PYTHON."""
    done = subprocess.run(["bash", "../benchmarks/gpu.sh"], capture_output=True, text=True, check=False,
                          cwd=machine / "bin",
                          env={"PATH": f"{machine / 'bin'}:/usr/bin:/bin", "PYTHON": "./python"} | environment)
    return done, (machine / "bin" / "calls").read_text()


def test_times_follow_a_parity_that_failed_and_the_status_stays(machine: Path) -> None:
    done, calls = run_on(machine)
    assert done.returncode == 3, done.stderr
    assert "PARITY FAILED (3)" in done.stdout and "do not commit" in done.stdout
    assert calls.count("bench_gpu_engines.py") == 6
    assert f"parity=failed (3) build={machine}/build/gpu" in calls


def test_torch_compile_that_is_cut_off_is_no_failure(machine: Path) -> None:
    """Its autotuning takes as long as it takes; nothing that was to be shown of the kernels is missing."""
    for name in ("is-sound", "compiles-slowly"):
        (machine / "bin" / name).touch()
    done, _ = run_on(machine)
    assert done.returncode == 0, done.stdout
    assert "torch.compile was cut off at 160²" in done.stdout


def test_there_is_an_end_to_all_steps_together(machine: Path, project_root: Path) -> None:
    assert "TOTAL_S=${TOTAL_S:-480}" in (project_root / "benchmarks" / "gpu.sh").read_text()
    (machine / "bin" / "is-sound").touch()
    done, _ = run_on(machine, TOTAL_S="9")
    assert done.returncode == 124 and "no time is left of 9 s" in done.stdout


def test_wheels_on_pythonpath_stay_there(machine: Path) -> None:
    """A machine whose Python must not be written to is given what it lacks so."""
    _, calls = run_on(machine, PYTHONPATH="/carried")
    assert f"path={machine}:/carried of " in calls


def test_results_name_the_commit_where_the_sources_came_without_git(machine: Path) -> None:
    (machine / "bin" / "is-sound").touch()
    done, calls = run_on(machine, COMMIT="1a2b3c4")
    assert " of 1a2b3c4\n" in calls and re.search(r"results: benchmarks/history/gpu-[\d-]+-1a2b3c4-\*", done.stdout)


def test_the_kernels_for_the_card_are_used_and_the_developers_module_is_put_back(machine: Path) -> None:
    module = machine / "superres" / "native" / "_core.so"
    run_on(machine)
    assert (machine / "bin" / "used").read_text() == "new\n"
    assert module.read_text() == "the developer's"
    # After a run that was killed half-way.
    shutil.move(module, machine / "build" / "gpu" / "former")
    shutil.copy(machine / "build" / "gpu" / "_core.so", module)
    run_on(machine)
    assert module.read_text() == "the developer's"


def test_missing_wheels_are_named_or_installed_from_a_folder(machine: Path) -> None:
    (machine / "bin" / "missing").write_text("hypothesis pytest-benchmark\n")
    done, _ = run_on(machine)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ") and error.endswith("/python lacks: hypothesis pytest-benchmark")
    assert hint.startswith("hint: ") and "--no-index --find-links FOLDER hypothesis pytest-benchmark" in hint
    done, calls = run_on(machine, WHEELS="wheels")
    assert done.returncode == 3
    assert f"pip install --no-index --find-links {machine}/bin/wheels hypothesis pytest-benchmark" in calls


def question(root: Path) -> str:
    """What the script asks a Python about itself."""
    return (root / "benchmarks" / "gpu.sh").read_text().split("<<'EOF'\n")[1].split("EOF\n")[0]


def test_a_module_that_this_python_lacks_is_seen(project_root: Path) -> None:
    """The question itself, asked of a Python that sees no packages."""
    lacking = subprocess.run([sys.executable, "-I", "-S", "-c", question(project_root)], capture_output=True, text=True,
                             check=True).stdout.split()
    assert {"torch", "pybind11", "pydantic", "pytest-benchmark", "opencv-contrib-python"} <= set(lacking)
    here = subprocess.run([sys.executable, "-c", question(project_root)], capture_output=True, text=True,
                          check=True).stdout.split()
    assert set(here) <= {"triton"}      # comes with CUDA builds of torch alone


def test_a_pybind11_that_cmake_would_refuse_is_seen(project_root: Path) -> None:
    asked = question(project_root).replace("from importlib.metadata import version", "version = lambda name: '2.13.6'")
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert "pybind11~=3.0" in done.stdout.split()
    assert "find_package(pybind11 3.0 CONFIG" in (project_root / "CMakeLists.txt").read_text()


WITHOUT = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import numpy, pytest
assert pytest.main(["-q", "-m", "", "--collect-only", "-p", "no:cacheprovider", {files}]) == 0
from superres.engine import Engine
engine = Engine.load("tests/data/quickstart-weights.safetensors", device="cpu", engine="torch")
assert engine(numpy.zeros((8, 9, 3), numpy.uint8)).shape == (20, 23, 3)
"""


def test_the_steps_need_no_other_packages_than_are_asked_for(project_root: Path) -> None:
    """A package that is asked for in vain must be carried to a machine without a network, or nothing is measured."""
    (names,) = re.findall(r'^needed = "(.*)"$', question(project_root), re.MULTILINE)
    modules = {"opencv-contrib-python": "cv2", "scikit-image": "skimage"}
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    depended = [re.split(r"[\[>=<~]", each)[0] for each in
                [*project["dependencies"], *project["optional-dependencies"]["openvino"]]]
    missing = {modules.get(name, name) for name in depended} - set(names.split())
    assert len(missing) >= 8
    files = ", ".join(f'"{name}"' for name in FILES)
    done = subprocess.run([sys.executable, "-c", WITHOUT.format(missing=missing, files=files)], cwd=project_root,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
