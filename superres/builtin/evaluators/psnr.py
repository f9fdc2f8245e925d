"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from superres.builtin.evaluators.case_mean import Quantity
from superres.builtin.evaluators.full_reference import FullReferenceEvaluator
from superres.image import FloatArray

CAP_DB = 100.0
"""Given to an image that equals its truth, whose ratio is infinite: JSON has no infinity, and leaving the image out
would punish the best result.  8-bit rounding alone costs 58.9 dB (MSE = (1/255)²/12), so no camera image comes near."""


class PsnrEvaluator(FullReferenceEvaluator):
    """Mean over images of 10·log10(1/MSE) in dB, MSE over all pixels and the three channels in units of white².

    The ratio is taken for each image and then averaged (not the other way round), as the literature does.  It is cut
    off at 100 dB, so that identical images have a finite one.
    """

    name = "psnr"
    summary = "peak signal-to-noise ratio in dB, mean of the images' ratios"
    quantities: ClassVar[tuple[Quantity, ...]] = (Quantity("psnr", "dB", "higher"),)

    def measure(self, image: FloatArray, truth: FloatArray) -> tuple[float, ...]:
        error = float(np.mean((image.astype(np.float64) - truth) ** 2))
        return (CAP_DB if error <= 10 ** (-CAP_DB / 10) else -10 * math.log10(error),)
