"""Mean colour difference CIEDE2000 (Sharma, Wu, Dalal, Color Res. Appl. 30, 21 (2005), doi:10.1002/col.20070)."""

from __future__ import annotations

from typing import Self

import numpy as np

from superres.api import Case, Evaluator, FloatArray, Score


class ColourEvaluator(Evaluator):
    """Are the stains' colours right?  About 1 is just noticeable.  Images are taken as sRGB."""

    name = "template-colour"
    summary = "mean CIEDE2000 colour difference"

    def __init__(self, options=None, **values) -> None:
        super().__init__(options, **values)
        self._model: list[float] = []
        self._bicubic: list[float] = []

    def update(self, case: Case) -> None:
        if case.truth is not None:
            self._model.append(_difference(case.prediction, case.truth))
            self._bicubic.append(_difference(case.bicubic, case.truth))

    def compute(self) -> tuple[Score, ...]:
        if not self._model:
            return ()
        return (
            Score(
                "ciede2000", float(np.mean(self._model)), "ΔE", len(self._model), "lower", float(np.mean(self._bicubic))
            ),
        )

    def merge(self, other: Self) -> None:
        self._model += other._model
        self._bicubic += other._bicubic


def _difference(image: FloatArray, truth: FloatArray) -> float:
    from skimage.color import deltaE_ciede2000, rgb2lab

    return float(deltaE_ciede2000(rgb2lab(image), rgb2lab(truth)).mean())
