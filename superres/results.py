"""The files that users look for in a run folder, and which plan each of them belongs to."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from superres.config import STAGES, Stage
from superres.errors import StorageError
from superres.io.atomic import write_json
from superres.stages.infer import OUTPUTS
from superres.stages.records import RECORDS
from superres.stages.store import RunFolder, file_hash, publish
from superres.stages.train import WEIGHTS_FILE
from superres.training.curves import PICTURES
from superres.training.loop import HISTORY_FILE

PLAN_FILE, SCORES_FILE, REPORT_FILE = "plan.json", "scores.json", "report.html"
REGISTRATION_FILE = "registration.html"
LEDGER = "published.json"
"""In work/: which plan's results lie where users look."""

RESULTS: dict[Stage, tuple[str, ...]] = {
    "acquire": (),
    "register": (RECORDS, REGISTRATION_FILE),
    "train": (WEIGHTS_FILE, HISTORY_FILE, PICTURES),
    "infer": (OUTPUTS,),
    "evaluate": (SCORES_FILE,),
    "report": (REPORT_FILE,),
}
OPTIONAL = {HISTORY_FILE, PICTURES}
"""A model that is not trained has no history, and without validation specimens there is nothing to draw."""


@dataclass(frozen=True)
class RunResult:
    """What a run made.  folder: the run folder.  stages: those that are finished.  scores: as in scores.json, or
    empty."""

    folder: Path
    stages: tuple[Stage, ...]
    scores: Mapping[str, Any] = field(default_factory=dict)

    @property
    def report(self) -> Path:
        return self.folder / REPORT_FILE

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS_FILE

    @property
    def registration(self) -> Path:
        return self.folder / REGISTRATION_FILE

    def registration_summary(self) -> str:
        """How many fields were kept, how good they are by the registrar's own estimate, which were rejected and why."""
        table = json.loads((self.folder / RECORDS).read_text(encoding="utf-8"))
        kept = [row for row in table["pairs"] if row["kept"]]
        lines = [f"kept {len(kept)} of {len(table['pairs'])} fields"]
        residuals = [row["residual_um"] for row in kept if row["residual_um"] is not None]
        if residuals:
            pixel = table["coarse_pixel_size_um"]
            lines[0] += (f"; residual, by the registrar's own estimate: median {median(residuals):.4f} µm "
                         f"({median(residuals) / pixel:.3f} coarse px), largest {max(residuals):.4f} µm")
        warned = sum("warning" in row["details"] for row in kept)
        if warned:
            lines[0] += f"; {warned} with a warning"
        unjudged = Counter(row["details"]["unjudged"] for row in kept if "unjudged" in row["details"])
        lines += [f"{count} of the kept fields could not be judged for {what}" for what, count in unjudged.items()]
        rejected = [row for row in table["pairs"] if not row["kept"]]
        lines += [f"rejected {row['name']} ({row['reason']}): {row['message']}" for row in rejected]
        hints = {row["reason"]: row["hint"] for row in reversed(rejected) if row["hint"]}
        lines += [f"hint ({reason}): {hint}" for reason, hint in reversed(hints.items())]
        return "\n".join([*lines, f"page: {self.registration}"])

    def summary(self) -> str:
        """One line a score, model beside bicubic, and where the result lies."""
        lines = []
        for name, score in self.scores.get("summary", {}).items():
            beside = "" if score["bicubic"] is None else f"   bicubic {score['bicubic']:.4g}"
            lines.append(f"{name:<24} {score['model']:.4g} {score['unit']}{beside}   (n = {score['n']})")
        lines.append(
            f"report: {self.report}"
            if "report" in self.stages
            else f"finished: {', '.join(self.stages)}; results in {self.folder}"
        )
        return "\n".join(lines)


def require_own_folder(path: Path) -> None:
    """Raises StorageError for a folder with files of somebody else's that have the names of results.

    A run replaces and removes files of these names.  A folder is a run's own where it has no such files, or a plan.json
    that a run wrote, or its ledger.
    """
    if (path / "work" / LEDGER).exists() or _is_plan(path / PLAN_FILE):
        return
    names = (PLAN_FILE, *(name for stage in STAGES for name in RESULTS[stage]))
    foreign = [name for name in names if (path / name).exists()]
    if foreign:
        raise StorageError(f"'{path}' holds {', '.join(foreign)}, which no run of superres wrote there",
                           hint="a run would replace them: choose another folder with --set run.output=..., or move "
                                "them away")


def _is_plan(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "superres" in content


class Results:
    """Keeps the results of two plans from lying side by side.

    keys: of the present plan's stages.  plan: the content of plan.json.  A result of another plan stays until the
    present one has a result to put in its place; then it goes, and everything that was made from it.  Weights are never
    deleted: they are worth hours, and are kept under a name with their hash.
    """

    def __init__(
        self, folder: RunFolder, keys: Mapping[Stage, str], plan: Mapping[str, Any], note: Callable[[str], None]
    ) -> None:
        self.path, self.keys, self._plan, self._note = folder.path, keys, plan, note
        self._ledger = folder.work / LEDGER
        self._owners: dict[str, str] = (
            json.loads(self._ledger.read_text(encoding="utf-8")) if self._ledger.exists() else {}
        )
        if all(self._owners.get(stage) in (None, keys[stage]) for stage in STAGES):
            self._write_plan()

    def current(self, stage: Stage) -> bool:
        """Whether the stage's files are there, and are the present plan's."""
        if not RESULTS[stage]:
            return True
        present = all((self.path / name).exists() for name in RESULTS[stage] if name not in OPTIONAL)
        return present and self._owners.get(stage) == self.keys[stage]

    def make_room(self, stage: Stage) -> None:
        """Before a result of this stage is put: what other plans left of it, and of later stages, goes."""
        for later in STAGES[STAGES.index(stage) :]:
            if self._owners.get(later) != self.keys[later]:
                for name in RESULTS[later]:
                    self._remove(self.path / name)
                self._owners.pop(later, None)
        self._write_plan()
        self._owners[stage] = self.keys[stage]
        write_json(self._ledger, self._owners)

    def put(self, stage: Stage, *paths: Path) -> None:
        """Copy a stage's files to where users look, each at once or not at all."""
        self.make_room(stage)
        for path in paths:
            publish(path, self.path / path.name)

    def _remove(self, path: Path) -> None:
        if path.name == WEIGHTS_FILE and path.exists():
            kept = path.with_name(f"weights-{file_hash(path)[:8]}.safetensors")
            path.rename(kept)
            self._note(f"the weights of an earlier training are kept as {kept.name}")
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _write_plan(self) -> None:
        write_json(self.path / PLAN_FILE, self._plan)
