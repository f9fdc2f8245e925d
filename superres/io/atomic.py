"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from superres.errors import StorageError

_TEMPORARY = re.compile(r"\..*\.[0-9]+-[0-9a-f]{8}(\.[^.]*)?")


def temporary_beside(path: Path) -> Path:
    """A hidden name in the folder of `path`, for what takes its place once it is whole.

    It keeps the suffix, since libraries choose the format by it.
    """
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


def is_temporary(path: Path) -> bool:
    """Whether `temporary_beside` gave this name; nobody's `.git` or `.venv` has such a one."""
    return _TEMPORARY.fullmatch(path.name) is not None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on a clean exit it is renamed to `path`, otherwise removed.

    Parent folders are made.  Raises StorageError when the disk is full, read-only, or not ours to write.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):  # such as a file where a folder should be: the error above already says so
            temporary.unlink()


def require_own_places(outputs: Iterable[Path | None], inputs: Iterable[Path] = ()) -> None:
    """Raises StorageError where two outputs share a place, or one is an input: to be asked before any work is done.

    outputs: None for one that is not wanted.
    """
    taken = {path.resolve(): "the input itself" for path in inputs}
    for path in outputs:
        if path is None:
            continue
        place = path.resolve()
        if place in taken:
            raise StorageError(f"'{path}' is {taken[place]}; it would be overwritten", hint="give it another name")
        taken[place] = "already the name of another output"


def storage_error(path: Path, error: OSError) -> StorageError:
    """The error in a user's words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"no space left on the disk for '{path}'", hint="free some space and run the same command again"
        )
    return StorageError(
        f"cannot write '{path}': {error.strerror or error}", hint="check the folder and its permissions"
    )


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def write_text(path: Path, content: str) -> None:
    """UTF-8 text."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with a final newline; NaN is refused, since it is not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
