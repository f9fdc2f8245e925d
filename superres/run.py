"""One call of `Pipeline.run`: which artefact each stage needs, where it is kept, and when it is still good."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from superres._version import __version__
from superres.api.source import Acquisition, Pair
from superres.config import STAGES, Stage
from superres.engine import Engine
from superres.errors import RegistrationError
from superres.events import Events
from superres.identity import library_versions, stage_keys
from superres.image import FloatArray
from superres.inference.device import resolve_device
from superres.io.atomic import write_json
from superres.plan import Plan
from superres.report.data import RegistrationPage, RegistrationView, StageTime
from superres.results import REGISTRATION_FILE, REPORT_FILE, SCORES_FILE, Results, RunResult
from superres.stages import acquire as acquire_stage
from superres.stages import infer as infer_stage
from superres.stages import register as register_stage
from superres.stages import report as report_stage
from superres.stages import train as train_stage
from superres.stages.evaluate import Evaluation, evaluate, scores_json
from superres.stages.quality import registration_view
from superres.stages.records import Registered
from superres.stages.split import Split, check_scale, choose_split, require_fields
from superres.stages.store import RunFolder, StageFolder, file_hash
from superres.training.curves import PICTURES
from superres.training.job import TrainingJob
from superres.training.learner import check_arithmetic
from superres.training.loop import HISTORY_FILE, train
from superres.training.ranks import ALONE, Ranks, local_device

TRAINS = "superres/trains"
"""Key under which the first of several processes says whether there is something to train."""


class Run:
    """The state of one call of `Pipeline.run`: artefacts are made, or read back, when a later stage needs them."""

    def __init__(self, plan: Plan, folder: RunFolder, events: Events, ranks: Ranks = ALONE) -> None:
        self.plan, self.folder, self.events, self.ranks = plan, folder, events, ranks
        self.device = local_device(plan.config.run.device)
        self.times: list[StageTime] = []
        self.notes: list[str] = []

    def to(self, until: Stage) -> RunResult:
        """Make everything up to a stage; of several processes that train together the first one does."""
        self.results  # noqa: B018 - plan.json says what is being made before anything is
        steps: dict[Stage, Callable[[], dict[str, Any]]] = {
            "acquire": self._acquire,
            "register": self._register,
            "train": self._train,
            "infer": self._infer,
            "evaluate": self._evaluate,
            "report": self._report,
        }
        wanted = STAGES[: STAGES.index(until) + 1]
        if "train" in wanted:
            # What this machine cannot do is said before hours of work.
            check_arithmetic(self.plan.config.train, resolve_device(self.device))
            self.ranks.share(self.plan.config.train.batch_size)
        for stage in wanted:
            self.events.raise_if_cancelled()
            folder, began = self.stage(stage), time.monotonic()
            if folder.finished and self.results.current(stage):
                self.times.append(StageTime(stage, folder.facts()["seconds"], "taken from an earlier run"))
                continue
            facts = steps[stage]()
            # The one place that marks a stage as finished: after its result lies where users look.
            folder.finish(**facts, seconds=time.monotonic() - began)
            self.folder.retire(stage, folder)
            self.times.append(StageTime(stage, folder.facts()["seconds"]))
        self.ranks.say(TRAINS, "no")
        scores = self.folder.path / SCORES_FILE
        found = json.loads(scores.read_text(encoding="utf-8")) if "evaluate" in wanted else {}
        return RunResult(self.folder.path, wanted, found)

    def help_to_train(self) -> None:
        """Take part in the training of another process's `to`, which writes everything."""
        if self.ranks.hear(TRAINS) == "yes":
            train(self.job, self.events, self.ranks)

    @cached_property
    def results(self) -> Results:
        return Results(self.folder, self.keys, self._plan_json(), lambda text: self._note("train", text))

    def _plan_json(self) -> dict[str, Any]:
        return {
            "superres": __version__,
            "pipeline": self.plan.resolved(),
            "plugins": dict(self.plan.origins),
            "versions": self.versions,
            "hashes": self.hashes,
        }

    @cached_property
    def keys(self) -> dict[Stage, str]:
        return stage_keys(self.plan)

    @cached_property
    def versions(self) -> dict[str, str]:
        return library_versions(self.plan)

    def stage(self, name: Stage) -> StageFolder:
        return self.folder.stage(name, self.keys[name])

    @cached_property
    def hashes(self) -> dict[str, str]:
        return {
            "input images and source options": self.keys["acquire"],
            "registration": self.keys["register"],
            "training": self.keys["train"],
        }

    # Artefacts.

    @cached_property
    def acquisition(self) -> Acquisition:
        known = acquire_stage.known_specimens(self.plan.source)
        if known is not None:
            self._split_of(known)  # a virtual scan takes minutes
        acquisition = acquire_stage.acquire(self.plan.source, self.stage("acquire"), self.events)
        require_fields(acquisition)
        check_scale(acquisition, self.plan.model.geometry)
        self._split_of(acquisition.specimens)  # ids and counts are checked before hours of registration
        return acquisition

    @cached_property
    def registered(self) -> Registered:
        folder, plan = self.stage("register"), self.plan
        if folder.finished:
            return register_stage.load(folder)
        return register_stage.register(
            self.acquisition,
            plan.registrar,
            plan.model.geometry.scale,
            plan.config.register_.min_confidence,
            folder,
            self.events,
        )

    @cached_property
    def split(self) -> Split:
        specimens = tuple(dict.fromkeys(record.specimen for record in self.registered.records))
        split = self._split_of(specimens)
        kept = {pair.specimen for pair in self.registered.pairs}
        for role, ids in (("test", split.test), ("validation", split.validation)):
            empty = [each for each in ids if each not in kept]
            if empty:
                raise RegistrationError(
                    f"no field of {role} specimen {', '.join(empty)} could be registered",
                    reason="no-fields",
                    hint="see registration.json, or choose other specimens in [split]",
                )
        return split

    def _split_of(self, specimens: tuple[str, ...]) -> Split:
        return choose_split(
            specimens, self.plan.config.split, self.plan.config.run.seed, trains=self.plan.model.trainable
        )

    def _pairs_of(self, specimens: tuple[str, ...]) -> list[Pair]:
        """Pairs of some specimens, in an order that does not depend on how files are named or in which order they
        came."""
        pairs = [pair for pair in self.registered.pairs if pair.specimen in specimens]
        return sorted(pairs, key=lambda pair: (pair.specimen, float(pair.fine.unit().mean(dtype=np.float64))))

    @cached_property
    def weights_path(self) -> Path:
        folder, plan = self.stage("train"), self.plan
        path = folder.path / train_stage.WEIGHTS_FILE
        if folder.finished:
            return path
        provenance = {
            "versions": self.versions,
            "seed": plan.config.run.seed,
            "simulated": self.acquisition.simulated,
            "source": plan.source.name,
            "acquired": dict(self.acquisition.provenance),
            "hashes": self.hashes,
        }
        if not plan.model.trainable:
            return train_stage.describe_untrained(
                plan.model, self.acquisition, self.registered.pairs, provenance, folder, self.events
            )
        job = self.job
        self.ranks.say(TRAINS, "yes")
        return train_stage.train(job, self.acquisition, provenance, folder, self.events, self.ranks)

    @property
    def job(self) -> TrainingJob:
        plan = self.plan
        return TrainingJob(
            plan.model,
            plan.losses,
            plan.config.train,
            self._pairs_of(self.split.training),
            self._pairs_of(self.split.validation),
            plan.config.run.seed,
            self.stage("train").path,
            self.device,
            fingerprint=self.keys["train"],
            start_from=plan.start_from,
        )

    @cached_property
    def engine(self) -> Engine:
        return Engine.load(
            self.weights_path,
            device=self.device,
            precision=self.plan.config.infer.precision,
            catalog=self.plan.catalog,
            tile_px=self.plan.config.infer.tile_px,
        )

    def _super_resolve(self, unit: FloatArray) -> FloatArray:
        return np.asarray(self.engine(unit, events=self.events), dtype=np.float32)

    @cached_property
    def test_fields(self) -> list[infer_stage.TestField]:
        records = {record.name: record for record in self.registered.records}
        return [
            infer_stage.TestField(
                pair, np.dtype(records[pair.name].camera_dtype), records[pair.name].camera_white_level
            )
            for pair in self._pairs_of(self.split.test)
        ]

    @cached_property
    def outputs(self) -> Path:
        folder = self.stage("infer")
        if folder.finished:
            return folder.path / infer_stage.OUTPUTS
        return infer_stage.infer(
            self.test_fields,
            self._super_resolve,
            self.plan.model.geometry.scale,
            self.plan.config.infer.passes,
            folder,
            self.events,
        )

    @cached_property
    def evaluation(self) -> Evaluation:
        cases = infer_stage.cases(
            self.test_fields, self.outputs, self.plan.model.geometry.scale, self.acquisition.coarse
        )
        return evaluate(self.plan.evaluators, cases, self.events, total=len(self.test_fields))

    # Stages: make the artefact, put it where users look, and say what is to be remembered of it.

    def _acquire(self) -> dict[str, Any]:
        return {"specimens": list(self.acquisition.specimens)}

    def _register(self) -> dict[str, Any]:
        folder = self.stage("register").path
        records = folder / register_stage.RECORDS
        try:
            kept = len(self.registered.pairs)
        finally:
            # Where every field was rejected the table of reasons is what the user needs most.
            if records.exists():
                self._write_registration_page(folder / REGISTRATION_FILE)
                self.results.put("register", records, folder / REGISTRATION_FILE)
        return {"kept": kept, "fields": len(self.registered.records)}

    def _write_registration_page(self, path: Path) -> None:
        from superres.report.builder import build_registration_page

        build_registration_page(
            RegistrationPage(
                self.folder.path.resolve().name,
                self.acquisition.coarse_pixel_size_um,
                self.acquisition.fine_pixel_size_um,
                self._registration_view(),
                datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
                self.acquisition.simulated,
            ),
            path,
        )

    def _registration_view(self) -> RegistrationView:
        folder, section = self.stage("register"), self.plan.config.register_
        return registration_view(
            register_stage.load(folder), folder.path, section.plugin, section.min_confidence
        )

    def _train(self) -> dict[str, Any]:
        path = self.weights_path
        beside = (path.parent / name for name in (HISTORY_FILE, PICTURES))
        self.results.put("train", path, *(each for each in beside if each.exists()))
        return {"weights (SHA-256)": file_hash(path)}

    def _infer(self) -> dict[str, Any]:
        self.results.put("infer", self.outputs)
        return {"engine": str(self.engine.describe())}

    def _evaluate(self) -> dict[str, Any]:
        if not self.test_fields:
            self._note("evaluate", "split.test is empty: nothing was measured")
        scores = scores_json(self.evaluation)
        self.results.make_room("evaluate")
        write_json(self.folder.path / SCORES_FILE, scores)
        return {"images": len(self.evaluation.images)}

    def _report(self) -> dict[str, Any]:
        from superres.report.builder import build_report

        facts = report_stage.RunFacts(
            self.folder.path.resolve().name,
            datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            self.stage("infer").facts()["engine"],
            self.plan.resolved(),
            self.versions,
            {**self.hashes, "weights (SHA-256)": file_hash(self.weights_path)},
            self.times,
            self.notes,
        )
        data = report_stage.report_data(
            facts,
            self.acquisition,
            self.registered.records,
            self._registration_view(),
            self.split,
            train_stage.history(self.stage("train")),
            train_stage.training_facts(self.weights_path),
            self.evaluation,
            report_stage.self_feeding_pictures(self.test_fields, self.outputs, self.plan.config.infer.passes),
        )
        self.results.make_room("report")
        build_report(data, self.folder.path / REPORT_FILE)
        return {}

    def _note(self, stage: str, text: str) -> None:
        self.notes.append(text)
        self.events.note(stage, text)
