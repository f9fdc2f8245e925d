"""Copies to and from a card beside its computing: right whatever the card does first, as far as it is told to wait."""

from __future__ import annotations

import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from superres.inference.overlap import DEPTH, Overlap, TorchCard


class LateCard:
    """Does everything as late as it may: nothing before somebody waits for it, and then only what must come before.

    What a missing wait would leave to chance is always wrong here.  Memory begins as 0xEE.
    """

    def __init__(self):
        self.queues = []

    def queue(self):
        self.queues.append([])
        return self.queues[-1]

    def launch(self, queue, work):
        queue.append([work, False])

    def mark(self, queue):
        return queue, len(queue)

    def wait(self, queue, mark):
        queue.append([lambda: self.finish(mark), False])

    def finish(self, mark):
        queue, length = mark
        for entry in queue[:length]:
            if not entry[1]:
                entry[1] = True
                entry[0]()

    def host_memory(self, shape):
        return torch.full(shape, 0xEE, dtype=torch.uint8)

    def memory(self, shape, queue):
        memory = self.host_memory(shape)
        self.launch(queue, lambda: memory.fill_(0xDD))      # by whom it was used before
        return memory


class EagerCard(LateCard):
    """Does everything at once: the other extreme."""

    def launch(self, queue, work):
        work()
        super().launch(queue, lambda: None)


def inverted(tensor):
    return (255 - tensor).repeat_interleave(2, dim=2).repeat_interleave(3, dim=3)


def expected(frame):
    return (255 - frame).repeat(2, axis=0).repeat(3, axis=1)


def frames(rng, count, shape=(4, 5, 3)):
    return [rng.integers(0, 256, shape).astype(np.uint8) for _ in range(count)]


def shape_of(frame):
    return 2 * frame.shape[0], 3 * frame.shape[1]


def through(card, images):
    """As the stream does it: DEPTH on their way, the oldest taken before the next is begun."""
    overlap, begun, results = Overlap(card), [], []
    for image in images:
        if len(begun) == DEPTH:
            results.append(begun.pop(0)())
        handed = image.copy()
        begun.append(overlap.start(handed, shape_of(image), inverted))
        handed[:] = 0       # the source may use its memory again
    return results + [take() for take in begun]


@pytest.mark.parametrize("card", [LateCard, EagerCard])
def test_every_frame_comes_back_as_it_should(card, rng):
    images = frames(rng, 7)
    for image, result in zip(images, through(card(), images), strict=True):
        np.testing.assert_array_equal(result, expected(image))


def test_frames_may_change_their_size(rng):
    images = [*frames(rng, 3), *frames(rng, 3, (2, 7, 3)), *frames(rng, 2)]
    for image, result in zip(images, through(LateCard(), images), strict=True):
        np.testing.assert_array_equal(result, expected(image))


def test_a_result_is_the_callers_own(rng):
    """Later frames through the same buffers do not change it."""
    images = frames(rng, 5)
    results = through(LateCard(), images)
    assert all(result.flags.owndata and result.flags.writeable for result in results)


def test_a_frame_may_run_backwards(rng):
    (image,) = frames(rng, 1)
    take = Overlap(LateCard()).start(image[::-1, :, ::-1], shape_of(image), inverted)
    np.testing.assert_array_equal(take(), expected(image[::-1, :, ::-1]))


def test_the_cards_memory_of_a_result_is_free_when_the_result_is_taken(rng):
    (image,), made = frames(rng, 1), []

    def compute(tensor):
        output = inverted(tensor)
        made.append(weakref.ref(output))
        return output

    overlap = Overlap(EagerCard())
    overlap.start(image, shape_of(image), compute)()
    assert made[0]() is None, "79 MB for each frame of 2048²"


@pytest.mark.parametrize("missing", [0, 1])
def test_the_card_would_notice_a_missing_wait(rng, missing):
    """Of the computing for the frame, and of the way back for the result."""
    class Forgetful(LateCard):
        waits = 0

        def wait(self, queue, mark):
            self.waits += 1
            if (self.waits - 1) % 2 != missing:
                super().wait(queue, mark)

    images = frames(rng, 3)
    try:
        results = through(Forgetful(), images)
    except AssertionError:
        return      # a result was asked for that is not there yet
    assert any(not np.array_equal(result, expected(image)) for image, result in zip(images, results, strict=True))


def test_the_card_would_notice_memory_that_another_queue_still_uses(rng):
    class Careless(LateCard):
        """Memory whose former work is on a queue of its own, as the present one of whoever calls."""

        def memory(self, shape, queue):
            return super().memory(shape, self.queue())

        def finish(self, mark):
            super().finish(mark)
            for queue in self.queues[3:]:
                super().finish(self.mark(queue))

    images = frames(rng, 3)
    results = through(Careless(), images)
    assert any(not np.array_equal(result, expected(image)) for image, result in zip(images, results, strict=True))


def test_memory_of_a_gpu_belongs_to_the_queue_that_it_is_asked_for(monkeypatch):
    present = ["the caller's"]

    @contextmanager
    def stream(queue):
        present.append(queue)
        yield
        present.pop()

    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch, "empty", lambda shape, **options: (shape, present[-1]))
    assert TorchCard(torch.device("cuda", 0)).memory((2, 3), "the way in") == ((2, 3), "the way in")


def test_more_frames_than_buffers_are_refused(rng):
    overlap = Overlap(LateCard())
    begun = [overlap.start(image, shape_of(image), inverted) for image in frames(rng, DEPTH)]
    with pytest.raises(RuntimeError, match="expected the oldest one to be taken first"):
        overlap.start(frames(rng, 1)[0], (8, 15), inverted)
    assert len(begun) == DEPTH
