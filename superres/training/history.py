"""The losses over a training (Fig. S4), in memory and as history.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from superres.errors import TrainingError
from superres.io.atomic import storage_error
from superres.io.table import write_table


@dataclass(frozen=True)
class HistoryRow:
    """The state after `step` steps.

    epoch: passes over the patches so far, a fraction.  learning_rate: of the last step.  training_loss: mean over the
    steps since the row before.  validation_loss: NaN without validation pairs (an empty cell in the file).  seconds:
    spent in training and validation so far, over all sessions of a resumed run.
    """

    step: int
    epoch: float
    learning_rate: float
    training_loss: float
    validation_loss: float
    seconds: float


COLUMNS = tuple(field.name for field in fields(HistoryRow))


def write_history(path: Path, rows: Iterable[HistoryRow]) -> None:
    """Write the whole file anew, at once or not at all."""
    write_table(path, COLUMNS, (_cells(row) for row in rows))


def append_history(path: Path, row: HistoryRow) -> None:
    """Add one line to a file that `write_history` began."""
    try:
        with open(path, "a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow(_cells(row))
    except OSError as error:
        raise storage_error(path, error) from error


def read_history(path: Path) -> tuple[HistoryRow, ...]:
    """The rows of a history.csv.  Raises TrainingError for a file that is none."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            lines = list(csv.reader(stream))
        if not lines or tuple(lines[0]) != COLUMNS:
            raise ValueError(f"columns {lines[0] if lines else []}; expected {list(COLUMNS)}")
        return tuple(HistoryRow(int(step), *(float(cell) if cell else math.nan for cell in rest))
                     for step, *rest in lines[1:])
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"cannot read the history '{path}': {error}",
                            hint="run the training again with --fresh") from error


def _cells(row: HistoryRow) -> tuple[str, ...]:
    # repr keeps every bit of a loss, so that two runs can be compared by their files.
    return tuple("" if isinstance(value, float) and math.isnan(value) else repr(value) for value in astuple(row))
