"""What the evaluators share that measure one number a case and average them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from superres.api.evaluator import Evaluator, Score


@dataclass(frozen=True)
class Quantity:
    """One number that an evaluator measures on every case."""

    name: str
    unit: str
    better: Literal["higher", "lower", "neither"]


class CaseMeanEvaluator(Evaluator):
    """Means over cases of rows of (model, bicubic or None).

    The numbers of every case are kept and summed by `math.fsum`, so that a score does not depend on the order of the
    cases or on how they were spread over merged instances, to the last bit.
    Subclasses call `record` or `leave_out` from `update`; `notes` names what was left out.
    """

    quantities: ClassVar[tuple[Quantity, ...]]

    def __init__(self, *args: object, **values: object) -> None:
        super().__init__(*args, **values)  # type: ignore[arg-type]
        self._rows: list[tuple[tuple[float, float | None], ...]] = []
        self._notes: list[str] = []

    def record(self, *row: tuple[float, float | None]) -> None:
        """One (model, bicubic) for each of `quantities`."""
        self._rows.append(row)

    def leave_out(self, reason: str) -> None:
        self._notes.append(f"{self.name}: {reason}")

    def compute(self) -> tuple[Score, ...]:
        n = len(self._rows)
        scores = []
        for index, quantity in enumerate(self.quantities if n else ()):
            values = [row[index] for row in self._rows]
            beside = [baseline for _, baseline in values if baseline is not None]
            scores.append(Score(quantity.name, math.fsum(value for value, _ in values) / n, quantity.unit, n,
                                quantity.better, baseline=math.fsum(beside) / n if len(beside) == n else None))
        return tuple(scores)

    def merge(self, other: Self) -> None:
        self._rows += other._rows
        self._notes += other._notes

    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)
