"""Frames to a card and back while it computes: page-locked buffers, two frames on their way, a queue each way.

On a CPU nothing is to be gained and nothing of this runs.  The order of copies and waits is proven over a card of the
tests that does everything as late as it may (tests/inference/test_overlap.py); it has never run on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from superres.image import Array

DEPTH = 2
"""Frames on their way at a time: one that is computed, one that is copied."""


class Card(Protocol):
    """A device with queues of work.  Work of one queue runs in order; of two in any order, but for `wait`."""

    def queue(self) -> Any:
        """A new queue."""

    def launch(self, queue: Any, work: Callable[[], object]) -> None:
        """Put what `work` asks of the card on a queue; nothing waits for it."""

    def mark(self, queue: Any) -> Any:
        """The end of what is on the queue now."""

    def wait(self, queue: Any, mark: Any) -> None:
        """What comes onto the queue from now on begins after the mark."""

    def finish(self, mark: Any) -> None:
        """The host waits for a mark."""

    def host_memory(self, shape: tuple[int, ...]) -> Tensor:
        """uint8 that is copied from and to the card without a detour."""

    def memory(self, shape: tuple[int, ...], queue: Any) -> Tensor:
        """uint8 on the card.  Work that is on the queue already may still be using it for something else."""


@dataclass(frozen=True, eq=False)
class TorchCard:
    """A GPU through torch."""

    device: torch.device

    def queue(self) -> Any:
        return torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def launch(self, queue: Any, work: Callable[[], object]) -> None:
        with torch.cuda.stream(queue):
            work()

    def mark(self, queue: Any) -> Any:
        return queue.record_event()

    def wait(self, queue: Any, mark: Any) -> None:
        queue.wait_event(mark)

    def finish(self, mark: Any) -> None:
        mark.synchronize()

    def host_memory(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)

    def memory(self, shape: tuple[int, ...], queue: Any) -> Tensor:
        # torch hands out memory that was freed on a stream while that stream may still be working with it.
        with torch.cuda.stream(queue):
            return torch.empty(shape, dtype=torch.uint8, device=self.device)


@dataclass(eq=False)
class _Slot:
    """Buffers of one frame on its way, kept for the next frame of that size."""

    sent: Tensor
    arrived: Tensor
    back: Tensor
    output: Tensor | None = None
    """What was computed; held until it is copied, since the card's allocator knows of one queue only."""


class Overlap:
    """Computes uint8 frames on a card, with copies in both directions beside the computing.  For one thread."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._inward, self._computing, self._outward = card.queue(), card.queue(), card.queue()
        self._slots: list[_Slot | None] = [None] * DEPTH
        self._on_their_way: list[int] = []
        self._next = 0

    def start(self, frame: Array, output_shape: tuple[int, int], compute: Callable[[Tensor], Tensor]
              ) -> Callable[[], Array]:
        """Send an (H, W, 3) uint8 frame on its way.  Returns a function that waits for its (H', W', 3) result.

        compute: (1, 3, H, W) uint8 on the card → (1, 3, H', W') uint8 there, by work on the present queue.
        The frame may be changed or gone afterwards.  At most DEPTH frames are on their way: the oldest one's function
        must have been called before another one starts, else RuntimeError.
        """
        number, card = self._next, self._card
        if number in self._on_their_way:
            raise RuntimeError(f"{DEPTH} frames are on their way; expected the oldest one to be taken first")
        slot = self._slot(number, frame.shape, output_shape)
        # The slot's last frame has been waited for, so nobody reads or writes its buffers any more.
        slot.sent.copy_(torch.from_numpy(np.ascontiguousarray(frame)))

        def run() -> None:
            slot.output = compute(slot.arrived.permute(2, 0, 1)[None])

        def bring() -> None:
            assert slot.output is not None
            slot.back.copy_(slot.output[0].permute(1, 2, 0), non_blocking=True)

        card.launch(self._inward, lambda: slot.arrived.copy_(slot.sent, non_blocking=True))
        card.wait(self._computing, card.mark(self._inward))
        card.launch(self._computing, run)
        card.wait(self._outward, card.mark(self._computing))
        card.launch(self._outward, bring)
        landed = card.mark(self._outward)
        self._on_their_way.append(number)
        self._next = (number + 1) % DEPTH

        def take() -> Array:
            card.finish(landed)
            self._on_their_way.remove(number)
            slot.output = None
            # By torch, whose threads share a large copy: one core takes longer for 5120² than a card for computing it.
            result = np.empty(slot.back.shape, dtype=np.uint8)
            torch.from_numpy(result).copy_(slot.back)
            return result

        return take

    def _slot(self, number: int, shape: tuple[int, ...], output_shape: tuple[int, int]) -> _Slot:
        slot, wanted = self._slots[number], (*output_shape, 3)
        if slot is None or tuple(slot.sent.shape) != shape or tuple(slot.back.shape) != wanted:
            # The way in writes to it first.
            slot = _Slot(self._card.host_memory(shape), self._card.memory(shape, self._inward),
                         self._card.host_memory(wanted))
            self._slots[number] = slot
        return slot
