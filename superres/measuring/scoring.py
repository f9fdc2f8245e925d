"""Weights against pairs: `superres evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from superres.api.evaluator import Case, Evaluator, Picture
from superres.api.source import Acquisition, Pair
from superres.builtin.sources.pairs import PairsSource
from superres.builtin.sources.scenes import BUILTIN
from superres.builtin.sources.simulate import SimulateSource
from superres.engine import Engine
from superres.errors import SourceError
from superres.events import Events, Progress
from superres.guard import Subject, judge
from superres.image import Array, FloatArray, Image, from_unit
from superres.io.images import IMAGE_SUFFIXES
from superres.optics import Optics
from superres.report.data import ImageScores
from superres.report.fields import WINDOW_PX
from superres.report.pages import Page, Section, Table
from superres.resample import bicubic
from superres.scan_folder import DESCRIPTION, POSITIONS, file_stem
from superres.stages.acquire import acquired
from superres.stages.evaluate import Evaluation, evaluate
from superres.stages.seen import LEGEND, MARK, marked, seen_before, seen_note

MAPS = ": maps and curves"

DOUBTED_NAMES = 6
"""So many images that do not fit are named after the first; of the others the number is told."""


def load_pairs(where: Sequence[str], white_level: float | None = None, black_level: float = 0.0,
               max_scene_px: int = 1024) -> Acquisition:
    """Pairs to score on.

    where: a folder with coarse/ and fine/ (registered pairs, matched by name), or scenes for the virtual microscope:
    image files, patterns, or builtin names such as builtin:ihc, which are imaged in condition `standard`.  white_level:
    stored value of white in the folder's files, where they do not say it.  black_level: what their camera stores
    without light.
    Raises SourceError, for a scan that is not registered too, ImageError for a white level that is far too small, or
    the errors of the two sources.
    """
    folders = [each for each in where if not each.startswith(BUILTIN) and Path(each).is_dir()]
    if folders:
        if len(where) > 1:
            raise SourceError(f"{len(where)} places are given, one of them the folder '{folders[0]}'; expected one "
                              "folder, or scenes only", hint="evaluate folders one after the other")
        folder = Path(folders[0]).resolve()
        if not (folder / "coarse").is_dir() or not (folder / "fine").is_dir():
            raise SourceError(f"'{folder.name}' has no coarse/ and fine/ in it",
                              hint="put the coarse images into coarse/ and the fine ones, named alike, into fine/")
        if _is_scan(folder):
            raise SourceError(f"'{folder.name}' is a scan: its tiles and fields are no pairs yet",
                              hint=f"register it first: `superres register {folders[0]}` leaves the pairs in its run "
                              "folder, under work/register-.../pairs, which can be given here")
        return acquired(PairsSource(folder=folder, white_level=white_level, black_level=black_level), Events())
    if white_level is not None or black_level:
        given = f"--white-level is {white_level:g}" if white_level is not None else f"--black-level is {black_level:g}"
        raise SourceError(f"{given}, but scenes of the virtual microscope are given",
                          hint="leave it out: it is for a folder of pairs")
    missing = [each for each in where if not each.startswith(BUILTIN) and not any(c in each for c in "*?[")
               and not (Path(each).is_file() and Path(each).suffix.lower() in IMAGE_SUFFIXES)]
    if missing:
        raise SourceError(f"'{missing[0]}' is neither a folder of pairs nor an image file",
                          hint="give a folder with coarse/ and fine/, an image, or a scene such as builtin:ihc")
    scenes = [each if each.startswith(BUILTIN) else str(Path(each).absolute()) for each in where]
    return SimulateSource(scenes=scenes, give="pairs", max_scene_px=max_scene_px).acquire()


def _is_scan(folder: Path) -> bool:
    """Whether the tables of a scan lie there and no tile is called like a field; pairs may have a scan.json too."""
    names = [{file_stem(path.relative_to(folder / kind).as_posix()) for path in (folder / kind).rglob("*")
              if path.name.lower().endswith(IMAGE_SUFFIXES)} for kind in ("coarse", "fine")]
    return names[0].isdisjoint(names[1]) and any((folder / name).is_file() for name in (DESCRIPTION, POSITIONS))


def cases_of(engine: Engine, pairs: Sequence[Pair], coarse: Optics | None, events: Events) -> Iterator[Case]:
    """Every pair through the engine, beside bicubic, both rounded as the coarse camera stores its images.

    Raises SourceError for a pair whose sizes do not have the network's scale.
    """
    scale = engine.geometry.scale
    for number, pair in enumerate(pairs):
        events.progress(Progress("evaluate", number, len(pairs), pair.name))  # one stage with what scores it
        given, truth = pair.coarse.rgb(), np.clip(pair.fine.rgb(), 0.0, 1.0)
        prediction = as_stored(super_resolved(engine, given), pair.coarse)
        if prediction.shape != truth.shape:
            raise SourceError(
                f"pair '{pair.name}': the network makes {prediction.shape[:2]} px of {given.shape[:2]}, the fine image "
                f"has {truth.shape[:2]}", hint=f"the weights enlarge by {scale}; give pairs of that scale")
        beside = as_stored(bicubic(given, scale), pair.coarse)
        yield Case(pair.name, pair.specimen, pair.coarse, prediction, beside, truth, pair.fine.pixel_size_um, coarse)


def doubts(engine: Engine, acquisition: Acquisition, subjects: Sequence[Subject] = get_args(Subject)) -> list[str]:
    """What about the coarse images does not fit the weights: a sentence for each of these subjects, or none."""
    found: dict[Subject, list[tuple[str, str]]] = {}
    for pair in acquisition.pairs:
        for finding in judge(pair.coarse, engine.weights):
            found.setdefault(finding.subject, []).append((pair.name, finding.text))
    count = len(acquisition.pairs)
    return [f"{subject[0].upper()}{subject[1:]}: {len(some)} of {count} {'image' if count == 1 else 'images'} may not "
            f"fit these weights. {some[0][0]}: {some[0][1]}." + _others([name for name, _ in some[1:]])
            for subject, some in found.items() if subject in subjects]


def not_new(engine: Engine, acquisition: Acquisition) -> dict[str, str]:
    """The specimens that the training of the weights had seen → what it called them; see stages.seen."""
    specimens = dict.fromkeys(pair.specimen for pair in acquisition.pairs)
    return seen_before(engine.weights.provenance, specimens, acquisition.provenance)


def _others(names: Sequence[str]) -> str:
    rest = len(names) - DOUBTED_NAMES
    return f" Likewise: {', '.join(names[:DOUBTED_NAMES])}{f' and {rest} more' if rest > 0 else ''}." if names else ""


def super_resolved(engine: Engine, unit: FloatArray) -> FloatArray:
    """(H, W, 3) float32 in units of white → the engine's output, not clamped."""
    return np.asarray(engine(unit), dtype=np.float32)


def as_stored(unit: FloatArray, like: Image) -> FloatArray:
    """Clamped, and rounded to the levels of an image's camera: (H, W, 3) float32 in [0, 1]."""
    if not np.issubdtype(like.pixels.dtype, np.integer):
        return np.asarray(np.clip(unit, 0.0, 1.0), dtype=np.float32)
    return np.asarray(from_unit(unit, like.pixels.dtype, like.white), dtype=np.float32) / np.float32(like.white)


def score_weights(engine: Engine, acquisition: Acquisition, evaluators: Sequence[Evaluator], events: Events
                  ) -> Evaluation:
    """Every pair through the engine and the evaluators; like stage `evaluate` of a run."""
    return evaluate(evaluators, cases_of(engine, acquisition.pairs, acquisition.coarse, events), events,
                    total=len(acquisition.pairs))


def evaluated_page(title: str, engine: Engine, acquisition: Acquisition, evaluators: Sequence[Evaluator],
                   events: Events, opening: Literal["scores", "maps"] = "scores") -> tuple[Page, Evaluation]:
    """The scores of some weights as a page, with what about the images does not fit or is not new to them, and as
    numbers.

    opening: what comes first on the page, the tables or the evaluators' maps and curves.
    """
    found = score_weights(engine, acquisition, evaluators, events)
    page = _evaluation_page(title, found, acquisition, doubts(engine, acquisition), not_new(engine, acquisition))
    drawn = [section for section in page.sections if section.title.endswith(MAPS)] if opening == "maps" else []
    return replace(page, sections=[*drawn, *(each for each in page.sections if each not in drawn)]), found


def scores_table(evaluation: Evaluation, seen: Mapping[str, str]) -> Table:
    """Every score of every image, for a CSV.  seen: see not_new."""
    rows = [[image.name, image.specimen, "yes" if image.specimen in seen else "no", score.name, repr(score.value),
             "" if score.baseline is None else repr(score.baseline), score.unit, score.better]
            for image in evaluation.images for score in image.scores]
    return Table(["image", "specimen", "seen_in_training", "score", "network", "bicubic", "unit", "better"], rows)


def _evaluation_page(title: str, evaluation: Evaluation, acquisition: Acquisition, doubted: Sequence[str],
                     seen: Mapping[str, str]) -> Page:
    names = [score.name for score in evaluation.summary]
    rows = [[score.name, f"{score.value:.4g} {score.unit}".strip(),
             "–" if score.baseline is None else f"{score.baseline:.4g} {score.unit}".strip(),
             "–" if score.baseline is None else f"{score.value - score.baseline:+.3g}", score.better, str(score.n)]
            for score in evaluation.summary]
    sections = [Section("Scores", ["Means over specimens; bicubic up-sampling of the same pixels beside every number; "
                                   "nothing is fitted to the truth."],
                        table=Table(["score", "network", "bicubic", "difference", "better", "fields"], rows),
                        warnings=[*seen_warnings(seen), *doubted,
                                  *([acquisition.simulated] if acquisition.simulated else [])]),
                Section("By field", ["In brackets: bicubic."], table=_field_table(evaluation.images, names, seen)),
                *([Section("Notes", evaluation.notes)] if evaluation.notes else [])]
    for field in evaluation.fields[:4]:
        layers = [Picture(layer.title, "", _enlarged(layer.pixels) if layer.pixelated else layer.pixels)
                  for layer in field.layers]
        sections.append(Section(f"{field.name}: {field.place}", [f"Shown: {field.window}."], pictures=layers,
                                side_by_side=True))
        if field.pictures:
            sections.append(Section(f"{field.name}{MAPS}", pictures=field.pictures))
    first = evaluation.summary[0] if evaluation.summary else None
    headline = "Nothing could be scored." if first is None else (
        ", bicubic ".join(f"{value:.3f} {first.unit}".strip() for value in (first.value, first.baseline)
                          if value is not None))
    if first is not None:
        headline = f"{first.name} {headline}"
    specimens = len(evaluation.by_specimen)
    return Page(title, headline + "." + seen_caution(len(seen), specimens) + caution(doubted), sections)


def seen_warnings(seen: Mapping[str, str], who: str = "The training of these weights") -> list[str]:
    """What a section says of specimens that are not new, or nothing."""
    return [seen_note(seen, who) + "."] if seen else []


def seen_caution(seen: int, count: int, what: str = "specimen") -> str:
    """What a headline says where so many of them are not new, or not of new ones."""
    return f" Seen in training: {seen} of {count} {what}{'' if count == 1 else 's'} ({MARK})." if seen else ""


def caution(doubted: Sequence[str]) -> str:
    """What a headline says of `doubts`."""
    subjects = ", ".join(text.split(":")[0].lower() for text in doubted)
    return f" Images may not fit the weights: {subjects}." if doubted else ""


def _enlarged(pixels: Array) -> Array:
    """Coarse pixels as squares, to about the size of the fine layers."""
    repeat = max(1, WINDOW_PX // max(pixels.shape[:2]))
    return np.repeat(np.repeat(pixels, repeat, axis=0), repeat, axis=1)


def _field_table(images: Sequence[ImageScores], names: Sequence[str], seen: Mapping[str, str]) -> Table:
    rows = []
    for image in images:
        scores = {score.name: score for score in image.scores}
        cells = []
        for name in names:
            score = scores.get(name)
            beside = "" if score is None or score.baseline is None else f" ({score.baseline:.3g})"
            cells.append("–" if score is None else f"{score.value:.3g}{beside}")
        rows.append([image.name, marked(image.specimen, image.specimen in seen), *cells])
    return Table(["field", "specimen", *names], rows, words=2, wraps=True, legend=f"{LEGEND}." if seen else "")
