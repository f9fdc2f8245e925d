"""Engine.stream: order, bounded waiting, errors in their place, an end when the caller wants one."""

from __future__ import annotations

import threading
import time
import weakref

import numpy as np
import pytest
import torch

from superres.catalog import Catalog
from superres.engine import Engine
from superres.errors import Cancelled, EngineError, ImageError
from superres.events import Events
from superres.image import Image
from superres.inference.streaming import _Bounded, stream_in_order

from .specimens import SMALL, make_weights, stained

PATIENCE_S = 20


@pytest.fixture(scope="module")
def engine():
    return Engine.from_weights(make_weights(**SMALL), device="cpu", engine="torch", catalog=Catalog.builtin())


def wait_until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def threads_of_streams():
    return [thread for thread in threading.enumerate() if thread.name in ("superres-read", "superres-compute")]


def test_results_are_those_of_calls_in_the_order_of_the_frames(engine):
    frames = [stained(5 + index % 3, 40 - index, seed=index) for index in range(9)]
    results = list(engine.stream(iter(frames)))
    assert [result.index for result in results] == list(range(9))
    for frame, result in zip(frames, results, strict=True):
        np.testing.assert_array_equal(result.unwrap(), engine(frame))


def test_frames_of_every_kind_may_be_mixed(engine):
    array = stained(6, 7)
    frames = [array, array.astype(np.uint16) * 257, torch.rand(1, 3, 5, 4), array[:, :, 0],
              Image(array, 0.185, name="frame")]
    results = [result.unwrap() for result in engine.stream(frames)]
    assert [type(result) for result in results] == [type(frame) for frame in frames]
    assert results[4].pixel_size_um == pytest.approx(0.074)


def test_nothing_gives_nothing(engine):
    assert list(engine.stream([])) == []


def test_a_frame_that_fails_is_reported_in_its_place_and_the_others_go_on(engine):
    good = stained(6, 6)
    results = list(engine.stream([good, good.astype(np.int32), None, good]))
    assert [result.error is None for result in results] == [True, False, False, True]
    with pytest.raises(ImageError, match="dtype int32"):
        results[1].unwrap()
    assert isinstance(results[2].error, ImageError)
    np.testing.assert_array_equal(results[3].unwrap(), engine(good))


def test_a_source_that_fails_ends_the_stream_with_its_error(engine):
    def source():
        yield stained(4, 4)
        raise OSError("the camera is gone")

    results = list(engine.stream(source()))
    assert len(results) == 2 and results[0].error is None
    with pytest.raises(OSError, match="the camera is gone"):
        results[1].unwrap()


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_slow_consumer_holds_the_source_back(engine, ahead):
    given = []

    def source():
        for index in range(100):
            given.append(index)
            yield stained(2, 2)

    stream = engine.stream(source(), ahead=ahead)
    next(stream)
    # Taken: one.  Waiting: `ahead` results, `ahead` frames, one in each thread's hands.
    most = 1 + 2 * ahead + 2
    wait_until(lambda: len(given) == most)
    time.sleep(0.1)
    assert len(given) == most
    stream.close()


def test_reading_computing_and_using_overlap():
    """Three frames are in three hands at one time: at a barrier of three, each would wait in vain for the others."""
    meeting = threading.Barrier(3, timeout=PATIENCE_S)

    def source():
        for index in range(3):
            if index == 2:
                meeting.wait()
            yield index

    def start(frame, _):
        if frame == 1:
            meeting.wait()
        return lambda: frame

    for result in stream_in_order(source(), start, 1, Events()):
        if result.index == 0:
            meeting.wait()
        assert result.unwrap() == result.index


def test_frames_are_begun_ahead_of_the_one_that_is_waited_for():
    """At most `depth` of them; and none is held back where the source has nothing more to give."""
    begun, most = [], []

    def start(frame, _):
        begun.append(frame)

        def finish():
            most.append(len(begun))
            begun.remove(frame)
            if frame == 4:
                raise ValueError("the fifth")
            return frame

        return finish

    gate = threading.Event()

    def source():
        yield from range(8)
        gate.wait(PATIENCE_S)       # until the eighth result is there, although no ninth frame is
        yield 8

    results = []
    for result in stream_in_order(source(), start, 8, Events(), depth=2):
        results.append(result)
        if result.index == 7:
            gate.set()
    assert [result.index for result in results] == list(range(9))
    assert [result.index for result in results if result.error] == [4]
    assert max(most) == 2


def test_cancel_from_another_thread_ends_the_stream(engine):
    events = Events()
    stream = engine.stream((stained(4, 4) for _ in range(10 ** 6)), events=events)
    next(stream)
    threading.Timer(0.05, events.cancel).start()
    with pytest.raises(Cancelled):
        for _ in stream:
            pass
    wait_until(lambda: not threads_of_streams())


def test_cancel_stops_the_frame_that_is_being_computed(engine):
    """At the next tile, not after the frame: the frame would take minutes."""
    events = Events()
    small_tiles = Engine.from_weights(make_weights(**SMALL), device="cpu", engine="torch", catalog=Catalog.builtin(),
                                      tile_px=16)
    stream = small_tiles.stream([np.zeros((6000, 6000, 3), np.uint8)], events=events)
    threading.Timer(0.1, events.cancel).start()
    with pytest.raises(Cancelled):
        next(stream)
    wait_until(lambda: not threads_of_streams())


def test_cancel_reaches_a_caller_who_waits_for_a_source_that_gives_nothing(engine):
    events, gate = Events(), threading.Event()

    def source():
        gate.wait(PATIENCE_S)
        yield stained(2, 2)

    threading.Timer(0.05, events.cancel).start()
    with pytest.raises(Cancelled):
        next(engine.stream(source(), events=events))
    gate.set()
    wait_until(lambda: not threads_of_streams())


def test_after_cancel_nothing_more_comes_though_it_is_there(engine):
    events = Events()
    stream = engine.stream([stained(4, 4)] * 3, ahead=3, events=events)
    next(stream)
    wait_until(lambda: not threads_of_streams())        # all three are computed
    events.cancel()
    with pytest.raises(Cancelled):
        next(stream)


def test_leaving_the_loop_stops_the_frame_that_is_being_computed():
    """At the next tile: the second frame would take minutes."""
    small_tiles = Engine.from_weights(make_weights(**SMALL), device="cpu", engine="torch", catalog=Catalog.builtin(),
                                      tile_px=16)
    asked = []

    class Watched(Events):
        def raise_if_cancelled(self):
            asked.append(threading.current_thread().name)

    stream = small_tiles.stream([np.zeros((4, 4, 3), np.uint8), np.zeros((6000, 6000, 3), np.uint8)], events=Watched())
    next(stream)
    wait_until(lambda: asked.count("superres-compute") > 20)    # the first frame asks a few times only
    stream.close()
    wait_until(lambda: not threads_of_streams())


def test_a_queue_that_is_closed_lets_go_of_what_waits_in_it():
    """Its reader may hold it for as long as a camera gives nothing."""
    queue, frame = _Bounded(2), np.zeros(3)
    assert queue.put(frame)
    gone = weakref.ref(frame)
    del frame
    queue.close()
    assert gone() is None and not queue.put(np.zeros(3))


def test_leaving_the_loop_ends_the_threads(engine):
    for _ in engine.stream(stained(4, 4) for _ in range(10 ** 6)):
        break
    wait_until(lambda: not threads_of_streams())


def test_two_streams_of_one_engine_do_not_disturb_each_other(engine):
    frames = [[stained(8, 9, seed=10 * stream + index) for index in range(4)] for stream in range(2)]
    pairs = zip(engine.stream(frames[0]), engine.stream(frames[1]), strict=True)
    for index, results in enumerate(pairs):
        for stream, result in enumerate(results):
            np.testing.assert_array_equal(result.unwrap(), engine(frames[stream][index]))


def test_the_network_can_be_fed_with_its_own_output(engine):
    (result,) = engine.stream([stained(4, 6)], passes=2)
    np.testing.assert_array_equal(result.unwrap(), engine(stained(4, 6), passes=2))


@pytest.mark.parametrize(("options", "words"), [({"ahead": 0}, "ahead is 0"), ({"passes": 0}, "passes is 0")])
def test_wrong_options_are_refused_before_anything_is_read(engine, options, words):
    with pytest.raises(EngineError, match=words):
        engine.stream([], **options)
