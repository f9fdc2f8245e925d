"""The run folder: results where users look, intermediate work under `work/`, keyed by what it came from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from superres.config import STAGES, Stage
from superres.errors import StorageError
from superres.io.atomic import is_temporary, storage_error, temporary_beside, write_json, write_text

DONE = "done.json"
SIGNATURE = "signature"
_KEY = re.compile(r"[0-9a-f]{16}")
"""What `key_of` gives."""


def key_of(*parts: Any) -> str:
    """A short hash of JSON-able values: the same inputs and options, the same key."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def safe_name(name: str) -> str:
    """A name as part of a path: letters, digits, "-", "_" and "." stay."""
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in name)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class StageFolder:
    """Where a stage keeps what it made.  It is finished when `done.json` is there, which is written last."""

    path: Path

    @property
    def finished(self) -> bool:
        """Whether the stage has finished; a `done.json` that cannot be read counts as none."""
        try:
            self.facts()
        except (OSError, ValueError):
            return False
        return True

    def finish(self, **facts: Any) -> None:
        write_json(self.path / DONE, facts)

    def facts(self) -> dict[str, Any]:
        """What the stage noted when it finished."""
        return dict(json.loads((self.path / DONE).read_text(encoding="utf-8")))


class RunFolder:
    """One run's folder: results in `path`, each stage's own work in `work/STAGE-KEY`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.work = path / "work"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process, and clear what a killed one left half-written.

        Raises StorageError if another process runs in it, or if it cannot be written.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            stream = open(self.work / "lock", "a+", encoding="utf-8")  # noqa: SIM115 - held below, as long as the lock
        except OSError as error:
            raise storage_error(self.path, error) from error
        with stream:
            _lock(stream, self.path)
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            # What a killed process had not renamed yet, and nothing else that is hidden; nobody else writes here now.
            for hidden in (*self.path.glob(".*"), *self.work.rglob(".*")):
                if is_temporary(hidden):
                    _remove(hidden)
            yield

    def sign(self, token: str) -> None:
        """Leave a token by which another process sees that it has the same folder."""
        write_text(self.work / SIGNATURE, token)

    def is_signed(self, token: str) -> bool:
        try:
            return (self.work / SIGNATURE).read_text(encoding="utf-8") == token
        except OSError:
            return False

    def stage(self, name: Stage, key: str) -> StageFolder:
        folder = self.work / f"{name}-{key}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error) from error
        return StageFolder(folder)

    def retire(self, name: Stage, finished: StageFolder) -> None:
        """Once a stage has finished, remove its folders of other keys; an unfinished training is worth keeping."""
        for other in self._stages(name):
            if other != finished.path and not (name == "train" and not StageFolder(other).finished):
                _remove(other)

    def unfinished(self, name: Stage, but: StageFolder) -> list[Path]:
        """Folders of other keys in which the stage has begun."""
        return [each for each in self._stages(name) if each != but.path and not StageFolder(each).finished]

    def forget(self) -> None:
        """Remove all intermediate work, so that everything is computed afresh."""
        for name in STAGES:
            for path in self._stages(name):
                _remove(path)

    def _stages(self, name: Stage) -> list[Path]:
        """The folders that `stage` made, whatever their keys."""
        return [path for path in self.work.glob(f"{name}-*") if _KEY.fullmatch(path.name.removeprefix(f"{name}-"))]


def _lock(stream: TextIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:
        raise StorageError(
            "run folders need POSIX file locks, which this system does not have",
            hint="use Linux or macOS; on Windows, WSL",
        ) from None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.seek(0)
        raise StorageError(
            f"another run is using '{path}' (process {stream.read().strip() or 'unknown'})",
            hint="wait for it, stop it, or choose another folder with --set run.output=...",
        ) from None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def publish(source: Path, target: Path) -> None:
    """Put a finished file, or a folder of them, where users look: copied under a temporary name, then renamed."""
    temporary = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, temporary)
            if target.exists():
                shutil.rmtree(target)
        else:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        _remove(temporary)
