"""The Python around the kernels on a GPU, over a torch whose card is the host: no GPU is needed."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from superres.native.graph import CapturedModel
from superres.native.model import Band
from superres.native.several import SeveralModels

SHAPE = (1, 3, 4, 5)


class Inverting:
    """In place of a NativeModel on device 0: 255 minus the frame."""

    device, weights_id = 0, 0

    def capture(self, image, result):
        return lambda: result.copy_(255 - image)

    def describe(self):
        return {"channels": "3", "up": "1", "down": "1", "origin_multiple": "1"}

    def bands(self, height, rows):
        return tuple(Band(first, min(rows, height - first), first, min(rows, height - first), 0)
                     for first in range(0, height, rows))

    def allocate(self, image):
        return torch.empty_like(image)

    def run_band(self, image, result, band):
        result.copy_(255 - image)


class Stream:
    """Notes what it is told; an event is how many things it was told before."""

    def __init__(self):
        self.told = []

    def record_event(self):
        self.told.append("record")
        return self, len(self.told)

    def wait_event(self, event):
        self.told.append(event)

    def synchronize(self):
        pass


@pytest.fixture(autouse=True)
def streams(monkeypatch):
    """The current stream is the last one of this list."""
    host, known = torch.device("cpu"), [Stream()]
    monkeypatch.setattr(torch, "device", lambda *names: host)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device=None: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: known[-1])
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, nullcontext)
    return known


def test_several_devices_fill_a_result_that_was_made_in_inference_mode():
    """Their threads are in no mode of the caller's, and torch lets nobody else write to what is made there."""
    models = SeveralModels([Inverting(), Inverting()])
    image = torch.arange(60, dtype=torch.uint8).reshape(SHAPE)
    with torch.inference_mode():
        result = models(image)
    assert result.is_inference() and torch.equal(result, 255 - image)


def test_a_captured_model_on_another_stream_waits_for_its_buffers(streams):
    """For what filled them, and then for the call before."""
    captured = CapturedModel(Inverting(), SHAPE, "float32")
    made = streams[0], 1
    image = torch.ones(SHAPE)
    for number in range(2):
        streams.append(Stream())
        assert torch.equal(captured(image + number), 254 - number * torch.ones(SHAPE))
    assert streams[1].told == [made, "record"]
    assert streams[2].told == [(streams[1], 2), "record"]
