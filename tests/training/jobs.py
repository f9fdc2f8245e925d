"""A training of a few seconds, and what it takes to watch it."""

import os
import signal

from superres.builtin.losses.mse_gradient import MseGradientLoss
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.config import TrainSection
from superres.events import Events
from superres.training.job import TrainingJob

from .specimens import make_pair

SMALL_MODEL = {"base_channels": 6, "blocks": 1, "alpha": 2}


def small_job(folder, *, model=None, losses=None, training=None, validation=None, seed=5, fingerprint="job",
              **settings):
    values = {"patch_px": 12, "batch_size": 4, "steps": 24, "learning_rate": 2e-3, "schedule": "one-cycle",
              "augment": "flips-and-turns", "validate_every": 6, **settings}
    return TrainingJob(
        model=model or Rivenson2017Model(**SMALL_MODEL), losses=losses or [(MseGradientLoss(), 1.0)],
        settings=TrainSection(**values), training=[make_pair(1), make_pair(2)] if training is None else training,
        validation=[make_pair(3)] if validation is None else validation, seed=seed, folder=folder,
        fingerprint=fingerprint)


class Watch(Events):
    """Collects what is said; `at` maps steps to what is done then."""

    def __init__(self, at=None):
        super().__init__()
        self.at = at or {}
        self.steps = []
        self.messages = []
        self.notes = []

    def progress(self, progress):
        self.steps.append(progress.done)
        self.messages.append(progress.message)
        if progress.done in self.at:
            self.at[progress.done](self)

    def note(self, stage, text):
        self.notes.append(text)


def kill_this_process(_):
    os.kill(os.getpid(), signal.SIGKILL)
