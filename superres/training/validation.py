"""The mean loss over the validation specimens, by which the best weights are told."""

from __future__ import annotations

import torch

from superres.training.batches import Batches
from superres.training.job import TrainingJob
from superres.training.learner import Learner
from superres.training.patches import PatchSet, cut_patches, some_patches
from superres.training.ranks import Ranks
from superres.training.streams import VALIDATION, Streams

VALIDATION_PX = 2 ** 17
"""Coarse pixels that a validation looks at, at most; the paper's were ten images of 224², four times as many.  Twenty
validations then cost 4 % of a training of 800 steps of 16 patches of 40²."""


def validation_patches(job: TrainingJob) -> PatchSet | None:
    """What a job is validated on, spread over its validation pairs; None where it has none."""
    if not job.validation:
        return None
    side = job.settings.patch_px
    return some_patches(cut_patches(job.validation, job.model.geometry, side, side), VALIDATION_PX, job.seed)


@torch.no_grad()
def validation_loss(learner: Learner, patches: PatchSet, batches: Batches, streams: Streams, ranks: Ranks) -> float:
    """The mean loss of the weights that would be kept; several processes take the batches in turn."""
    total = torch.zeros((), dtype=torch.float64, device=learner.device)
    size = learner.settings.batch_size
    with learner.judged():
        for start in range(0, len(patches), size)[ranks.rank::ranks.count]:
            indices = range(start, min(start + size, len(patches)))
            with streams.of(VALIDATION, start):
                total += learner.loss(*batches.unchanged(patches, indices)) * len(indices)
    return float(ranks.total(total)) / len(patches)
