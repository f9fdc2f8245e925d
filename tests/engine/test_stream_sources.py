"""Engine.stream among what surrounds it in a laboratory: drivers of cameras, and programs that end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from superres.catalog import Catalog
from superres.engine import Engine
from superres.errors import ImageError
from superres.events import Events
from superres.image import Image
from superres.inference.frames import kept
from superres.inference.streaming import stream_in_order

from .specimens import SMALL, make_weights, stained

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def engine():
    return Engine.from_weights(make_weights(**SMALL), device="cpu", engine="torch", catalog=Catalog.builtin())


@pytest.mark.parametrize("kind", [lambda memory: memory, torch.from_numpy, lambda memory: Image(memory, 0.185),
                                  lambda memory: memory[::-1, :, ::-1]], ids=["array", "tensor", "Image", "view"])
def test_a_source_may_fill_the_same_memory_for_every_frame(engine, kind):
    """As the drivers of cameras do.  The source is two frames ahead of the computing."""
    tensors = kind is torch.from_numpy
    frames = [stained(7, 9, seed=index) for index in range(8)]
    if tensors:
        frames = [np.ascontiguousarray(frame.transpose(2, 0, 1)[None]) for frame in frames]
    memory = np.empty_like(frames[0])

    def source():
        for frame in frames:
            memory[:] = frame
            yield kind(memory)

    def pixels(result):
        return result.pixels if isinstance(result, Image) else np.asarray(result)

    results = [pixels(result.unwrap()) for result in engine.stream(source())]
    for frame, result in zip(frames, results, strict=True):
        np.testing.assert_array_equal(result, pixels(engine(kind(frame))))


def test_a_frame_waits_as_it_was_laid_out_and_a_memory_map_where_it_lies(tmp_path):
    planes = torch.rand(1, 3, 4, 5).to(memory_format=torch.channels_last)
    assert kept(planes).stride() == planes.stride() and kept(planes).data_ptr() != planes.data_ptr()
    array = np.asfortranarray(stained(4, 5))
    assert kept(array).strides == array.strides and not np.shares_memory(kept(array), array)
    mapped = np.memmap(tmp_path / "stack", np.uint8, "w+", shape=(3, 4, 5, 3))
    assert kept(mapped[1]).base is not None and np.shares_memory(kept(mapped[1]), mapped)


@pytest.mark.parametrize(("frames", "words"), [
    (stained(5, 6), r"single image of shape \(5, 6, 3\)"), (stained(5, 6)[:, :, 0], r"single image of shape \(5, 6\)"),
    (Image(stained(5, 6), 0.185), r"single image of shape \(5, 6, 3\)"),
    (torch.rand(2, 3, 5, 6), r"single tensor of shape \(2, 3, 5, 6\)")])
def test_one_image_is_not_taken_for_as_many_as_it_has_rows(engine, frames, words):
    with pytest.raises(ImageError, match=words):
        engine.stream(frames)


@pytest.mark.parametrize("stack", [np.stack([stained(4, 6)] * 2), np.stack([stained(4, 6)[:, :, 1]] * 2),
                                   torch.rand(2, 1, 3, 4, 6)])
def test_a_stack_is_many_frames(engine, stack):
    results = [result.unwrap() for result in engine.stream(stack)]
    assert len(results) == 2
    np.testing.assert_array_equal(results[1], engine(stack[1]))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_a_source_that_ends_the_program_is_not_taken_for_one_that_has_no_more_frames(depth, end):
    def source():
        yield from range(3)
        raise end

    seen = []
    with pytest.raises(type(end)):
        for result in stream_in_order(source(), lambda frame, _: lambda: frame, 2, Events(), depth):
            seen.append(result.unwrap())
    assert seen == [0, 1, 2]


def test_what_ends_the_computing_reaches_the_caller(engine):
    class Impatient(Events):
        def raise_if_cancelled(self):
            if threading.current_thread().name == "superres-compute":
                raise SystemExit(4)

    with pytest.raises(SystemExit):
        next(engine.stream([stained(4, 4)], events=Impatient()))


def test_a_frame_for_whose_copy_there_is_no_memory_fails_alone():
    def keep(frame):
        if frame == 1:
            raise MemoryError("a frame of 9 GB")
        return frame

    results = list(stream_in_order(range(3), lambda frame, _: lambda: frame, 1, Events(), keep=keep))
    assert [result.image for result in results] == [0, None, 2] and isinstance(results[1].error, MemoryError)


PROGRAM = """
import numpy as np
from superres.catalog import Catalog
from superres.engine import Engine
from tests.engine.specimens import make_weights
engine = Engine.from_weights(make_weights(), device="cpu", engine={engine!r}, catalog=Catalog.builtin(), tile_px=64)

def endless():
    while True:
        yield np.zeros((200, 200, 3), np.uint8)

stream = engine.stream(endless())
for result in stream:
    break
{end}
"""


@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("end", "status"), [
    ("", 0), pytest.param("del stream", 0, marks=pytest.mark.slow), ("raise ValueError('of the consumer')", 1),
    pytest.param("raise KeyboardInterrupt", -2, marks=pytest.mark.slow)], ids=["held", "left", "error", "Ctrl-C"])
def test_a_program_may_end_while_a_frame_is_computed(engine, end, status):
    """The thread in the middle of a tile took the process with it: "terminate called without an active exception"."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(engine=engine, end=end)], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    assert done.returncode == status and "terminate called" not in done.stderr, (done.returncode, done.stderr)
