"""What `import superres` and `superres --help` cost: a command line that answers at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HELP_CPU_LIMIT_S = 0.5      # the project's budget; typer, rich, pydantic, pluggy and numpy together take 0.22 s of CPU
HEAVY = {"torch", "matplotlib", "zarr", "skimage", "jinja2", "scipy.ndimage", "cv2"}


def imported_modules(*arguments: str, folder: Path) -> set[str]:
    """Names of all modules that `python <arguments>` imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], cwd=folder, capture_output=True, text=True,
                          check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


def cpu_seconds(*arguments: str, folder: Path) -> float:
    """CPU time, user and system, of `python <arguments>`."""
    child = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_importing_the_package_loads_no_heavy_library(tmp_path: Path) -> None:
    modules = imported_modules("-c", "import superres", folder=tmp_path)
    assert "superres" in modules
    assert modules & HEAVY == set()


def test_catching_errors_and_showing_progress_loads_no_heavy_library(tmp_path: Path) -> None:
    """What a program names before it opens its window."""
    code = ("import superres; type('Window', (superres.Events,), {})\n"
            "try: raise superres.SuperresError('m', hint='h')\n"
            "except superres.SuperresError as error: assert (error.message, error.hint) == ('m', 'h')")
    modules = imported_modules("-c", code, folder=tmp_path)
    assert "superres.errors" in modules     # which superres.events imports
    assert modules & HEAVY == set()


def test_help_loads_no_heavy_library(tmp_path: Path) -> None:
    modules = imported_modules("-m", "superres", "--help", folder=tmp_path)
    assert "superres.cli" in modules
    assert modules & HEAVY == set()


def test_help_answers_within_its_cpu_budget(tmp_path: Path) -> None:
    # Best of three: a busy machine can only add to CPU time (cold caches, shared cores), never take from it.
    assert min(cpu_seconds("-m", "superres", "--help", folder=tmp_path) for _ in range(3)) < HELP_CPU_LIMIT_S
