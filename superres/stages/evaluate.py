"""Evaluate: every test field through every evaluator, means by specimen, and the fields worth looking at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from superres.api.evaluator import Case, Evaluator, Picture, Score
from superres.errors import PluginError
from superres.events import Events, Progress
from superres.report.data import FieldView, ImageScores
from superres.report.fields import FieldSelection, field_view
from superres.stages.blame import blamed

Given = TypeVar("Given")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What evaluation found.

    summary: means over specimens of the specimens' means, so that a specimen with many fields does not outvote the
    others; n counts images.  by_specimen: specimen → its scores.  images: every field in the order that it came.
    fields: those to look at, worst first.  notes: what was counted out and why.
    """

    summary: tuple[Score, ...]
    by_specimen: Mapping[str, tuple[Score, ...]]
    images: tuple[ImageScores, ...]
    fields: tuple[FieldView, ...]
    notes: tuple[str, ...]


def evaluate(evaluators: Sequence[Evaluator], cases: Iterable[Case], events: Events, *,
             total: int | None = None) -> Evaluation:
    """Score all cases, one in memory at a time (besides the windows kept for the report).

    evaluators: only their classes and options are used.  total: number of cases, for progress; taken from `cases`
    where it has a length.
    Raises PluginError, naming plug-in and field, if an evaluator raises, gives a number that is not finite, or two give
    a score of one name.  Raises Cancelled between two cases.
    """
    if total is None:
        total = len(cases) if isinstance(cases, Sized) else 0
    merged: dict[str, list[Evaluator]] = {}
    images: list[ImageScores] = []
    selection = FieldSelection()
    for case in cases:
        events.raise_if_cancelled()
        _require_one_shape(case)
        fresh = [_fresh(evaluator) for evaluator in evaluators]
        scores = _scores(fresh, case)
        images.append(ImageScores(case.name, case.specimen, scores))
        selection.offer(_ranking(scores), partial(_view, case, scores, fresh))
        whole = merged.setdefault(case.specimen, [_fresh(evaluator) for evaluator in evaluators])
        for evaluator, part in zip(whole, fresh, strict=True):
            with blamed(evaluator, f"while merging field '{case.name}'"):
                evaluator.merge(part)
        if len(images) < total:  # the end is told with the means: one field's scores would be taken for the result
            events.progress(Progress("evaluate", len(images), total, f"{case.name}: {_remark(scores)}"))
    by_specimen = {specimen: _computed(whole, f"specimen '{specimen}'") for specimen, whole in merged.items()}
    notes = tuple(note for whole in merged.values() for evaluator in whole for note in _notes(evaluator))
    for note in notes:
        events.note("evaluate", note)
    summary = _means(by_specimen.values())
    if images:
        events.progress(Progress("evaluate", len(images), len(images), _remark(summary)))
    return Evaluation(summary, by_specimen, tuple(images), selection.chosen(), notes)


def scores_json(evaluation: Evaluation, seen: Iterable[str] = ()) -> dict[str, Any]:
    """The content of scores.json: model and bicubic side by side, for the run, for each specimen and for each image.

    seen: specimens that were not new to the network (see stages.seen).
    """
    specimens = evaluation.by_specimen.values()
    return {
        "summary": {
            score.name: {"model": score.value, "bicubic": score.baseline, "unit": score.unit, "better": score.better,
                         "n": score.n,
                         "specimens": sum(any(one.name == score.name for one in scores) for scores in specimens)}
            for score in evaluation.summary},
        "specimens": {specimen: {score.name: {**_pair(score), "n": score.n} for score in scores}
                      for specimen, scores in evaluation.by_specimen.items()},
        "images": [{"name": image.name, "specimen": image.specimen,
                    "scores": {score.name: _pair(score) for score in image.scores}} for image in evaluation.images],
        "seen_in_training": list(seen),
        "notes": list(evaluation.notes),
    }


def _pair(score: Score) -> dict[str, float | None]:
    return {"model": score.value, "bicubic": score.baseline}


def _fresh(evaluator: Evaluator) -> Evaluator:
    return type(evaluator)(evaluator.options)


def _scores(fresh: Sequence[Evaluator], case: Case) -> tuple[Score, ...]:
    for evaluator in fresh:
        with blamed(evaluator, f"on field '{case.name}'"):
            evaluator.update(case)
    return _computed(fresh, f"field '{case.name}'")


def _computed(evaluators: Sequence[Evaluator], what: str) -> tuple[Score, ...]:
    owner: dict[str, str] = {}
    scores: list[Score] = []
    for evaluator in evaluators:
        with blamed(evaluator, f"on {what}"):
            computed = _all_of(Score, "compute", evaluator.compute())
        for score in computed:
            numbers = [score.value] if score.baseline is None else [score.value, score.baseline]
            if not all(math.isfinite(number) for number in numbers):
                raise PluginError(f"evaluator '{evaluator.name}' gave {score.name} = {score.value} (bicubic "
                                  f"{score.baseline}) for {what}; expected finite numbers",
                                  hint="mend the plug-in, or take its [[evaluate]] section out of the pipeline")
            if score.name in owner:
                raise PluginError(f"evaluators '{owner[score.name]}' and '{evaluator.name}' both give a score named "
                                  f"'{score.name}'", hint="list an evaluator once, or rename its score")
            owner[score.name] = evaluator.name
            scores.append(score)
    return tuple(scores)


def _view(case: Case, scores: tuple[Score, ...], fresh: Sequence[Evaluator]) -> FieldView:
    return field_view(case, scores, _pictures(fresh, case))


def _pictures(fresh: Sequence[Evaluator], case: Case) -> tuple[Picture, ...]:
    pictures: list[Picture] = []
    for evaluator in fresh:
        with blamed(evaluator, f"while illustrating field '{case.name}'"):
            drawn = _all_of(Picture, "illustrate", evaluator.illustrate(case))
        for picture in drawn:
            pixels = picture.pixels
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
                raise PluginError(f"evaluator '{evaluator.name}' drew '{picture.title}' as {pixels.dtype} of shape "
                                  f"{pixels.shape}; expected uint8 of (H, W, 3)")
        pictures += drawn
    return tuple(pictures)


def _notes(evaluator: Evaluator) -> tuple[str, ...]:
    with blamed(evaluator, "while it gave its notes"):
        return _all_of(str, "notes", evaluator.notes())


def _all_of(kind: type[Given], method: str, returned: object) -> tuple[Given, ...]:
    """What a method of a plug-in returned.  Raises TypeError for what is no series of the kind."""
    if isinstance(returned, str) or not isinstance(returned, Iterable):
        raise TypeError(f"{method} returned a {type(returned).__name__}; expected a tuple of {kind.__name__}")
    given = tuple(returned)
    for each in given:
        if not isinstance(each, kind):
            raise TypeError(f"{method} returned a {type(each).__name__} among others; expected {kind.__name__} alone")
    return given


def _ranking(scores: Sequence[Score]) -> Score | None:
    """The score that orders the fields: the first that has a good direction."""
    return next((score for score in scores if score.better != "neither"), None)


def _means(by_specimen: Iterable[tuple[Score, ...]]) -> tuple[Score, ...]:
    rows: dict[str, list[Score]] = {}
    for scores in by_specimen:
        for score in scores:
            rows.setdefault(score.name, []).append(score)
    return tuple(_mean(row) for row in rows.values())


def _mean(row: Sequence[Score]) -> Score:
    first = row[0]
    baselines = [score.baseline for score in row if score.baseline is not None]
    return Score(first.name, math.fsum(score.value for score in row) / len(row), first.unit,
                 sum(score.n for score in row), first.better,
                 baseline=math.fsum(baselines) / len(row) if len(baselines) == len(row) else None)


def _remark(scores: Sequence[Score]) -> str:
    ranking = _ranking(scores)
    if ranking is None:
        return ""
    beside = f" (bicubic {ranking.baseline:.4g})" if ranking.baseline is not None else ""
    return f"{ranking.name} {ranking.value:.4g}{beside}"


def _require_one_shape(case: Case) -> None:
    shapes = {image.shape for image in (case.prediction, case.bicubic, case.truth) if image is not None}
    if len(shapes) != 1 or len(case.prediction.shape) != 3 or case.prediction.shape[2] != 3:
        raise ValueError(f"case '{case.name}': prediction, bicubic and truth have shapes {sorted(shapes)}; "
                         "expected one (H, W, 3)")
