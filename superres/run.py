"""One call of `Pipeline.run`: its stages in order, each finished once, its results put where users look."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from superres._version import __version__
from superres.artefacts import TRAINS, Artefacts
from superres.config import STAGES, Stage
from superres.events import Events
from superres.inference.device import resolve_device
from superres.io.atomic import write_json
from superres.plan import Plan
from superres.report.data import RegistrationPage, StageTime
from superres.results import REGISTRATION_FILE, REPORT_FILE, SCORES_FILE, Results, RunResult
from superres.stages import report as report_stage
from superres.stages import train as train_stage
from superres.stages.evaluate import scores_json
from superres.stages.records import RECORDS
from superres.stages.seen import seen_note
from superres.stages.store import RunFolder, file_hash
from superres.training.curves import PICTURES
from superres.training.learner import check_arithmetic
from superres.training.loop import HISTORY_FILE, train
from superres.training.ranks import ALONE, Ranks

STARTED_FROM = "The weights that training started from"


class Run:
    """The state of one call of `Pipeline.run`: what it made of a plan, how long that took, and what is to be noted."""

    def __init__(self, plan: Plan, folder: RunFolder, events: Events, ranks: Ranks = ALONE) -> None:
        self.plan, self.folder, self.events, self.ranks = plan, folder, events, ranks
        self.artefacts = Artefacts(plan, folder, events, ranks)
        self.times: list[StageTime] = []
        self.notes: list[str] = []

    def to(self, until: Stage) -> RunResult:
        """Make everything up to a stage; of several processes that train together the first one does."""
        # Before anything is made: plan.json says what is being made.
        results = Results(
            self.folder, self.artefacts.keys, self._plan_json(), lambda text: self._note("train", text)
        )
        steps: dict[Stage, Callable[[Results], dict[str, Any]]] = {
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
            check_arithmetic(self.plan.config.train, resolve_device(self.artefacts.device))
            self.ranks.share(self.plan.config.train.batch_size)
        for stage in wanted:
            self.events.raise_if_cancelled()
            folder, began = self.artefacts.stage(stage), time.monotonic()
            if folder.finished and results.current(stage):
                self.times.append(StageTime(stage, folder.facts()["seconds"], "taken from an earlier run"))
                continue
            facts = steps[stage](results)
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
            train(self.artefacts.job, self.events, self.ranks)

    def _plan_json(self) -> dict[str, Any]:
        return {
            "superres": __version__,
            "pipeline": self.plan.resolved(),
            "plugins": dict(self.plan.origins),
            "versions": self.artefacts.versions,
            "hashes": self.artefacts.hashes,
        }

    # Stages: ask for the artefact, put it where users look, and say what is to be remembered of it.

    def _acquire(self, results: Results) -> dict[str, Any]:
        return {"specimens": list(self.artefacts.acquisition.specimens)}

    def _register(self, results: Results) -> dict[str, Any]:
        folder = self.artefacts.stage("register").path
        records = folder / RECORDS
        try:
            kept = len(self.artefacts.registered.pairs)
        finally:
            # Where every field was rejected the table of reasons is what the user needs most.
            if records.exists():
                self._write_registration_page(folder / REGISTRATION_FILE)
                results.put("register", records, folder / REGISTRATION_FILE)
        return {"kept": kept, "fields": len(self.artefacts.registered.records)}

    def _write_registration_page(self, path: Path) -> None:
        from superres.report.builder import build_registration_page

        acquisition = self.artefacts.acquisition
        build_registration_page(
            RegistrationPage(
                self._title(),
                acquisition.coarse_pixel_size_um,
                acquisition.fine_pixel_size_um,
                self.artefacts.registration_view(),
                _now(),
                acquisition.simulated,
            ),
            path,
        )

    def _train(self, results: Results) -> dict[str, Any]:
        if seen := self.artefacts.seen_before:
            self.events.note("train", f"{seen_note(seen, STARTED_FROM)}; name others in split.test")
        path = self.artefacts.weights_path
        beside = (path.parent / name for name in (HISTORY_FILE, PICTURES))
        results.put("train", path, *(each for each in beside if each.exists()))
        return {"weights (SHA-256)": file_hash(path)}

    def _infer(self, results: Results) -> dict[str, Any]:
        results.put("infer", self.artefacts.outputs)
        return {"engine": str(self.artefacts.engine.describe())}

    def _evaluate(self, results: Results) -> dict[str, Any]:
        if not self.artefacts.test_fields:
            self._note("evaluate", "split.test is empty: nothing was measured")
        scores = scores_json(self.artefacts.evaluation, self.artefacts.seen_before)
        results.make_room("evaluate")
        write_json(self.folder.path / SCORES_FILE, scores)
        return {"images": len(self.artefacts.evaluation.images)}

    def _report(self, results: Results) -> dict[str, Any]:
        from superres.report.builder import build_report

        made = self.artefacts
        facts = report_stage.RunFacts(
            self._title(),
            _now(),
            made.stage("infer").facts()["engine"],
            self.plan.resolved(),
            made.versions,
            {**made.hashes, "weights (SHA-256)": file_hash(made.weights_path)},
            self.times,
            self.notes,
            tuple(made.seen_before),
            seen_note(made.seen_before, STARTED_FROM),
        )
        data = report_stage.report_data(
            facts,
            made.acquisition,
            made.registered.records,
            made.registration_view(),
            made.split,
            train_stage.history(made.stage("train")),
            train_stage.training_facts(made.weights_path),
            made.evaluation,
            report_stage.self_feeding_pictures(made.test_fields, made.outputs, self.plan.config.infer.passes),
        )
        results.make_room("report")
        build_report(data, self.folder.path / REPORT_FILE)
        return {}

    def _title(self) -> str:
        return self.folder.path.resolve().name

    def _note(self, stage: str, text: str) -> None:
        self.notes.append(text)
        self.events.note(stage, text)


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
