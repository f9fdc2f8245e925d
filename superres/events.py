"""Events: how a long computation tells its caller what it does, and learns that it should stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from superres.errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """done of total units of a stage; message is a short live remark ("loss 0.0012, SSIM 0.91")."""

    stage: str
    done: int
    total: int
    message: str = ""


class Events:
    """Subclass it to show progress; call `cancel()` from any thread to stop at the next safe point."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def progress(self, progress: Progress) -> None:
        """Called often, on the working thread; keep it quick.  Silent by default."""

    def note(self, stage: str, text: str) -> None:
        """A sentence that the user should see (a refused pair, a smaller tile).  Silent by default."""

    def cancel(self) -> None:
        """Ask the computation to stop; it raises Cancelled after it has saved its work."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        return self._stop.is_set()

    def raise_if_cancelled(self) -> None:
        if self.cancelled:  # which a subclass may ask elsewhere
            raise Cancelled("cancelled", hint="run the same command again")
