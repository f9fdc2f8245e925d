"""The evaluate stage: fair means, one case in memory, and errors that name the plug-in and the field."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from superres.api import Case, Evaluator, Picture, PluginOptions, Score
from superres.builtin.evaluators.difference_map import DifferenceMapEvaluator
from superres.builtin.evaluators.psnr import PsnrEvaluator
from superres.builtin.evaluators.ssim import SsimEvaluator
from superres.errors import Cancelled, PluginError
from superres.events import Events, Progress
from superres.stages.evaluate import evaluate, scores_json

MakeCase = Callable[..., Case]


class Brightness(Evaluator):
    """Mean of the prediction: a score that a test can set by hand, without a good direction or a baseline."""

    name = "brightness"

    class Options(PluginOptions):
        factor: float = 1.0

    def __init__(self, *args: object, **values: object) -> None:
        super().__init__(*args, **values)  # type: ignore[arg-type]
        self.means: list[float] = []

    def update(self, case: Case) -> None:
        self.means.append(self.options.factor * float(case.prediction.mean()))

    def compute(self) -> tuple[Score, ...]:
        n = len(self.means)
        return (Score("brightness", sum(self.means) / n, "", n, "neither"),) if n else ()

    def merge(self, other: Brightness) -> None:
        self.means += other.means


@pytest.fixture
def grey_case(make_case: MakeCase) -> MakeCase:
    """A case whose prediction is one grey level everywhere."""

    def make(name: str, specimen: str, level: float) -> Case:
        return make_case(name, specimen, prediction=np.full((60, 76, 3), level, dtype=np.float32))

    return make


def test_a_specimen_with_many_fields_does_not_outvote_the_others(grey_case: MakeCase) -> None:
    cases = [grey_case("a1", "A", 0.2), grey_case("b1", "B", 0.8), grey_case("a2", "A", 0.3), grey_case("a3", "A", 0.4)]
    evaluation = evaluate([Brightness()], cases, Events())
    (mean,) = evaluation.summary
    assert mean.value == pytest.approx((0.3 + 0.8) / 2, abs=1e-6)
    assert (mean.n, mean.baseline) == (4, None)
    assert {specimen: (scores[0].value, scores[0].n) for specimen, scores in evaluation.by_specimen.items()} == {
        "A": (pytest.approx(0.3, abs=1e-6), 3), "B": (pytest.approx(0.8, abs=1e-6), 1)}
    assert [image.name for image in evaluation.images] == ["a1", "b1", "a2", "a3"]


def test_evaluators_are_made_fresh_with_their_options(grey_case: MakeCase) -> None:
    template = Brightness(factor=2.0)
    evaluation = evaluate([template], [grey_case("a", "A", 0.25)], Events())
    assert evaluation.summary[0].value == pytest.approx(0.5)
    assert template.means == []


def test_scores_json_holds_model_and_bicubic_for_every_level(make_case: MakeCase) -> None:
    cases = [make_case("a1", "A", seed=1), make_case("a2", "A", seed=2), make_case("b1", "B", seed=3),
             make_case("blind", "C", with_truth=False)]
    evaluation = evaluate([SsimEvaluator(), PsnrEvaluator()], cases, Events())
    written = json.loads(json.dumps(scores_json(evaluation), allow_nan=False))
    images = {image["name"]: image["scores"] for image in written["images"]}
    for which in ("model", "bicubic"):
        by_hand = ((images["a1"]["ssim"][which] + images["a2"]["ssim"][which]) / 2 + images["b1"]["ssim"][which]) / 2
        assert written["summary"]["ssim"][which] == pytest.approx(by_hand, abs=1e-12)
        assert written["specimens"]["B"]["psnr"][which] == images["b1"]["psnr"][which]
    assert written["summary"]["psnr"]["unit"] == "dB" and written["summary"]["psnr"]["better"] == "higher"
    assert (written["summary"]["ssim"]["n"], written["summary"]["ssim"]["specimens"]) == (3, 2)
    assert written["summary"]["ssim"]["model"] > written["summary"]["ssim"]["bicubic"]
    assert images["blind"] == {} and written["specimens"]["C"] == {}
    assert [note for note in written["notes"] if "'blind'" in note and note.startswith("ssim")]


def test_cases_are_not_held_after_they_were_scored(make_case: MakeCase) -> None:
    alive: list[weakref.ref[Case]] = []
    most = 0

    def stream() -> Iterator[Case]:
        nonlocal most
        for index in range(30):
            case = make_case(f"field {index}", seed=index, height=30, width=30)
            alive.append(weakref.ref(case))
            yield case
            del case
            most = max(most, sum(ref() is not None for ref in alive))

    evaluation = evaluate([PsnrEvaluator()], stream(), Events())
    assert len(evaluation.images) == 30
    assert most <= 2  # the one in hand, and the one just left


def test_the_worst_field_comes_first_with_its_maps(make_case: MakeCase) -> None:
    good, bad = make_case("good", seed=1), make_case("bad", seed=1)
    assert bad.truth is not None
    object.__setattr__(bad, "prediction", 1 - bad.truth)
    evaluation = evaluate([PsnrEvaluator(), DifferenceMapEvaluator()], [good, bad], Events())
    assert [field.name for field in evaluation.fields] == ["bad", "good"]
    assert evaluation.fields[0].place == "worst of 2 by psnr"
    assert [picture.title for picture in evaluation.fields[0].pictures] == [
        "Difference from the fine image, 0–100 %", "Difference from the fine image, 0–20 %",
        "Difference by region, 3 × 3"]


class Broken(Brightness):
    name = "broken"

    class Options(PluginOptions):
        where: str = "update"

    def update(self, case: Case) -> None:
        if self.options.where == "update":
            raise KeyError("colour")
        self.means.append(1.0)

    def compute(self) -> tuple[Score, ...]:
        if self.options.where == "nan":
            return (Score("sharpness", float("nan"), "", 1, "higher"),)
        wrong = {"none": None, "mapping": {"sharpness": 1.0}, "single": Score("sharpness", 1.0, "", 1, "higher")}
        if self.options.where in wrong:
            return wrong[self.options.where]  # type: ignore[return-value]
        return (Score("sharpness", 1.0, "", 1, "higher"),)

    def notes(self) -> tuple[str, ...]:
        return "one sentence" if self.options.where == "notes" else ()  # type: ignore[return-value]

    def merge(self, other: Brightness) -> None:
        if self.options.where == "merge":
            raise ZeroDivisionError("nothing to merge")

    def illustrate(self, case: Case) -> tuple[Picture, ...]:
        if self.options.where == "array":
            return (case.prediction,)  # type: ignore[return-value]
        return (Picture("map", "", np.zeros((4, 4), dtype=np.float32)),) if self.options.where == "picture" else ()


@pytest.mark.parametrize(("where", "said"), [
    ("update", "failed on field 'slide 1/field 7': KeyError: 'colour'"),
    ("nan", "gave sharpness = nan (bicubic None) for field 'slide 1/field 7'; expected finite numbers"),
    ("merge", "failed while merging field 'slide 1/field 7': ZeroDivisionError: nothing to merge"),
    ("none", "failed on field 'slide 1/field 7': TypeError: compute returned a NoneType; expected a tuple of Score"),
    ("single", "failed on field 'slide 1/field 7': TypeError: compute returned a Score; expected a tuple of Score"),
    ("mapping", "failed on field 'slide 1/field 7': TypeError: compute returned a str among others; expected Score "
                "alone"),
    ("array", "failed while illustrating field 'slide 1/field 7': TypeError: illustrate returned a ndarray among "
              "others; expected Picture alone"),
    ("notes", "failed while it gave its notes: TypeError: notes returned a str; expected a tuple of str"),
    ("picture", "drew 'map' as float32 of shape (4, 4); expected uint8 of (H, W, 3)"),
])
def test_a_broken_evaluator_is_named_with_the_field(make_case: MakeCase, where: str, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        evaluate([Broken(where=where)], [make_case("slide 1/field 7")], Events())
    assert caught.value.message == f"evaluator 'broken' {said}"


def test_two_evaluators_may_not_give_one_score(make_case: MakeCase) -> None:
    with pytest.raises(PluginError, match=r"'ssim' and 'ssim' both give a score named 'ssim'"):
        evaluate([SsimEvaluator(), SsimEvaluator()], [make_case()], Events())


def test_images_of_different_size_are_refused(make_case: MakeCase) -> None:
    case = make_case(prediction=np.zeros((61, 76, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"case 'field'.*\(60, 76, 3\), \(61, 76, 3\)"):
        evaluate([PsnrEvaluator()], [case], Events())


def test_progress_notes_and_cancel_reach_the_caller(make_case: MakeCase) -> None:
    class Watcher(Events):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Progress] = []
            self.notes: list[str] = []

        def progress(self, progress: Progress) -> None:
            self.seen.append(progress)
            if len(self.seen) == 3:
                self.cancel()

        def note(self, stage: str, text: str) -> None:
            self.notes.append(f"{stage}: {text}")

    watcher = Watcher()
    cases = [make_case("blind", with_truth=False), make_case("seen")]
    evaluate([PsnrEvaluator()], cases, watcher)
    assert [(event.done, event.total) for event in watcher.seen] == [(1, 2), (2, 2)]
    assert watcher.seen[1].message.startswith("psnr ") and "bicubic" in watcher.seen[1].message
    assert watcher.notes == ["evaluate: psnr: 'blind' is not scored, it has no fine image to compare with"]
    with pytest.raises(Cancelled):
        evaluate([PsnrEvaluator()], cases, watcher)
    assert len(watcher.seen) == 3


def test_the_end_is_told_with_the_mean_not_with_the_last_field(grey_case: MakeCase) -> None:
    class Given(Brightness):
        def compute(self) -> tuple[Score, ...]:
            return tuple(Score("given", score.value, "", score.n, "higher") for score in super().compute())

    told: list[Progress] = []
    events = Events()
    events.progress = told.append  # type: ignore[method-assign]
    cases = [grey_case("a", "A", 0.25), grey_case("b", "B", 0.75)]
    evaluate([Given()], cases, events)
    assert [each.message for each in told] == ["a: given 0.25", "given 0.5"]
    evaluate([Given()], iter(cases), events)  # of an unknown number of cases only the end is told
    assert [each.message for each in told[2:]] == ["given 0.5"]


def test_numbers_of_numpy_are_scores_that_json_takes(grey_case: MakeCase) -> None:
    class Counted(Brightness):
        def compute(self) -> tuple[Score, ...]:
            n = np.int64(len(self.means))
            return (Score("counted", np.float32(0.5), "", n, "higher", np.float16(0.25)),) if n else ()

    content = json.loads(json.dumps(scores_json(evaluate([Counted()], [grey_case("a", "A", 0.5)], Events()))))
    assert content["summary"]["counted"]["model"] == 0.5 and content["summary"]["counted"]["n"] == 1
    with pytest.raises(ValueError):
        Score("counted", "many", "", 1, "higher")  # type: ignore[arg-type]


def test_no_cases_give_an_empty_evaluation() -> None:
    evaluation = evaluate([SsimEvaluator()], [], Events())
    assert (evaluation.summary, evaluation.images, evaluation.fields) == ((), (), ())
    assert scores_json(evaluation) == {"summary": {}, "specimens": {}, "images": [], "seen_in_training": [],
                                       "notes": []}
