"""Trainings and loading engines share torch's one random generator without spoiling each other's numbers."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from superres.api.model import Geometry, Model
from superres.events import Events
from superres.inference.generator import borrowed_generator
from superres.inference.load import network_of
from superres.training.loop import train

from .jobs import small_job

PATIENCE_S = 0.2
"""How long one thread lets the other in; with the lock nobody comes, so every meeting costs this."""


class Meeting:
    """Where the training stands still once, between its draws, until the other thread draws, or cannot; and the other
    thread, having drawn, until the training has drawn again: only then does it put the generator's state back."""

    def __init__(self, where):
        self.where = where
        self.training_is_inside, self.training_went_on = threading.Event(), threading.Event()
        self.other_has_drawn = threading.Event()

    def stand_still(self, where):
        if where == self.where and not self.training_is_inside.is_set():
            self.training_is_inside.set()
            self.other_has_drawn.wait(PATIENCE_S)

    def go_on(self, where):
        if where == self.where:
            self.training_went_on.set()


class Network(nn.Module):
    def __init__(self, meeting):
        super().__init__()
        self.meeting = meeting
        self.first = nn.Conv2d(3, 20, 3, padding=1)
        meeting.stand_still("build")
        self.second = nn.Conv2d(20, 75, 3, padding=1)
        meeting.go_on("build")
        self.output = nn.Sequential(nn.PixelShuffle(5), nn.Conv2d(3, 3, 3, stride=2, padding=1))

    def forward(self, x):
        x = nn.functional.dropout(self.first(x), 0.5, self.training)
        self.meeting.stand_still("step")
        x = nn.functional.dropout(self.second(x), 0.5, self.training)
        self.meeting.go_on("step")
        return self.output(x)


class MeetingModel(Model):
    name = "meeting"
    meeting = Meeting("nowhere")
    geometry = property(lambda self: Geometry(5, 2, halo_px=4, origin_multiple=2))

    def build(self):
        return Network(self.meeting)


class LoadedModel(Model):
    """Says when it has drawn."""

    name = "loaded"
    meeting = None
    geometry = property(lambda self: Geometry(1, 1))

    def build(self):
        network = nn.Conv2d(3, 3, 3, padding=1)
        self.meeting.other_has_drawn.set()
        self.meeting.training_went_on.wait(PATIENCE_S)
        return network


@pytest.mark.parametrize("where", ["build", "step"])
def test_an_engine_that_loads_does_not_disturb_a_training(tmp_path, where):
    expected = train(small_job(tmp_path / "alone", model=MeetingModel(), steps=3), Events())
    meeting = Meeting(where)
    model, loaded = MeetingModel(), LoadedModel()
    model.meeting = loaded.meeting = meeting
    tensors = {"weight": np.zeros((3, 3, 3, 3), np.float32), "bias": np.zeros(3, np.float32)}

    def load():
        meeting.training_is_inside.wait(10)
        network_of(loaded, tensors)

    other = threading.Thread(target=load)
    other.start()
    result = train(small_job(tmp_path / "beside", model=model, steps=3), Events())
    other.join(10)
    assert meeting.other_has_drawn.is_set(), "the engine got its turn"
    for name, tensor in expected.tensors.items():
        np.testing.assert_array_equal(result.tensors[name], tensor, err_msg=name)


def test_the_generator_is_given_back_after_an_error_too():
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    with pytest.raises(RuntimeError, match="spoilt"), borrowed_generator(seed=9):
        torch.rand(3)
        with borrowed_generator():  # a network that loads another one while it is built
            torch.rand(1)
        raise RuntimeError("spoilt")
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)
