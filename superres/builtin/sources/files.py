"""Finding image files by pattern, and what their paths and tables say about slide, specimen and place."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from superres.api.plugin import resolve_pattern
from superres.errors import SourceError
from superres.io.images import IMAGE_SUFFIXES
from superres.io.table import Row, Table
from superres.scan_folder import file_stem


def _one_or_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _with_set_variables(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        resolve_pattern(pattern)
    return patterns


Patterns = Annotated[tuple[str, ...], BeforeValidator(_one_or_several), AfterValidator(_with_set_variables)]
"""An option that takes one glob pattern or several, whose environment variables are set."""
FILE_COLUMNS = ("file", "filename", "file name", "name", "image")


def find_images(folder: Path, patterns: Sequence[str], what: str, option: str, hint: str = "") -> tuple[Path, ...]:
    """Image files that match any of the patterns, each once, sorted as people count (tile2 before tile10).

    Patterns are relative to folder; `**` crosses folders.  Hidden files and those without the suffix of an image are
    left out.  hint: what else helps where there are none.  Raises SourceError, with the pattern, where it was searched
    and what is there, if nothing matches.
    """
    found: set[Path] = set()
    for pattern in patterns:
        found |= {Path(name) for name in glob.glob(resolve_pattern(pattern, folder), recursive=True)
                  if name.lower().endswith(IMAGE_SUFFIXES) and os.path.isfile(name)}
    if patterns and not found:
        raise SourceError(f"no {what} match {option} = {' or '.join(map(repr, patterns))} in '{folder}' "
                          f"({_content(folder)})", hint=f"set source.options.folder and "
                          f"source.options.{option}; image files end in {', '.join(IMAGE_SUFFIXES)}{hint}")
    return tuple(sorted(found, key=lambda path: natural_key(str(path))))


def _content(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder" if not folder.exists() else "which is a file"
    names = sorted((entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir()), key=natural_key)
    if not names:
        return "which is empty"
    return f"which holds {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which 2 comes before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def relative(path: Path, folder: Path) -> str:
    """The path relative to folder with forward slashes; the whole path if it lies elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def unique_names(paths: Sequence[Path], folder: Path) -> tuple[str, ...]:
    """A name for every file: its stem, or where two files share one, its relative path joined by hyphens."""
    stems = [file_stem(path.name) for path in paths]
    count = Counter(stems)
    return tuple(stem if count[stem] == 1 else _hyphened(path, folder) for path, stem in zip(paths, stems, strict=True))


def _hyphened(path: Path, folder: Path) -> str:
    return file_stem(relative(path, folder)).lstrip("./").replace("/", "-")


def named_group(pattern: str, groups: tuple[str, ...]) -> re.Pattern[str]:
    """Compile a regular expression that must have these named groups.  Raises ValueError."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"'{pattern}' is not a regular expression: {error}") from None
    for group in groups:
        if group not in compiled.groupindex:
            raise ValueError(f"'{pattern}' has no group '{group}'; expected one such as (?P<{group}>...)")
    return compiled


def searched(pattern: str, path: str, option: str) -> re.Match[str]:
    """The match of a regular expression in a path.  Raises SourceError where there is none."""
    match = re.search(pattern, path)
    if match is None:
        raise SourceError(f"'{path}' does not match source.options.{option} = '{pattern}'",
                          hint="the expression is searched for in the path relative to source.options.folder")
    return match


def rows_by_file(table: Table, paths: Sequence[Path], folder: Path,
                 slide_of: Callable[[Path], str] = lambda path: path.parent.name) -> Mapping[Path, Row]:
    """The row of each file that the table names: by its path, or its last parts, with or without suffix, or by the name
    that `unique_names` gives it among those of its slide.

    Rows that name no file here are left out (a table may cover more).  Raises SourceError for a row that fits several
    files and a file that two rows name.
    """
    column = table.one_of(FILE_COLUMNS, "the name of the image")
    by_tail: dict[str, list[Path]] = {}
    for path in paths:
        parts = relative(path, folder).split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for name in {tail, file_stem(tail)}:
                by_tail.setdefault(name, []).append(path)
    for path in paths:
        hyphened = _hyphened(path, folder)
        if path not in by_tail.get(hyphened, ()):
            by_tail.setdefault(hyphened, []).append(path)
    rows: dict[Path, Row] = {}
    for row in table.rows:
        name = row.cells[column].replace("\\", "/").removeprefix("./")
        tails = [name]
        if re.match(r"/|[A-Za-z]:/", name):  # a path on the microscope's computer: its last parts must do
            parts = name.split("/")
            tails = ["/".join(parts[start:]) for start in range(1, len(parts))]
        candidates = next((by_tail[tail] for tail in tails if tail in by_tail), [])
        if len(candidates) > 1 and row.cells.get("slide"):
            candidates = [path for path in candidates if row.cells["slide"] in (*path.parts, slide_of(path))]
        if len(candidates) > 1:
            first, second = (relative(path, folder) for path in candidates[:2])
            raise SourceError(f"'{table.path.name}', line {row.line}: '{name}' may be {first} or {second}",
                              hint="write the path with its folder")
        for path in candidates:
            if path in rows:
                raise SourceError(f"'{table.path.name}': lines {rows[path].line} and {row.line} both name "
                                  f"{relative(path, folder)}", hint="remove one of them")
            rows[path] = row
    return rows


def specimens_from_table(table: Table, paths: Sequence[Path], folder: Path) -> tuple[str, ...]:
    """The specimen of each file.  Raises SourceError for a file that the table does not name, or without a specimen."""
    column = table.one_of(("specimen",), "the specimen of each field")
    rows = rows_by_file(table, paths, folder)
    without = [path for path in paths if path not in rows or not rows[path].cells[column]]
    if without:
        raise SourceError(f"'{table.path.name}' gives no specimen for {relative(without[0], folder)} "
                          f"({len(without)} of {len(paths)} files)", hint="add a line with file and specimen for each")
    return tuple(rows[path].cells[column] for path in paths)


def files_fingerprint(images: Iterable[Path], tables: Iterable[Path]) -> str:
    """Text that changes with the name, size or time of an image or with the content of a table."""
    digest = hashlib.sha256()
    for path in images:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    for path in tables:
        digest.update(f"{path}\0".encode() + (path.read_bytes() if path.is_file() else b"absent") + b"\n")
    return digest.hexdigest()


def literal_root(pattern: str, folder: Path) -> Path:
    """The folder that a pattern starts from: its parts before the first wildcard (the last part is a file's)."""
    escaped = re.compile(r"\[([*?[])\]")  # as glob.escape writes them
    parts = Path(resolve_pattern(pattern, folder)).parts[:-1]
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(escaped.sub("", part))), len(parts))
    return Path(*(escaped.sub(r"\1", part) for part in parts[:fixed]))
