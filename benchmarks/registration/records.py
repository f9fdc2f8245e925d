"""Where the measurements of registration are kept: one JSON file each, with the machine and the commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PACKAGES = ("numpy", "scipy", "opencv-contrib-python")


def write_record(name: str, measured: dict[str, Any]) -> None:
    """benchmarks/registration/NAME.json, and the same on standard output."""
    record = {"measured": measured, "made": {
        "date": date.today().isoformat(), "commit": _commit(), "processor": _processor(), "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        "packages": {package: version(package) for package in PACKAGES}}}
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
    print(text)


def read_record(name: str) -> dict[str, Any]:
    """What `write_record` kept under that name."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _commit() -> str:
    """Of the code; "-dirty" where any file but these records was changed since."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", f":(exclude,top){_records()}")
    return f"{commit}-dirty" if commit and changed else commit or "unknown"


def _records() -> str:
    return f"{_git('rev-parse', '--show-prefix')}*.json"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
