"""Frames through a network one after another: reading, computing and what the caller does with a result overlap."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, NoReturn, TypeVar

from superres.errors import Cancelled
from superres.events import Events, Progress

Frame = TypeVar("Frame")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Streamed(Generic[Result]):
    """What became of one frame.

    index: its number in the stream, from 0.  image: the result, None where it failed.  error: why it failed; frames
    after it go on, unless it was the source of frames itself that failed.
    """

    index: int
    image: Result | None
    error: Exception | None = None

    def unwrap(self) -> Result:
        """The result.  Raises the frame's error."""
        if self.error is not None:
            raise self.error
        assert self.image is not None
        return self.image


Start = Callable[[Frame, Events], Callable[[], Result]]
"""Begins with a frame and returns what waits for its result.  Its events stop it when the stream stops."""

SOURCE_S = 1.0
"""How long the end of the program waits for a source that is giving a frame: a file is read by then, and what a camera
waits for may never come."""


def stream_in_order(frames: Iterable[Frame], start: Start[Frame, Result], ahead: int, events: Events,
                    depth: int = 1, keep: Callable[[Frame], Frame] = lambda frame: frame
                    ) -> Generator[Streamed[Result], None, None]:
    """The results of all frames, in their order.

    One thread takes frames from their source, one computes, and the caller has its own; at most `ahead` frames wait to
    be computed and `ahead` results to be taken, then whoever is faster waits.  depth: how many frames are begun before
    the first one's result is waited for.  keep: makes a frame what waits, before the source is asked for the next one.
    Raises Cancelled when `events` are cancelled, and what the source or the computing raises that is no Exception
    (SystemExit, KeyboardInterrupt, asyncio.CancelledError).  Closing the iterator stops both threads, as the end of the
    program does; the one that reads ends when its source gives the frame that it waits for.
    """
    waiting: _Bounded[tuple[int, Frame | _Failure]] = _Bounded(ahead)
    finished: _Bounded[Streamed[Result] | _Failure] = _Bounded(ahead)
    inner = _Linked(events)

    def read() -> None:
        index = 0
        try:
            for frame in frames:
                item: Frame | _Failure = frame
                try:
                    item = keep(frame)
                except Exception as error:      # of memory most of all: it concerns this frame
                    item = _Failure(error)
                if not waiting.put((index, item)):
                    return
                index += 1
        except BaseException as error:      # of the source, which may be anybody's code
            waiting.put((index, _Failure(error)))
        finally:
            waiting.end()

    def work() -> None:
        begun: deque[tuple[int, Callable[[], Result]]] = deque()
        try:
            while True:
                if begun and (len(begun) == depth or not waiting.has_items()):
                    outcome = _outcome(*begun.popleft(), inner)
                else:
                    item = waiting.take()
                    if item is None:
                        return
                    begun.append((item[0], _begun(start, item[1], inner)))
                    continue
                if outcome is None or not finished.put(outcome):
                    return
        except BaseException as error:      # the caller's to know: a stream that only ended would seem to be complete
            finished.put(_Failure(error))
        finally:
            finished.end()

    def stop() -> None:
        inner.cancel()
        waiting.close()
        finished.close()

    try:
        _start_thread(read, "superres-read", stop, SOURCE_S)
        _start_thread(work, "superres-compute", stop)
        while True:
            outcome = finished.take(events)
            if outcome is None:
                events.raise_if_cancelled()
                return
            if isinstance(outcome, _Failure):
                raise outcome.error
            yield outcome
    finally:
        stop()


def _start_thread(target: Callable[[], None], name: str, stop: Callable[[], None], patience_s: float | None = None
                  ) -> None:
    """A thread that a program does not end without, or not before it has waited so long.

    Stopped in the middle of what is compiled, a thread takes the whole process with it ("terminate called without an
    active exception") when the interpreter is gone.
    """
    def run() -> None:
        try:
            target()
        finally:
            atexit.unregister(leave)

    def leave() -> None:
        stop()
        thread.join(patience_s)

    thread = threading.Thread(target=run, name=name, daemon=True)
    atexit.register(leave)
    thread.start()


def _begun(start: Start[Frame, Result], frame: Frame | _Failure, events: Events) -> Callable[[], Result]:
    """What waits for the frame's result, or raises why it could not begin."""
    try:
        if isinstance(frame, _Failure):
            raise frame.error
        return start(frame, events)
    except BaseException as error:
        return partial(_raise, error)


def _outcome(index: int, finish: Callable[[], Result], events: Events) -> Streamed[Result] | None:
    """None where it was cancelled with the stream.  Raises what is no Exception."""
    try:
        return Streamed(index, finish())
    except Exception as error:
        return None if isinstance(error, Cancelled) and events.cancelled else Streamed(index, None, error)


def _raise(error: BaseException) -> NoReturn:
    raise error


@dataclass(frozen=True, eq=False)
class _Failure:
    """In place of a frame that its source could not give, or of a result that is none."""

    error: BaseException


class _Linked(Events):
    """Events of the stream's own thread: told to the caller's, and cancelled with them."""

    def __init__(self, outer: Events) -> None:
        super().__init__()
        self._outer = outer

    def progress(self, progress: Progress) -> None:
        self._outer.progress(progress)

    def note(self, stage: str, text: str) -> None:
        self._outer.note(stage, text)

    @property
    def cancelled(self) -> bool:
        return self._stop.is_set() or self._outer.cancelled

    def raise_if_cancelled(self) -> None:
        if self._stop.is_set():
            raise Cancelled("the stream is closed")
        self._outer.raise_if_cancelled()


_LOOK_S = 0.1
"""How often a waiting caller looks whether its events are cancelled: nothing else tells it."""

Item = TypeVar("Item")


class _Bounded(Generic[Item]):
    """A queue of bounded length between two threads that either side can bring to its end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[Item] = deque()
        self._ended = self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> bool:
        """Wait for room; False where nobody takes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._most)
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()
            return not self._closed

    def take(self, events: Events | None = None) -> Item | None:
        """The next item; None after the last one, when the queue is closed, or when `events` are cancelled."""
        with self._changed:
            while not (self._items or self._ended or self._closed):
                if events is not None and events.cancelled:
                    return None
                self._changed.wait(None if events is None else _LOOK_S)
            if self._closed or (events is not None and events.cancelled) or not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def has_items(self) -> bool:
        with self._changed:
            return bool(self._items)

    def end(self) -> None:
        """No more items come; those that are there are still taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes items any more."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
