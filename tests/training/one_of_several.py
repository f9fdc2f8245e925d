"""What each process of the tests of several ranks does: `torchrun ... one_of_several.py FOLDER WHAT`."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from superres.training.batches import Batches
from superres.training.learner import Learner
from superres.training.loop import train
from superres.training.patches import cut_patches
from superres.training.ranks import joined, restarted
from tests.training.jobs import Watch, small_job

BATCH = {"batch_size": 64, "augment": "flips-turns-and-stains"}


def gradient(job, ranks):
    """Of the first batch, as one vector."""
    torch.manual_seed(2)
    learner = Learner(job, torch.device("cpu"), ranks)
    learner.set_losses(job.losses)
    patches = cut_patches(job.training, job.model.geometry, job.settings.patch_px, 6)
    learner.gradient(*Batches(patches, job.settings, job.seed, torch.device("cpu"), ranks).at(0))
    return np.concatenate([each.grad.numpy().ravel() for each in learner.network.parameters()])


def together(folder):
    """The gradient of a batch, and a training, shared by all."""
    with joined(torch.device("cpu")) as ranks:
        np.save(folder / f"gradient-{ranks.rank}.npy", gradient(small_job(folder, **BATCH), ranks))
        result = train(small_job(folder / f"job-{ranks.rank}", **BATCH), Watch(), ranks)
        np.savez(folder / f"result-{ranks.rank}.npz", **result.tensors)


def killed(folder):
    """The second process is killed at step 15, once."""
    with joined(torch.device("cpu")) as ranks:
        def kill(_):
            if ranks.rank == 1 and not restarted():
                os.kill(os.getpid(), signal.SIGKILL)

        events = Watch({15: kill})
        result = train(small_job(folder, **BATCH), events, ranks)
        (folder / f"steps-{ranks.rank}.txt").write_text(f"{events.steps[0]} {events.steps[-1]}")
        if ranks.first:
            np.savez(folder / "result.npz", **result.tensors)


def stopped(folder):
    """The second process alone is asked to stop at step 9: all stop together."""
    from superres.errors import Cancelled

    with joined(torch.device("cpu")) as ranks:
        events = Watch({9: Watch.cancel} if ranks.rank == 1 else {})
        try:
            train(small_job(folder, **BATCH), events, ranks)
        except Cancelled as error:
            (folder / f"stopped-{ranks.rank}.txt").write_text(error.message)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"together": together, "killed": killed, "stopped": stopped}[sys.argv[2]](Path(sys.argv[1]))
