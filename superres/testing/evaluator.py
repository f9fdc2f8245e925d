"""What an evaluator promises: scores beside bicubic, merging as if one had seen everything, nothing fitted."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from superres.api import Case, Optics, Picture, Score
from superres.image import FloatArray, Image
from superres.testing.plugin import PluginContract


class EvaluatorContract(PluginContract):
    """For subclasses of superres.api.Evaluator."""

    def case(self, seed: int, *, error: float = 0.02, with_truth: bool = True) -> Case:
        """A textured field of 60 × 50 fine pixels; the prediction is off by noise of sd `error`, bicubic by 0.08."""
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[0:60, 0:50]
        truth = np.stack([0.5 + 0.3 * np.sin(0.4 * rows + 0.3 * columns * (i + 1) + seed) for i in range(3)], axis=2)

        def off(sd: float) -> FloatArray:
            return np.clip(truth + rng.normal(0, sd, truth.shape), 0, 1).astype(np.float32)

        coarse = Image(np.ascontiguousarray(truth[::2, ::2], dtype=np.float32)[:24, :20], 0.185, name=f"field-{seed}")
        return Case(
            f"field-{seed}",
            f"specimen-{seed % 2}",
            coarse,
            off(error),
            off(0.08),
            truth.astype(np.float32) if with_truth else None,
            0.074,
            Optics(0.95, magnification=40),
        )

    def scores(self, *cases: Case) -> dict[str, Score]:
        evaluator = self.make()
        for case in cases:
            evaluator.update(case)
        return {score.name: score for score in evaluator.compute()}

    def test_without_cases_there_are_no_scores(self) -> None:
        assert self.make().compute() == ()

    def test_scores_are_finite_and_survive_json(self) -> None:
        scores = self.scores(self.case(1), self.case(2))
        assert scores
        for score in scores.values():
            assert math.isfinite(score.value) and score.n >= 1 and score.better in ("higher", "lower", "neither")
            json.dumps([score.value, score.baseline], allow_nan=False)

    def test_a_better_prediction_scores_better(self) -> None:
        worse, better = self.scores(self.case(1, error=0.06)), self.scores(self.case(1, error=0.01))
        for name, score in worse.items():
            if score.better == "higher":
                assert better[name].value > score.value
            elif score.better == "lower":
                assert better[name].value < score.value

    def test_merging_is_as_if_one_had_seen_all(self) -> None:
        cases = [self.case(seed) for seed in range(5)]
        left, right = self.make(), self.make()
        for case in cases[:2]:
            left.update(case)
        for case in cases[2:]:
            right.update(case)
        left.merge(right)
        together = self.scores(*cases)
        merged = {score.name: score for score in left.compute()}
        assert merged.keys() == together.keys()
        for name, score in together.items():
            assert merged[name].n == score.n
            np.testing.assert_allclose(merged[name].value, score.value, rtol=1e-9)

    def test_a_field_without_truth_is_counted_out_not_guessed(self) -> None:
        with_truth = self.scores(self.case(1))
        both = self.scores(self.case(1), self.case(2, with_truth=False))
        for name, score in with_truth.items():
            if both[name].n == score.n:
                assert both[name].value == score.value

    def test_nothing_is_fitted_to_the_truth(self) -> None:
        """A prediction of another gain, or shifted, must not score as if it were right."""
        case = self.case(1, error=0.0)
        assert case.truth is not None
        perfect = self.scores(case)
        for changed in (np.clip(case.prediction * 0.7, 0, 1), np.roll(case.prediction, 2, axis=1)):
            scores = self.scores(_with(case, prediction=changed.astype(np.float32)))
            for name, score in perfect.items():
                if score.better != "neither":
                    assert scores[name].value != score.value

    def test_inputs_are_untouched(self) -> None:
        case = self.case(3)
        assert case.truth is not None
        before = case.prediction.copy(), case.bicubic.copy(), case.truth.copy()
        evaluator = self.make()
        evaluator.update(case)
        pictures = evaluator.illustrate(case)
        for seen, kept in zip((case.prediction, case.bicubic, case.truth), before, strict=True):
            assert np.array_equal(seen, kept)
        for picture in pictures:
            assert isinstance(picture, Picture) and picture.caption
            assert picture.pixels.dtype == np.uint8 and picture.pixels.ndim == 3 and picture.pixels.shape[2] == 3


def _with(case: Case, **changes: Any) -> Case:
    from dataclasses import replace

    return replace(case, **changes)
