"""What each stage of a run is made from: every artefact is made, or read back, when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from superres.api.source import Acquisition, Pair
from superres.config import Stage
from superres.engine import Engine
from superres.errors import RegistrationError
from superres.events import Events
from superres.image import FloatArray
from superres.io.weights import read_weights
from superres.plan import Plan
from superres.report.data import RegistrationView
from superres.stage_keys import library_versions, stage_keys
from superres.stages import acquire as acquire_stage
from superres.stages import infer as infer_stage
from superres.stages import register as register_stage
from superres.stages import train as train_stage
from superres.stages.evaluate import Evaluation, evaluate
from superres.stages.quality import registration_view
from superres.stages.records import Registered
from superres.stages.seen import seen_before
from superres.stages.split import Split, check_scale, choose_split, require_fields
from superres.stages.store import RunFolder, StageFolder
from superres.training.job import TrainingJob
from superres.training.loop import CHECKPOINT_FILE
from superres.training.ranks import ALONE, Ranks, local_device

TRAINS = "superres/trains"
"""Key under which the first of several processes says whether there is something to train."""


class Artefacts:
    """The artefacts of one plan in one run folder, each with the stages before it in its wake.

    They lie in the folders of their stages (`work/STAGE-KEY`), and are read from there where a stage has finished.
    Marking a stage as finished, and putting files where users look, is `Run`'s.
    """

    def __init__(self, plan: Plan, folder: RunFolder, events: Events, ranks: Ranks = ALONE) -> None:
        self.plan, self.folder, self.events, self.ranks = plan, folder, events, ranks
        self.device = local_device(plan.config.run.device)

    @cached_property
    def keys(self) -> dict[Stage, str]:
        return stage_keys(self.plan)

    @cached_property
    def versions(self) -> dict[str, str]:
        return library_versions(self.plan)

    @cached_property
    def hashes(self) -> dict[str, str]:
        return {
            "input images and source options": self.keys["acquire"],
            "registration": self.keys["register"],
            "training": self.keys["train"],
        }

    def stage(self, name: Stage) -> StageFolder:
        return self.folder.stage(name, self.keys[name])

    @cached_property
    def acquisition(self) -> Acquisition:
        known = acquire_stage.known_specimens(self.plan.source)
        if known:  # without any the acquisition says better what is missing
            self._split_of(known)  # a virtual scan, or the headers of thousands of files, take minutes
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

    def registration_view(self) -> RegistrationView:
        """What is shown of the registration; also where every field was rejected."""
        folder, section = self.stage("register"), self.plan.config.register_
        return registration_view(
            register_stage.load(folder), folder.path, section.plugin, section.min_confidence
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

    @cached_property
    def seen_before(self) -> dict[str, str]:
        """The specimens that are to test but were not new to the weights that training starts from; see stages.seen."""
        start = self.plan.start_from
        return {} if start is None else seen_before(read_weights(start).provenance, self.split.test,
                                                    self.acquisition.provenance)

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
        if not (folder.path / CHECKPOINT_FILE).exists():
            for each in self.folder.unfinished("train", folder):
                if (each / CHECKPOINT_FILE).exists():
                    self.events.note("train", "settings or data differ from those of the unfinished training in "
                                              f"'{each}': that one is kept, and another begins at step 0")
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
