"""Build script: decides whether the native module is built, and says so.

Why not pyproject.toml alone: superres must install on a microscope's computer that has neither a compiler nor CMake,
and scikit-build-core's setuptools plugin builds whenever it is given a source directory.  So this file looks first:

    SUPERRES_NATIVE=AUTO  (default) build superres.native._core where CMake and a C++17 compiler with the Python headers
                          are found; otherwise install pure Python, with one warning.
    SUPERRES_NATIVE=ON    build it, or fail.
    SUPERRES_NATIVE=OFF   do not build it.

A build that was decided on and then fails is an error under AUTO too: a compiler that works on the trial program and
not on csrc/ is a bug to report, not a reason to leave the module out in silence.

Nothing is looked for while only metadata or an sdist are made.  pip shows the warning with `-v` only; at run time
`superres.native.reason_unavailable()` says the same.

The examples live in examples/ of the repository and are installed as superres/_examples/.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
COMMANDS_THAT_BUILD = {"build", "build_ext", "build_cmake", "bdist_wheel", "editable_wheel", "install", "develop"}
TRIAL = "#include <Python.h>\n#include <optional>\nint main() { return std::optional<int>(0).value(); }\n"


def native_wish() -> str:
    wish = os.environ.get("SUPERRES_NATIVE", "AUTO").upper()
    if wish not in {"AUTO", "ON", "OFF"}:
        raise SystemExit(f"error: SUPERRES_NATIVE is {wish!r}; expected AUTO, ON or OFF")
    return wish


def missing_tool() -> str:
    """What keeps the native module from being built here, in words; empty when nothing does."""
    return missing_cmake() or missing_compiler()


def missing_cmake() -> str:
    from scikit_build_core.cmake import CMake
    from scikit_build_core.errors import CMakeNotFoundError

    try:
        CMake.default_search()      # the same search that the build does: the `cmake` package first, then PATH
    except CMakeNotFoundError:
        return "CMake was not found"
    return ""


def missing_compiler() -> str:
    if sys.platform == "win32":
        return ""                   # CMake finds Visual Studio by the registry, not on PATH
    named = os.environ.get("CXX", "").split()
    candidates = [named] if named else [["c++"], ["g++"], ["clang++"]]
    found = [command for command in candidates if shutil.which(command[0])]
    if not found:
        return f"no C++ compiler was found ({', '.join(command[0] for command in candidates)})"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "trial.cpp")
        source.write_text(TRIAL)
        headers = sysconfig.get_paths()["include"]
        command = [*found[0], "-std=c++17", "-I", headers, "-c", str(source), "-o", str(Path(folder, "trial.o"))]
        trial = subprocess.run(command, capture_output=True, text=True, check=False)
    if trial.returncode:
        reason = next((line for line in trial.stderr.splitlines() if "error" in line), "no message").strip()
        return f"{found[0][0]} cannot compile a C++17 program with Python's headers: {reason}"
    return ""


def native_source_dir() -> str | None:
    """The folder of CMakeLists.txt where the native module is to be built, else None."""
    wish = native_wish()
    if wish == "OFF" or not COMMANDS_THAT_BUILD.intersection(sys.argv):
        return None
    reason = missing_tool()
    if not reason:
        return "."
    if wish == "ON":
        raise SystemExit(f"error: SUPERRES_NATIVE=ON, but {reason}\n"
                         "hint: install CMake and a C++17 compiler, or set SUPERRES_NATIVE=OFF")
    print(f"warning: superres is installed without its native module: {reason}. Everything works, in Python; "
          "SUPERRES_NATIVE=ON turns this warning into an error.", file=sys.stderr)
    return None


def example_packages() -> dict[str, str]:
    """Package name → folder, for examples/ and each folder in it: where they lie once installed."""
    root = HERE / "examples"
    folders = [root, *(path.parent for path in root.glob("**/*.toml"))] if root.is_dir() else []
    return {".".join(["superres", "_examples", *folder.relative_to(root).parts]): folder.relative_to(HERE).as_posix()
            for folder in folders}


examples = example_packages()
source_dir = native_source_dir()
setup(
    packages=[*find_packages(include=["superres", "superres.*"]), *examples],
    package_dir=examples,
    include_package_data=True,
    zip_safe=False,
    **({"cmake_source_dir": source_dir} if source_dir else {}),
)
