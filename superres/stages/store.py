"""The run folder: results where users look, intermediate work under `work/`, keyed by what it came from."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superres.config import Stage
from superres.errors import StorageError
from superres.io.atomic import storage_error, write_json

DONE = "done.json"


def key_of(*parts: Any) -> str:
    """A short hash of JSON-able values: the same inputs and options, the same key."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
        return (self.path / DONE).is_file()

    def finish(self, **facts: Any) -> None:
        write_json(self.path / DONE, facts)

    def facts(self) -> dict[str, Any]:
        """What the stage noted when it finished."""
        return dict(json.loads((self.path / DONE).read_text(encoding="utf-8")))


class RunFolder:
    """One run's folder.  `stage(name, key)` gives a stage's own; those of other keys are out of date and removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.work = path / "work"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process.  Raises StorageError if another process runs in it."""
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            stream = open(self.work / "lock", "a+", encoding="utf-8")  # noqa: SIM115 - held below, as long as the lock
        except OSError as error:
            raise storage_error(self.path, error) from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                stream.seek(0)
                raise StorageError(
                    f"another run is using '{self.path}' (process {stream.read().strip() or 'unknown'})",
                    hint="wait for it, stop it, or choose another folder with --set run.output=...",
                ) from None
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield

    def stage(self, name: Stage, key: str) -> StageFolder:
        folder = self.work / f"{name}-{key}"
        for stale in self.work.glob(f"{name}-*"):
            if stale != folder:
                shutil.rmtree(stale, ignore_errors=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error) from error
        return StageFolder(folder)

    def forget(self) -> None:
        """Remove all intermediate work, so that everything is computed afresh."""
        for path in self.work.glob("*-*"):
            shutil.rmtree(path, ignore_errors=True)


def publish(source: Path, target: Path) -> None:
    """Put a finished file, or a folder of them, where users look: copied under a temporary name, then renamed."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
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
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
