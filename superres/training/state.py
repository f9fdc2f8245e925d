"""How far a training has come: what a checkpoint keeps of it, and how it goes on from one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from superres.errors import TrainingError
from superres.training.checkpoint import Checkpoint, restore, state_of, tensors_of, write_checkpoint
from superres.training.history import HistoryRow
from superres.training.learner import Learner


@dataclass
class TrainingState:
    """The fields of a Checkpoint that are not the learner's own (see there), as they change from step to step.

    changing: between two steps' states, not fit for a checkpoint.
    """

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    best: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    history: list[HistoryRow] = field(default_factory=list)
    convolutions: tuple[str, ...] = ()
    changing: bool = False

    @classmethod
    def resumed(cls, checkpoint: Checkpoint, learner: Learner, path: Path) -> TrainingState:
        """That of a checkpoint, to which the learner is brought too.  Raises TrainingError for another network's."""
        restore(checkpoint, learner, path)
        return cls(checkpoint.step, checkpoint.seconds, checkpoint.loss_sum, checkpoint.loss_count,
                   checkpoint.best_step, checkpoint.best_loss, dict(checkpoint.best), list(checkpoint.history),
                   checkpoint.convolutions)

    def require_finite(self, learner: Learner) -> None:
        """Raises TrainingError for a network that is not worth a checkpoint."""
        spoilt = [name for name, tensor in tensors_of(learner.network).items() if not np.isfinite(tensor).all()]
        if spoilt:
            raise TrainingError(f"tensor '{spoilt[0]}' of the network is no longer finite after step {self.step}",
                                hint="lower train.learning_rate")

    def save(self, fingerprint: str, learner: Learner, path: Path) -> None:
        """Write a checkpoint.  fingerprint: of the job.  Raises StorageError; the checkpoint before then stays."""
        write_checkpoint(path, Checkpoint(
            fingerprint=fingerprint, step=self.step, seconds=self.seconds, loss_sum=self.loss_sum,
            loss_count=self.loss_count, best_step=self.best_step, best_loss=self.best_loss, best=self.best,
            history=tuple(self.history), convolutions=self.convolutions, **state_of(learner)))

    def keep(self, learner: Learner, step: int, loss: float) -> None:
        """These weights are the best ones until others do better."""
        with learner.judged():
            self.best, self.best_step = tensors_of(learner.network), step
        self.best_loss = loss

    @property
    def mean_loss(self) -> float:
        """Over the steps since the last row of the history; that row's where there are none."""
        return self.loss_sum / self.loss_count if self.loss_count else self.history[-1].training_loss
