"""What all built-in evaluators owe: bicubic beside, no fitting, no dependence on order or on how cases were spread."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from superres.api import Case, Evaluator, Score
from superres.builtin.evaluators.difference_map import DifferenceMapEvaluator
from superres.builtin.evaluators.psnr import PsnrEvaluator
from superres.builtin.evaluators.ssim import SsimEvaluator
from superres.image import FloatArray, Image

BUILTIN = (SsimEvaluator, PsnrEvaluator, DifferenceMapEvaluator)

MakeCase = Callable[..., Case]
Spoil = Callable[[FloatArray], FloatArray]
Smooth = Callable[[FloatArray, float], FloatArray]
Speckle = Callable[..., FloatArray]


def scores_of(kind: type[Evaluator], *cases: Case) -> tuple[Score, ...]:
    evaluator = kind()
    for case in cases:
        evaluator.update(case)
    return evaluator.compute()


def worse(score: Score, than: Score) -> bool:
    return score.value < than.value if score.better == "higher" else score.value > than.value


@pytest.mark.parametrize("kind", BUILTIN)
@pytest.mark.parametrize("spoil", [
    pytest.param(lambda image: np.roll(image, 1, axis=1), id="shifted by one pixel"),
    pytest.param(lambda image: ndimage.shift(image, (0.4, 0, 0), mode="nearest").clip(0, 1), id="shifted by 0.4"),
    pytest.param(lambda image: 0.9 * image, id="gain 0.9"),
    pytest.param(lambda image: np.clip(image + 0.06, 0, 1), id="brighter"),
    pytest.param(lambda image: image[..., ::-1], id="red and blue swapped"),
])
def test_no_metric_forgives_what_a_fit_would_remove(
        kind: type[Evaluator], make_case: MakeCase, spoil: Spoil, smooth: Smooth, speckle: Speckle) -> None:
    good = smooth(speckle(0), 0.3)
    honest = scores_of(kind, make_case(prediction=good))
    spoilt = scores_of(kind, make_case(prediction=np.asarray(spoil(good), dtype=np.float32)))
    assert all(worse(bad, than=fine) for bad, fine in zip(spoilt, honest, strict=True)), (spoilt, honest)


@pytest.mark.parametrize("kind", BUILTIN)
def test_bicubic_is_measured_on_the_same_pixels(kind: type[Evaluator], make_case: MakeCase) -> None:
    case = make_case()
    swapped = dataclasses.replace(case, prediction=case.bicubic, bicubic=case.prediction)
    for score, other in zip(scores_of(kind, case), scores_of(kind, swapped), strict=True):
        assert (score.value, score.baseline) == (other.baseline, other.value)
        assert score.value != score.baseline


@pytest.mark.parametrize("kind", BUILTIN)
def test_a_case_without_truth_is_counted_out_not_guessed(kind: type[Evaluator], make_case: MakeCase) -> None:
    evaluator = kind()
    evaluator.update(make_case("blind", with_truth=False))
    assert evaluator.compute() == ()
    assert "'blind'" in evaluator.notes()[0] and "no fine image" in evaluator.notes()[0]
    assert evaluator.illustrate(make_case(with_truth=False)) == ()
    evaluator.update(make_case("seen"))
    assert [score.n for score in evaluator.compute()] == [1] * len(evaluator.compute())


def tiny_case(seed: int, speckle: Speckle) -> Case:
    truth = speckle(seed, 12, 13)
    rng = np.random.default_rng(seed + 1000)

    def noisy() -> FloatArray:
        return np.clip(truth + rng.normal(0, 0.1, truth.shape), 0, 1).astype(np.float32)

    return Case(f"case {seed}", "slide", Image(truth, 0.185), noisy(), noisy(), truth if seed % 5 else None, 0.074)


@pytest.mark.parametrize("kind", BUILTIN)
@settings(max_examples=20, deadline=None)
@given(seeds=st.lists(st.integers(0, 9), max_size=7), cut=st.integers(0, 7), order=st.randoms(use_true_random=False))
def test_merged_parts_equal_one_that_saw_everything_in_any_order(
        kind: type[Evaluator], seeds: list[int], cut: int, order: random.Random, speckle: Speckle) -> None:
    cases = [tiny_case(seed, speckle) for seed in seeds]
    shuffled = list(cases)
    order.shuffle(shuffled)
    first, second = kind(), kind()
    for index, case in enumerate(shuffled):
        (first if index < cut else second).update(case)
    first.merge(second)
    assert first.compute() == scores_of(kind, *cases)  # exactly: the sums are correctly rounded
