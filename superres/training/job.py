"""What a training is given and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from superres.api.loss import Loss
from superres.api.model import Model
from superres.api.source import Pair
from superres.config import TrainSection
from superres.training.history import HistoryRow


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """What to train, on what, and where it is kept.

    losses: with their factors.  seed: of initial weights, patch order and augmentation.  folder: gets history.csv,
    checkpoint.safetensors and pictures/.  device: "auto", "cpu", "cuda" or "cuda:N".  fingerprint: text that changes
    with the settings and the data; a checkpoint of another one is not resumed.  start_from: a weights file of the same
    model whose tensors are the initial ones.
    """

    model: Model
    losses: Sequence[tuple[Loss, float]]
    settings: TrainSection
    training: Sequence[Pair]
    validation: Sequence[Pair]
    seed: int
    folder: Path
    device: str = "cpu"
    fingerprint: str = ""
    start_from: Path | None = None


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """tensors: the network at best_step, the step of lowest validation loss (the last step without validation pairs;
    0 where nothing was better than the weights that training started from).

    steps: all that were done; fewer than asked for where patience ended it.  seconds: over all sessions.  patches:
    training patches.  parameters: trained values.  convolutions: who computed them (see Learner); several where a
    training went on with others.
    """

    tensors: dict[str, npt.NDArray[Any]]
    history: tuple[HistoryRow, ...]
    best_step: int
    steps: int
    seconds: float
    patches: int
    parameters: int
    convolutions: tuple[str, ...] = ()
