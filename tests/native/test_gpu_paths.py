"""The Python around the kernels on a GPU, over a torch whose card is the host: no GPU is needed."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from superres.native.graph import CapturedModel
from superres.native.model import Band
from superres.native.several import SeveralModels

SHAPE = (1, 3, 4, 5)


class Inverting:
    """In place of a NativeModel on device 0: 255 minus the frame."""

    device = 0

    def __call__(self, image):
        return 255 - image

    def describe(self):
        return {"channels": "3", "up": "1", "down": "1", "origin_multiple": "1"}

    def bands(self, height, rows):
        return tuple(Band(first, min(rows, height - first), first, min(rows, height - first), 0)
                     for first in range(0, height, rows))

    def allocate(self, image):
        return torch.empty_like(image)

    def run_band(self, image, result, band):
        result.copy_(255 - image)


@pytest.fixture(autouse=True)
def host_as_card(monkeypatch):
    stream = SimpleNamespace(wait_stream=lambda other: None, wait_event=lambda event: None, synchronize=lambda: None,
                             record_event=lambda: None)
    host = torch.device("cpu")
    monkeypatch.setattr(torch, "device", lambda *names: host)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda device=None: stream)
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, nullcontext)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))


def test_several_devices_fill_a_result_that_was_made_in_inference_mode():
    """Their threads are in no mode of the caller's, and torch lets nobody else write to what is made there."""
    models = SeveralModels([Inverting(), Inverting()])
    image = torch.arange(60, dtype=torch.uint8).reshape(SHAPE)
    with torch.inference_mode():
        result = models(image)
    assert result.is_inference() and torch.equal(result, 255 - image)


@pytest.mark.parametrize("mode", [torch.inference_mode, nullcontext])
@pytest.mark.parametrize("later", [torch.inference_mode, nullcontext])
def test_a_captured_model_does_not_care_in_which_mode_it_was_captured_and_is_called(mode, later):
    with mode():
        captured = CapturedModel(Inverting(), SHAPE, "float32")
    image = torch.ones(SHAPE, requires_grad=True)
    for _ in range(2):
        with later():
            result = captured(image)
        assert not result.requires_grad and torch.equal(captured._input, image)
