"""Evaluator: how good an output is, always beside bicubic up-sampling of the same pixels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from superres.api.plugin import Kind, Plugin
from superres.image import Array, FloatArray, Image
from superres.optics import Optics


@dataclass(frozen=True, eq=False)
class Case:
    """One test field.

    input: the coarse image.  prediction, bicubic, truth: (H, W, 3) float32 in units of the white level, same H × W,
    clamped to [0, 1] as a file would hold them; truth is None for fields without a fine image.
    fine_pixel_size_um: pitch of prediction, bicubic and truth.
    """

    name: str
    specimen: str
    input: Image
    prediction: FloatArray
    bicubic: FloatArray
    truth: FloatArray | None
    fine_pixel_size_um: float
    coarse: Optics | None = None


@dataclass(frozen=True)
class Score:
    """One number about the model, and the same number about bicubic up-sampling.

    value: of the model.  baseline: of bicubic on the same pixels, or None where it has no meaning.
    n: cases that it is the mean of.  better: which direction is good.
    Numbers of numpy become Python's, which JSON takes.  Raises TypeError or ValueError for what is no number.
    """

    name: str
    value: float
    unit: str
    n: int
    better: Literal["higher", "lower", "neither"]
    baseline: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "n", int(self.n))
        if self.baseline is not None:
            object.__setattr__(self, "baseline", float(self.baseline))


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture for the report.  pixels: (H, W, 3) uint8.  caption: what is seen and on which scale."""

    title: str
    caption: str
    pixels: Array


class Evaluator(Plugin):
    """Collects cases and gives scores.  No evaluator may fit the prediction to the truth (shift, gain) first."""

    kind: ClassVar[Kind] = "evaluator"

    @abstractmethod
    def update(self, case: Case) -> None:
        """Take one case in.  Cases that cannot be scored (no truth) are counted out, not guessed."""

    @abstractmethod
    def compute(self) -> tuple[Score, ...]:
        """Scores over all cases so far; empty if no case could be scored."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in the cases of another instance with the same options; afterwards as if all had come here."""

    def illustrate(self, case: Case) -> tuple[Picture, ...]:
        """Pictures of one case for the report (maps, plots); none by default."""
        return ()

    def notes(self) -> tuple[str, ...]:
        """Sentences for the report: which cases were counted out, and why; none by default."""
        return ()
