"""Progress in a terminal: a bar where stderr is one, a line at each stage where it is a file."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any

from superres.events import Events, Progress

QUIET_SECONDS = 2.0
"""Nothing shorter than this gets a bar."""


class ConsoleEvents(Events):
    """Events for a person at a terminal.  Use as a context manager: Ctrl-C then asks the run to stop at a safe point.

    The second Ctrl-C interrupts at once.  words: what becomes of the text of a note, for a command that says things
    differently.  stage: the one name under which everything is told, for a command that borrows stages of a run.
    """

    def __init__(self, words: Callable[[str], str] = str, stage: str = "") -> None:
        super().__init__()
        self._words, self._only = words, stage
        self._bar: Any = None
        self._task: Any = None
        self._stage, self._tenth = "", 0
        self._since = time.monotonic()
        self._previous: Any = None

    def __enter__(self) -> ConsoleEvents:
        self._previous = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._previous)
        self._close()

    def progress(self, progress: Progress) -> None:
        progress = replace(progress, stage=self._only or progress.stage)
        if progress.stage != self._stage:
            self._close()
            self._stage, self._tenth, self._since = progress.stage, 0, time.monotonic()
            if not sys.stderr.isatty():
                sys.stderr.write(f"{progress.stage}: {progress.message or 'started'}\n")
        if sys.stderr.isatty():
            self._draw(progress)
        else:
            self._log(progress)
        if progress.done >= progress.total:
            if not sys.stderr.isatty():
                seconds = time.monotonic() - self._since
                sys.stderr.write(f"{progress.stage}: done in {seconds:.1f} s, {progress.message}\n")
            self._close()

    def note(self, stage: str, text: str) -> None:
        stage, text = self._only or stage, self._words(text)
        if self._bar is not None:
            self._bar.console.print(f"{stage}: {text}", markup=False, highlight=False)
        else:
            sys.stderr.write(f"{stage}: {text}\n")

    def _interrupted(self, _signal: int, _frame: FrameType | None) -> None:
        if self.cancelled:
            raise KeyboardInterrupt
        self.cancel()
        self.note(self._stage or "superres", "stopping at the next safe point; Ctrl-C again to stop at once")

    def _log(self, progress: Progress) -> None:
        """A line at every tenth of a long stage: a log file should show that something moves, and how fast."""
        tenth = 10 * progress.done // max(progress.total, 1)
        if tenth > self._tenth and progress.done < progress.total and time.monotonic() - self._since > QUIET_SECONDS:
            sys.stderr.write(f"{progress.stage}: {progress.done} of {progress.total}, {progress.message}\n")
        self._tenth = tenth

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            if time.monotonic() - self._since < QUIET_SECONDS and progress.done < progress.total:
                return
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description:<9}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[remark]}", markup=False),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(progress.stage, total=progress.total, remark="")
        self._bar.update(self._task, completed=progress.done, total=progress.total, remark=progress.message)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._stage = ""
