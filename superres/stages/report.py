"""Report: everything that a run found, as the plain values that the page is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superres.api.evaluator import Picture
from superres.api.source import Acquisition
from superres.io.images import read_image
from superres.report.data import (
    ImageScores,
    RegistrationView,
    ReportData,
    Role,
    SpecimenUse,
    StageTime,
    TrainingView,
)
from superres.report.fields import to_uint8
from superres.stages.evaluate import Evaluation
from superres.stages.infer import TestField, output_path
from superres.stages.records import PairRecord
from superres.stages.split import Split
from superres.training.history import HistoryRow

CROP_COARSE_PX = 96
"""Side of the self-feeding picture in pixels of the input: after three passes of 2.5× it is 1,500 px."""


@dataclass(frozen=True, eq=False)
class RunFacts:
    """What the report says about the run itself.

    plan: the resolved tables.  times: seconds a stage, and a remark.  seen: specimens of the test that were not new to
    the network, which `seen_note` says in a sentence (see stages.seen).
    """

    title: str
    created: str
    engine: str
    plan: Mapping[str, Any]
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    times: Sequence[StageTime]
    notes: Sequence[str]
    seen: Sequence[str] = ()
    seen_note: str = ""


def report_data(
    facts: RunFacts,
    acquisition: Acquisition,
    records: Sequence[PairRecord],
    registration: RegistrationView,
    split: Split,
    history: Sequence[HistoryRow],
    training: Mapping[str, Any],
    evaluation: Evaluation,
    self_feeding: Sequence[Picture],
) -> ReportData:
    """Gather what `superres.report` shows.  training: what the weights file says of it."""
    model = facts.plan["model"]["plugin"]
    return ReportData(
        title=facts.title,
        model=model,
        coarse_pixel_size_um=acquisition.coarse_pixel_size_um,
        fine_pixel_size_um=acquisition.fine_pixel_size_um,
        created=facts.created,
        trained=bool(history),
        engine=facts.engine,
        simulated=acquisition.simulated,
        coarse=acquisition.coarse,
        fine=acquisition.fine,
        specimens=_specimens(records, split),
        summary=evaluation.summary,
        by_specimen=tuple(evaluation.by_specimen.items()),
        images=tuple(sorted(evaluation.images, key=_goodness)),
        fields=evaluation.fields,
        fields_total=len(evaluation.images),
        self_feeding=tuple(self_feeding),
        registration=registration,
        training=_training(history, training),
        plan=tuple(_flat(facts.plan)),
        versions=tuple(facts.versions.items()),
        hashes=tuple(facts.hashes.items()),
        provenance=tuple(acquisition.provenance.items()),
        times=tuple(facts.times),
        notes=(*evaluation.notes, *facts.notes),
        seen=tuple(facts.seen),
        seen_note=facts.seen_note,
    )


def self_feeding_pictures(fields: Sequence[TestField], outputs: Path, passes: int) -> list[Picture]:
    """The middle of the first test field after every pass (Fig. S6), all of one area."""
    if passes < 2 or not fields:
        return []
    pair = fields[0].pair
    side_um = min(CROP_COARSE_PX, *pair.coarse.shape_px) * pair.coarse.pixel_size_um
    pictures = []
    for step in range(1, passes + 1):
        image = read_image(output_path(outputs, pair.name, step))
        side = round(side_um / image.pixel_size_um)
        top, left = (image.height - side) // 2, (image.width - side) // 2
        crop = image.crop(top, left, side, side)
        pictures.append(
            Picture(
                f"{pair.name}, {'once' if step == 1 else f'{step} times'}",
                f"{side} × {side} px of {image.pixel_size_um * 1000:.1f} nm: {side_um:.1f} µm across",
                to_uint8(np.clip(crop.rgb(), 0.0, 1.0)),
            )
        )
    return pictures


def _goodness(image: ImageScores) -> float:
    """The first score that has a direction, so that the worst field comes first; fields without one come last."""
    ranked = next((score for score in image.scores if score.better != "neither"), None)
    if ranked is None:
        return float("inf")
    return -ranked.value if ranked.better == "lower" else ranked.value


def _specimens(records: Sequence[PairRecord], split: Split) -> tuple[SpecimenUse, ...]:
    roles: tuple[tuple[Role, tuple[str, ...]], ...] = (
        ("training", split.training),
        ("validation", split.validation),
        ("test", split.test),
    )
    return tuple(
        SpecimenUse(specimen, role, sum(record.kept and record.specimen == specimen for record in records))
        for role, specimens in roles
        for specimen in specimens
    )


def _training(history: Sequence[HistoryRow], facts: Mapping[str, Any]) -> TrainingView | None:
    if not history:
        return None
    best = next((row.epoch for row in history if row.step == facts["best_step"]), None)
    return TrainingView(
        tuple((row.epoch, row.training_loss) for row in history),
        tuple((row.epoch, row.validation_loss) for row in history if np.isfinite(row.validation_loss)),
        best,
        facts["best_step"],
        facts["steps"],
        facts["patches"],
        history[-1].seconds,
        facts.get("convolutions", ""),
    )


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, each in value.items() for row in _flat(each, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [row for i, each in enumerate(value) for row in _flat(each, f"{prefix}[{i}]")]
    return [(prefix, "" if value is None else str(value))]
