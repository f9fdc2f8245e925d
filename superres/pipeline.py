"""Pipeline: one run, stage by stage, resumable.  The object that the command line and other programs use."""

from __future__ import annotations

import secrets
import time
from contextlib import AbstractContextManager, nullcontext

from superres.config import STAGES, Stage
from superres.errors import StorageError
from superres.events import Events
from superres.inference.device import resolve_device
from superres.plan import Plan
from superres.results import RunResult, require_own_folder
from superres.run import Run
from superres.stages.store import RunFolder
from superres.training.ranks import (
    ALONE,
    SAME_FOLDER,
    Ranks,
    joined,
    local_device,
    restarted,
    started_by_torchrun,
)

__all__ = ["Pipeline", "RunResult"]

SIGNED = "superres/signed"
"""Key under which the first of several processes says what it wrote into the run folder."""
NETWORK_DISK_SECONDS = 60.0
"""A network disk may show what another machine wrote this much later: NFS keeps what it knows of a folder so long."""


class Pipeline:
    """Runs a plan: `Pipeline(plan).run()`.

    events: told about progress, and asked whether to stop; see superres.events.  Each stage is finished once for the
    same inputs and options: a second run goes on after the last good one, and inside training after the last
    checkpoint.
    """

    def __init__(self, plan: Plan, *, events: Events | None = None) -> None:
        self.plan = plan
        self.events = events if events is not None else Events()

    def run(self, until: Stage = "report", *, resume: bool = True) -> RunResult:
        """Run all stages up to `until`.  resume=False forgets earlier work first.

        Where torchrun started several processes, all of them come here with the same plan and a folder that all of them
        see: the first one does everything, and the others help it to train; theirs is a result without stages.
        Raises SuperresError subclasses for what the user can mend, and Cancelled where events asked to stop; finished
        stages are kept then.  Raises StorageError if another process runs in the same folder, or if the folder holds
        files of somebody else's under the names of results.
        """
        if until not in STAGES:
            raise ValueError(f"until is {until!r}; expected one of {', '.join(STAGES)}")
        folder = RunFolder(self.plan.output)
        with self._ranks() as ranks:
            if not ranks.first:
                _require_same_folder(folder, ranks)
                Run(self.plan, folder, _Silent(self.events), ranks).help_to_train()
                return RunResult(folder.path, ())
            require_own_folder(folder.path)
            with folder.locked():
                if not resume and not restarted():  # what a killed attempt of this call has done is kept
                    folder.forget()
                if ranks.count > 1:
                    token = secrets.token_hex(8)
                    folder.sign(token)
                    ranks.say(SIGNED, token)
                return Run(self.plan, folder, self.events, ranks).to(until)

    def _ranks(self) -> AbstractContextManager[Ranks]:
        if not started_by_torchrun():
            return nullcontext(ALONE)
        return joined(resolve_device(local_device(self.plan.config.run.device)))


def _require_same_folder(folder: RunFolder, ranks: Ranks) -> None:
    """Raises StorageError in a process that does not see the first one's run folder: it would gather and register
    everything again, and train from another checkpoint."""
    token, began = ranks.hear(SIGNED), time.monotonic()
    while not folder.is_signed(token):
        if time.monotonic() - began > NETWORK_DISK_SECONDS:
            raise StorageError(f"process {ranks.rank} of {ranks.count} does not see the first one's run folder at "
                               f"'{folder.path.absolute()}'", hint=SAME_FOLDER)
        time.sleep(0.2)


class _Silent(Events):
    """Of several processes that train together only the first one talks; all of them can be asked to stop."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    @property
    def cancelled(self) -> bool:
        return self._events.cancelled
