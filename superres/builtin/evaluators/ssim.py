"""Structural similarity with Wang's settings, as the paper reports it (Table S1)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from superres.builtin.evaluators.case_mean import Quantity
from superres.builtin.evaluators.full_reference import FullReferenceEvaluator
from superres.image import LUMA_WEIGHTS, FloatArray

WINDOW_PX = 11
"""Side of Wang's window: a Gaussian of σ = 1.5 px cut to 11 × 11 (skimage cuts at 3.5 σ, which is the same 11)."""


class SsimEvaluator(FullReferenceEvaluator):
    """Wang et al., IEEE Trans. Image Process. 13, 600 (2004), doi:10.1109/TIP.2003.819861.

    Gaussian window σ = 1.5 px, K1 = 0.01, K2 = 0.03, population covariance, data range 1 (= white).  "ssim" is the
    mean of the three colour channels' indices, "ssim-luma" that of the BT.601 greyscale.  The mean of an index map
    leaves out the outer 5 px, where the window would reach beyond the image.  Images with a side under 11 px are
    counted out.
    """

    name = "ssim"
    summary = "structural similarity (Wang 2004), mean of RGB and luma"
    quantities: ClassVar[tuple[Quantity, ...]] = (Quantity("ssim", "", "higher"), Quantity("ssim-luma", "", "higher"))
    min_side_px = WINDOW_PX

    def measure(self, image: FloatArray, truth: FloatArray) -> tuple[float, ...]:
        channels = [structural_similarity(image[:, :, channel], truth[:, :, channel]) for channel in range(3)]
        weights = np.asarray(LUMA_WEIGHTS, dtype=np.float64)
        return sum(channels) / 3, structural_similarity(image @ weights, truth @ weights)


def structural_similarity(image: npt.NDArray[np.floating[Any]], truth: npt.NDArray[np.floating[Any]]) -> float:
    """Mean index of two (H, W) planes in units of white, both sides >= 11 px.

    Computed in float64: the variances are differences of near-equal numbers in bright, flat background.
    """
    from skimage import metrics

    measure: Any = metrics.structural_similarity
    return float(measure(np.asarray(image, dtype=np.float64), np.asarray(truth, dtype=np.float64),
                         gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0))
