"""Pipeline: one run, stage by stage, resumable.  The object that the command line and other programs use."""

from __future__ import annotations

from superres.config import STAGES, Stage
from superres.events import Events
from superres.plan import Plan
from superres.results import RunResult
from superres.run import Run
from superres.stages.store import RunFolder

__all__ = ["Pipeline", "RunResult"]


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

        Raises SuperresError subclasses for what the user can mend, and Cancelled where events asked to stop; finished
        stages are kept then.  Raises StorageError if another process runs in the same folder.
        """
        if until not in STAGES:
            raise ValueError(f"until is {until!r}; expected one of {', '.join(STAGES)}")
        folder = RunFolder(self.plan.output)
        with folder.locked():
            if not resume:
                folder.forget()
            return Run(self.plan, folder, self.events).to(until)
