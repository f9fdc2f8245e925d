"""What an evaluator promises: scores beside bicubic, merging as if one had seen everything, nothing fitted."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np

from superres.api import Case, Optics, Picture, Score
from superres.image import FloatArray, Image
from superres.testing.plugin import PluginContract


class EvaluatorContract(PluginContract):
    """For subclasses of superres.api.Evaluator."""

    def case(self, seed: int, *, error: float = 0.02, with_truth: bool = True) -> Case:
        """A textured field of 60 × 50 fine pixels; the prediction is off by noise of sd `error`, bicubic by 0.08.

        The texture goes on beyond each border where it begins at the opposite one, so that rolling it is a true shift.
        """
        rng = np.random.default_rng(seed)
        rows, columns = 2 * np.pi * np.mgrid[0:60, 0:50] / np.array([60, 50])[:, None, None]
        truth = np.stack([0.5 + 0.3 * np.sin(4 * rows + 2 * columns * (i + 1) + seed) for i in range(3)], axis=2)

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
        """A prediction of another gain, or shifted, scores worse than one with twice the noise of a good one."""
        good, fair = self.scores(self.case(1, error=0.01)), self.scores(self.case(1, error=0.02))
        case = self.case(1, error=0.0)
        for what, prediction in (
            ("of gain 0.7", np.float32(0.7) * case.prediction),
            ("2 px too low", np.roll(case.prediction, 2, axis=0)),
            ("2 px to the right", np.roll(case.prediction, 2, axis=1)),
        ):
            scores = self.scores(replace(case, prediction=prediction))
            for name, score in fair.items():
                if score.better == "neither":
                    continue
                loss = good[name].value - scores[name].value, good[name].value - score.value
                worse, margin = loss if score.better == "higher" else (-loss[0], -loss[1])
                assert worse > margin > 0, (
                    f"{name}: {scores[name].value} for an image {what}, {good[name].value} and {score.value} for noise "
                    "of sd 0.01 and 0.02; compare prediction and truth as they are"
                )

    def test_the_baseline_is_the_same_number_about_bicubic(self) -> None:
        """With prediction and bicubic exchanged, value and baseline change places."""
        case = self.case(4)
        scores = self.scores(case)
        exchanged = self.scores(replace(case, prediction=case.bicubic, bicubic=case.prediction))
        for name, score in scores.items():
            other = exchanged[name]
            if score.baseline is None:
                assert other.baseline is None
                continue
            assert other.baseline is not None
            np.testing.assert_allclose((other.value, other.baseline), (score.baseline, score.value), rtol=1e-9)

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
