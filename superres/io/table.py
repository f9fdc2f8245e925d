"""Tables that people and microscopes write: CSV with any usual delimiter, header names in any case, decimal commas."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from superres.errors import SourceError
from superres.io.atomic import write_text

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Row:
    """One line of a table.  line: its number in the file, from 1.  cells: column (lower case) → text, stripped."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table with a header line.  columns: lower case, in the order of the file."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    decimal_comma: bool = False

    def has(self, *columns: str) -> bool:
        return set(columns) <= set(self.columns)

    def one_of(self, names: tuple[str, ...], what: str) -> str:
        """The first of names that is a column.  Raises SourceError that shows the columns there are."""
        for name in names:
            if name in self.columns:
                return name
        raise SourceError(f"'{self.path.name}' has the columns {', '.join(self.columns)}; expected {what} in a column "
                          f"{' or '.join(names)}", hint="the first line of the table must hold the column names")

    def number(self, row: Row, column: str) -> float | None:
        """The number in a cell, None if it is empty.  Raises SourceError with file and line for anything else."""
        text = row.cells[column]
        if not text:
            return None
        try:
            value = float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise SourceError(f"'{self.path.name}', line {row.line}: {column} is '{text}'; expected a number",
                              hint="leave the cell empty where the value is unknown")
        return value


def read_table(path: Path) -> Table:
    """Read a CSV file.  The delimiter is the one of comma, semicolon and tab that its header line has most of; with the
    latter two, a comma in a number is a decimal comma.

    Raises SourceError for a file that is missing, empty, not UTF-8, or has a line with more cells than the header.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceError(f"no such file: '{path}'", hint="check the path and its spelling") from None
    except UnicodeDecodeError:
        raise SourceError(f"'{path}' is not UTF-8 text", hint="save the table as 'CSV UTF-8'") from None
    except OSError as error:
        raise SourceError(f"'{path}' cannot be read: {error.strerror or error}") from error
    lines = text.splitlines()
    first = next((index for index, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if first is None:
        raise SourceError(f"'{path}' is empty", hint="its first line must hold the column names")
    delimiter = max(_DELIMITERS, key=lines[first].count)
    reader = csv.reader(lines[first:], delimiter=delimiter, skipinitialspace=True)
    columns = tuple(cell.strip().lower() for cell in next(reader))
    rows = []
    for cells in reader:
        line = first + reader.line_num
        if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
            continue
        if len(cells) > len(columns):
            raise SourceError(f"'{path.name}', line {line}: {len(cells)} cells under {len(columns)} column names",
                              hint="put quotation marks around cells that contain the delimiter")
        padded = [cell.strip() for cell in cells] + [""] * (len(columns) - len(cells))
        rows.append(Row(line, dict(zip(columns, padded, strict=True))))
    return Table(path, columns, tuple(rows), decimal_comma=delimiter != ",")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file with a header line, whole or not at all, as read_table reads it back."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, stream.getvalue())
