"""Work on several items at once, with the results in the items' order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_WORKERS = 4
"""Each holds a field, its template and the coarse pixels around it: a third of a gigabyte for a 2048 px RGB field."""


def usable_workers() -> int:
    """One a processor that this process may use, at most MAX_WORKERS."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MAX_WORKERS)


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[Result, None, None]:
    """work(item) for every item, up to `workers` at once, in threads; results come in the order of the items.

    No more than workers + 1 results exist that were not taken yet, so memory is bounded.  What work raises is raised
    here, in its turn.  close() waits for the work that has begun; the rest is never done.
    workers = 1: no thread is started.
    """
    if workers <= 1:
        for item in items:
            yield work(item)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="superres-register") as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                if len(begun) > workers:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
