"""What is known of where coarse tiles lie: from tables, file metadata or file names."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from superres.builtin.sources.files import relative, rows_by_file, searched
from superres.errors import SourceError
from superres.io.table import Row, Table

_log = logging.getLogger(__name__)

UNITS_UM = {"um": 1.0, "mm": 1000.0, "nm": 0.001}
MICRO = str.maketrans("µμ", "uu")
"""Keyboards and microscopes write one or the other."""
PIXELS = ("px", "pixel", "pixels")
_COORDINATE = re.compile(r"(?:(?:stage|pos|position)[ _]*)?(?P<axis>[yx])(?:[ _]*(?:pos|position))?"
                         r"(?:[ _]*[(\[]?(?P<unit>[^ _)\]]+)[)\]]?)?")


@dataclass(frozen=True)
class Places:
    """What is known of where tiles lie: nominal µm along the image axes, or grid indices.  origin: for the report."""

    positions_um: Mapping[Path, tuple[float, float]]
    grid: Mapping[Path, tuple[int, int]]
    origin: str


def along_image_axes(position_um: tuple[float, float], stage_axes: str) -> tuple[float, float]:
    """A stage position (y, x) turned into (down, right) of the image.  stage_axes: such as "-y,x" or "x,y"."""
    value = {"y": position_um[0], "x": position_um[1]}
    down, right = (-value[axis[1:]] if axis.startswith("-") else value[axis] for axis in stage_axes.split(","))
    return down, right


def places_from_table(table: Table, tiles: Sequence[Path], folder: Path, pixel_size_um: float, stage_axes: str,
                      slide_of: Callable[[Path], str]) -> Places:
    """Positions with a unit of length or in pixels, and grid indices, of every tile.

    Columns may be called y_um, "Y (mm)", stage_x_nm, x_px and so on.  Columns y and x without a unit are not used,
    which is said in a warning where row and column stand in for them.
    Raises SourceError for a tile without a line, and for a table without any of these columns.
    """
    columns, unit_um, without_unit = _coordinates(table, pixel_size_um)
    grid_columns = _first_of(table, ("row", "column"), ("row", "col"))
    if not columns and not grid_columns:
        raise SourceError(f"'{table.path.name}' has the columns {', '.join(table.columns)}; expected y_um, x_um or "
                          "y_px, x_px or row, column", hint="the unit belongs into the column's name")
    unused = ""
    if not columns and without_unit:
        unused = f"; its columns {', '.join(without_unit)} state no unit and are not used"
        _log.warning("%s: columns %s state no unit and are not used, only %s; call them y_um, x_um or y_px, x_px",
                     table.path, ", ".join(without_unit), " and ".join(grid_columns))
    rows = rows_by_file(table, tiles, folder, slide_of)
    without = [path for path in tiles if path not in rows]
    if without:
        raise SourceError(f"'{table.path.name}' has no line for {relative(without[0], folder)} ({len(without)} of "
                          f"{len(tiles)} tiles)", hint="add it (with empty cells, the places of the others are "
                          "not used either), or set source.options.positions = 'none'")
    positions, grid = {}, {}
    for path, row in rows.items():
        position = _two_numbers(table, row, columns)
        if position is not None:
            positions[path] = along_image_axes((position[0] * unit_um, position[1] * unit_um), stage_axes)
        index = _two_numbers(table, row, grid_columns)
        if index is not None:
            grid[path] = (int(index[0]), int(index[1]))
    return Places(positions, grid, f"{len(positions) or len(grid)} of {len(tiles)} from {table.path.name}{unused}")


def _coordinates(table: Table, pixel_size_um: float) -> tuple[tuple[str, ...], float, tuple[str, ...]]:
    """The columns of y and x that state the same unit, lengths before pixels, and that unit in µm; then those that
    state none."""
    named: dict[tuple[str, str], str] = {}
    for column in table.columns:
        match = _COORDINATE.fullmatch(column)
        if match is not None:
            named.setdefault(((match["unit"] or "").translate(MICRO), match["axis"]), column)
    units = UNITS_UM | dict.fromkeys(PIXELS, pixel_size_um)
    without_unit = tuple(column for (unit, _), column in named.items() if not unit)
    for unit, size_um in units.items():
        if (unit, "y") in named and (unit, "x") in named:
            return (named[unit, "y"], named[unit, "x"]), size_um, without_unit
    return (), 1.0, without_unit


def _first_of(table: Table, *pairs: tuple[str, str]) -> tuple[str, ...]:
    return next((pair for pair in pairs if table.has(*pair)), ())


def _two_numbers(table: Table, row: Row, columns: tuple[str, ...]) -> tuple[float, float] | None:
    values = [table.number(row, column) for column in columns]
    known = [value for value in values if value is not None]
    if len(known) == 1:
        raise SourceError(f"'{table.path.name}', line {row.line}: only one of {' and '.join(columns)} is given",
                          hint="fill in both or neither")
    return (known[0], known[1]) if known else None


def places_from_names(pattern: str, tiles: Sequence[Path], folder: Path) -> Places:
    """Grid indices from the groups row and column of a regular expression.  Raises SourceError where it fails."""
    grid = {}
    for path in tiles:
        name = relative(path, folder)
        match = searched(pattern, name, "grid_pattern")
        if not (match["row"].isdecimal() and match["column"].isdecimal()):
            raise SourceError(f"source.options.grid_pattern finds row '{match['row']}' and column '{match['column']}' "
                              f"in {name}; expected whole numbers", hint=r"use (?P<row>\d+) and (?P<column>\d+)")
        grid[path] = (int(match["row"]), int(match["column"]))
    return Places({}, grid, "row and column from the file names")
