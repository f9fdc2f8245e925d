"""What the evaluators share that compare an image with its truth pixel by pixel."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from superres.api.evaluator import Case, Evaluator, Score
from superres.image import FloatArray


@dataclass(frozen=True)
class Quantity:
    """One number that an evaluator measures on every case."""

    name: str
    unit: str
    better: Literal["higher", "lower", "neither"]


class FullReferenceEvaluator(Evaluator):
    """Mean over cases of quantities measured on (image, truth), for the model and for bicubic.

    The numbers of every case are kept and summed by `math.fsum`, so that a score does not depend on the order of the
    cases or on how they were spread over merged instances, to the last bit.
    Cases without truth, or smaller than min_side_px, are counted out and named by `notes`.
    """

    quantities: ClassVar[tuple[Quantity, ...]]
    min_side_px: ClassVar[int] = 1

    def __init__(self, *args: object, **values: object) -> None:
        super().__init__(*args, **values)  # type: ignore[arg-type]
        self._model: list[tuple[float, ...]] = []
        self._bicubic: list[tuple[float, ...]] = []
        self._notes: list[str] = []

    @abstractmethod
    def measure(self, image: FloatArray, truth: FloatArray) -> tuple[float, ...]:
        """One finite number for each of `quantities`.

        image, truth: (H, W, 3) float32 in [0, 1] with both sides >= min_side_px, to be compared as they are.
        """

    def update(self, case: Case) -> None:
        if case.truth is None:
            self._notes.append(f"{self.name}: '{case.name}' is not scored, it has no fine image to compare with")
            return
        height, width = case.truth.shape[:2]
        if min(height, width) < self.min_side_px:
            self._notes.append(f"{self.name}: '{case.name}' is not scored, {height} × {width} px is smaller than the "
                               f"window of {self.min_side_px} × {self.min_side_px} px")
            return
        self._model.append(self.measure(case.prediction, case.truth))
        self._bicubic.append(self.measure(case.bicubic, case.truth))

    def compute(self) -> tuple[Score, ...]:
        n = len(self._model)
        if n == 0:
            return ()
        return tuple(
            Score(quantity.name, math.fsum(row[index] for row in self._model) / n, quantity.unit, n, quantity.better,
                  baseline=math.fsum(row[index] for row in self._bicubic) / n)
            for index, quantity in enumerate(self.quantities))

    def merge(self, other: Self) -> None:
        self._model += other._model
        self._bicubic += other._bicubic
        self._notes += other._notes

    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)
