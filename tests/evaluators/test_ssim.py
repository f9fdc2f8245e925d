"""SSIM is Wang's: checked against the formula written out here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from superres.api import Case
from superres.builtin.evaluators.ssim import SsimEvaluator
from superres.image import FloatArray

MakeCase = Callable[..., Case]
Smooth = Callable[[FloatArray, float], FloatArray]
Speckle = Callable[..., FloatArray]


def wang_2004(image: FloatArray, truth: FloatArray) -> float:
    """Eq. 13 of the paper with an explicit 11 × 11 window at every place where it fits."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def local_mean(plane: np.ndarray) -> np.ndarray:
        views = np.lib.stride_tricks.sliding_window_view(plane, (11, 11))
        return np.einsum("yxij,ij->yx", views, window)

    a, b = image.astype(np.float64), truth.astype(np.float64)
    mean_a, mean_b = local_mean(a), local_mean(b)
    var_a, var_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    index = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(index.mean())


def test_both_scores_follow_wangs_formula(make_case: MakeCase) -> None:
    case = make_case(seed=3)
    assert case.truth is not None
    evaluator = SsimEvaluator()
    evaluator.update(case)
    rgb, luma = evaluator.compute()
    grey = np.array([0.299, 0.587, 0.114])
    for image, seen_rgb, seen_luma in ((case.prediction, rgb.value, luma.value),
                                       (case.bicubic, rgb.baseline, luma.baseline)):
        channels = [wang_2004(image[..., channel], case.truth[..., channel]) for channel in range(3)]
        # 1e-9: the same sums in float64, in another order
        assert seen_rgb == pytest.approx(np.mean(channels), abs=1e-9)
        assert seen_luma == pytest.approx(wang_2004(image @ grey, case.truth @ grey), abs=1e-9)


def test_an_image_equal_to_its_truth_scores_one(make_case: MakeCase, speckle: Speckle) -> None:
    evaluator = SsimEvaluator()
    evaluator.update(make_case(seed=1, prediction=speckle(1)))
    assert [score.value for score in evaluator.compute()] == pytest.approx([1.0, 1.0], abs=1e-12)


@pytest.mark.parametrize(("height", "scored"), [(10, 0), (11, 1)])
def test_a_field_smaller_than_the_window_is_counted_out_with_the_reason(
        make_case: MakeCase, height: int, scored: int) -> None:
    evaluator = SsimEvaluator()
    evaluator.update(make_case("strip", height=height))
    evaluator.update(make_case("whole"))
    assert [score.n for score in evaluator.compute()] == [1 + scored] * 2
    assert len(evaluator.notes()) == 1 - scored
    assert all("'strip'" in note and "10 × 76 px" in note and "11 × 11" in note for note in evaluator.notes())


def test_flat_bright_background_is_not_lost_to_rounding(make_case: MakeCase) -> None:
    """Noise of sd 0.01 on a background of 0.97: in float32 the variance would be off by percents of C2."""
    rng = np.random.default_rng(5)
    image, truth = (np.clip(0.97 + rng.normal(0, 0.01, (40, 40)), 0, 1).astype(np.float32) for _ in range(2))
    case = make_case(height=40, width=40, prediction=np.repeat(image[..., None], 3, axis=2))
    object.__setattr__(case, "truth", np.repeat(truth[..., None], 3, axis=2))
    evaluator = SsimEvaluator()
    evaluator.update(case)
    assert evaluator.compute()[0].value == pytest.approx(wang_2004(image, truth), abs=1e-9)


def test_blur_costs_more_the_wider_it_is(make_case: MakeCase, smooth: Smooth, speckle: Speckle) -> None:
    values = []
    for sigma_px in (0.4, 0.8, 1.6):
        evaluator = SsimEvaluator()
        evaluator.update(make_case(prediction=smooth(speckle(0), sigma_px)))
        values.append(evaluator.compute()[0].value)
    assert values == sorted(values, reverse=True) and values[0] - values[-1] > 0.1
