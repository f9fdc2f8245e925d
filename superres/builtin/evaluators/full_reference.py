"""What the evaluators share that compare an image with its truth pixel by pixel."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from superres.api.evaluator import Case
from superres.builtin.evaluators.case_mean import CaseMeanEvaluator
from superres.image import FloatArray


class FullReferenceEvaluator(CaseMeanEvaluator):
    """Mean over cases of quantities measured on (image, truth), for the model and for bicubic.

    Cases without truth, or smaller than min_side_px, are left out.
    """

    min_side_px: ClassVar[int] = 1

    @abstractmethod
    def measure(self, image: FloatArray, truth: FloatArray) -> tuple[float, ...]:
        """One finite number for each of `quantities`.

        image, truth: (H, W, 3) float32 in [0, 1] with both sides >= min_side_px, to be compared as they are.
        """

    def update(self, case: Case) -> None:
        if case.truth is None:
            self.leave_out(f"'{case.name}' is not scored, it has no fine image to compare with")
            return
        height, width = case.truth.shape[:2]
        if min(height, width) < self.min_side_px:
            self.leave_out(f"'{case.name}' is not scored, {height} × {width} px is smaller than the window of "
                           f"{self.min_side_px} × {self.min_side_px} px")
            return
        model, baseline = (self.measure(image, case.truth) for image in (case.prediction, case.bicubic))
        self.record(*zip(model, baseline, strict=True))
