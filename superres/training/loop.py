"""The training loop: Adam over patches, the best validation weights, and a run that survives being killed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from superres.api.loss import Loss
from superres.api.model import Model
from superres.api.source import Pair
from superres.config import TrainSection
from superres.errors import Cancelled, PluginError, SuperresError, TrainingError
from superres.events import Events, Progress
from superres.image import FloatArray
from superres.inference.device import resolve_device
from superres.inference.forward import is_out_of_memory
from superres.inference.generator import borrowed_generator
from superres.training.checkpoint import (
    Checkpoint,
    optimiser_tensors,
    read_checkpoint,
    restore,
    tensors_of,
    write_checkpoint,
)
from superres.training.history import HistoryRow, append_history, write_history
from superres.training.patches import (
    PatchSet,
    cut_patches,
    default_stride_px,
    patch_order,
    random_changes,
    some_patches,
)
from superres.training.schedule import learning_rate, step_count, validation_interval

STAGE = "train"
HISTORY_FILE, CHECKPOINT_FILE = "history.csv", "checkpoint.safetensors"

VALIDATION_PX = 2 ** 17
"""Coarse pixels that a validation looks at, at most; the paper's were ten images of 224², four times as many.  Twenty
validations then cost 4 % of a training of 800 steps of 16 patches of 40²."""

CHECKPOINT_SECONDS = 120.0
"""Where no checkpoint_every is given: work that a kill may cost at most, beside the checkpoints at validations."""

# Second words of the seeds, so that the streams are independent; the patches have more.
_WEIGHTS, _STEP, _VALIDATION, _LOSSES = 3, 4, 6, 7


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """What to train, on what, and where it is kept.

    losses: with their factors.  seed: of initial weights, patch order and augmentation.  folder: gets history.csv and
    checkpoint.safetensors.  device: "auto", "cpu", "cuda" or "cuda:N".  fingerprint: text that changes with the
    settings and the data; a checkpoint of another one is not resumed.
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


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """tensors: the network at best_step, the step of lowest validation loss (the last step without validation pairs).

    steps: all of them.  seconds: over all sessions.  patches: training patches.  parameters: trained values.
    """

    tensors: dict[str, npt.NDArray[Any]]
    history: tuple[HistoryRow, ...]
    best_step: int
    steps: int
    seconds: float
    patches: int
    parameters: int


@dataclass
class _State:
    network: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    best: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    history: list[HistoryRow] = field(default_factory=list)
    changing: bool = False
    """Between two steps' states: not fit for a checkpoint."""


def train(job: TrainingJob, events: Events) -> TrainingResult:
    """Train, or go on from the folder's checkpoint.  On a CPU with the same number of threads a resumed training gives
    the same bits as an uninterrupted one.

    torch's global random generator is borrowed for each step and given back as it was (see `borrowed_generator`), so
    that trainings and engines may share a process; the number of threads is never changed.
    Raises TrainingError (no patches, a loss that is not finite, out of memory, a damaged checkpoint), PluginError (a
    model or loss that breaks its contract), StorageError, and Cancelled after a checkpoint was written.
    """
    device = resolve_device(job.device)
    try:
        return _Training(job, device, events).run()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, SuperresError) or not is_out_of_memory(error):
            raise
        batch = f"{job.settings.batch_size} patches of {job.settings.patch_px} px"
        raise TrainingError(f"not enough memory for batches of {batch}",
                            hint="lower train.batch_size or train.patch_px") from error


class _Training:
    """What does not change during one call of `train`, and the state that does."""

    def __init__(self, job: TrainingJob, device: torch.device, events: Events) -> None:
        settings, geometry = job.settings, job.model.geometry
        stride_px = settings.patch_stride_px or default_stride_px(settings.patch_px, geometry)
        self.job, self.device, self.events = job, device, events
        self.patches = cut_patches(job.training, geometry, settings.patch_px, stride_px)
        self.validation = None if not job.validation else some_patches(
            cut_patches(job.validation, geometry, settings.patch_px, settings.patch_px), VALIDATION_PX, job.seed)
        self.steps = step_count(settings, len(self.patches))
        self.interval = validation_interval(settings, self.steps)
        with self._random(_LOSSES):
            self.losses = [(loss.build().to(device), loss.name, factor) for loss, factor in job.losses]
        self.checkpoint_path = job.folder / CHECKPOINT_FILE
        self.history_path = job.folder / HISTORY_FILE
        self.state = self._begin()

    def _begin(self) -> _State:
        with self._random(_WEIGHTS):
            network = self.job.model.build()
        network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not trained:
            raise TrainingError(f"model '{self.job.model.name}' has nothing to train",
                                hint="set trainable = False on the model class")
        state = _State(network, torch.optim.Adam(trained, lr=self.job.settings.learning_rate, fused=True))
        if self.checkpoint_path.exists():
            self._resume(state)
        write_history(self.history_path, state.history)
        return state

    def _resume(self, state: _State) -> None:
        checkpoint = read_checkpoint(self.checkpoint_path)
        if checkpoint.fingerprint != self.job.fingerprint:
            self.events.note(STAGE, "the checkpoint is of other settings or data; training starts anew")
            return
        restore(checkpoint, state.network, state.optimiser, self.checkpoint_path)
        state.step, state.seconds = checkpoint.step, checkpoint.seconds
        state.loss_sum, state.loss_count = checkpoint.loss_sum, checkpoint.loss_count
        state.best_step, state.best_loss, state.best = checkpoint.best_step, checkpoint.best_loss, dict(checkpoint.best)
        state.history = list(checkpoint.history)
        self.events.note(STAGE, f"going on from the checkpoint at step {state.step} of {self.steps}")

    def run(self) -> TrainingResult:
        state, every = self.state, self.job.settings.checkpoint_every
        if self.validation is None:
            self.events.note(STAGE, "no validation pairs: the weights of the last step are kept, not the best ones")
        began = time.perf_counter() - state.seconds
        saved_step, saved_at = state.step, time.perf_counter()
        try:
            while True:
                state.seconds = time.perf_counter() - began
                due = state.step > 0 and (state.step % self.interval == 0 or state.step == self.steps)
                recorded = due and not (state.history and state.history[-1].step == state.step)
                if recorded:
                    self._record(began)
                if self.events.cancelled:
                    self._save()
                    raise self._cancelled()
                save = recorded or time.perf_counter() - saved_at > CHECKPOINT_SECONDS if every is None else \
                    state.step % every == 0
                if (save or state.step == self.steps) and state.step != saved_step:
                    self._save()
                    saved_step, saved_at = state.step, time.perf_counter()
                if state.step == self.steps:
                    return self._result()
                self._advance(began)
        except KeyboardInterrupt:
            # Half an update, or half a row of the history, must not become a checkpoint; the one before is on the disk.
            if not state.changing:
                self._save()
            raise self._cancelled() from None

    def _advance(self, began: float) -> None:
        state, settings = self.state, self.job.settings
        rate = learning_rate(settings.schedule, settings.learning_rate, state.step, self.steps)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        indices = patch_order(len(self.patches), settings.batch_size, state.step, self.job.seed)
        changes = random_changes(settings.augment, settings.batch_size, state.step, self.job.seed)
        state.network.train()
        state.optimiser.zero_grad(set_to_none=True)
        coarse, fine = self.patches.batch(indices.tolist(), changes)
        # Buffers (statistics of batches) change in the forward pass, before the weights do.
        state.changing = next(state.network.buffers(), None) is not None
        with self._random(_STEP, state.step):
            loss = self._loss(coarse, fine)
            # Backward too: a network that computes its forward again there (activation checkpoints) draws again.
            loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged(value, indices.tolist())
        state.changing = True
        state.optimiser.step()
        state.step += 1
        state.loss_sum += value
        state.loss_count += 1
        state.changing = False
        speed = state.step * settings.batch_size / max(time.perf_counter() - began, 1e-9)
        validated = state.history[-1].validation_loss if state.history else math.nan
        message = f"loss {state.loss_sum / state.loss_count:.5f}"
        message += f", validation {validated:.5f}" if math.isfinite(validated) else ""
        self.events.progress(Progress(STAGE, state.step, self.steps, f"{message}, {speed:.0f} patches/s"))

    def _random(self, stream: int, number: int = 0) -> AbstractContextManager[None]:
        """Random numbers that a network draws are functions of seed and step, so a resumed run draws the same."""
        words = np.random.SeedSequence([self.job.seed, stream, number]).generate_state(1, np.uint64)
        return borrowed_generator(self.device, int(words[0] >> np.uint64(1)))

    def _loss(self, coarse: FloatArray, fine: FloatArray) -> Tensor:
        # (N, H, W, C) in memory seen as (N, C, H, W) is channels last: no copy.
        truth = torch.from_numpy(fine).permute(0, 3, 1, 2).to(self.device)
        prediction: Tensor = self.state.network(torch.from_numpy(coarse).permute(0, 3, 1, 2).to(self.device))
        if prediction.shape != truth.shape:
            raise PluginError(f"model '{self.job.model.name}' gave {tuple(prediction.shape)} for patches of "
                              f"{coarse.shape[1]} px; its geometry promises {tuple(truth.shape)}",
                              hint="mend the model's geometry or its forward")
        total: Tensor | None = None
        for module, name, factor in self.losses:
            loss: Tensor = module(prediction, truth)
            if loss.ndim:
                raise PluginError(f"loss '{name}' gave a tensor of shape {tuple(loss.shape)}; expected a scalar")
            total = loss * factor if total is None else total + loss * factor
        assert total is not None
        return total

    def _record(self, began: float) -> None:
        """Validate, keep the best weights, add a row to the history."""
        state, settings = self.state, self.job.settings
        validation_loss = math.nan if self.validation is None else self._validate(self.validation)
        if self.validation is not None and not math.isfinite(validation_loss):
            raise TrainingError(f"the validation loss is {validation_loss} after step {state.step}",
                                hint="lower train.learning_rate")
        state.seconds = time.perf_counter() - began
        row = HistoryRow(
            step=state.step, epoch=state.step * settings.batch_size / len(self.patches),
            learning_rate=learning_rate(settings.schedule, settings.learning_rate, state.step - 1, self.steps),
            training_loss=state.loss_sum / state.loss_count, validation_loss=validation_loss, seconds=state.seconds)
        state.changing = True
        if validation_loss < state.best_loss or self.validation is None:
            state.best, state.best_step = tensors_of(state.network), state.step
            state.best_loss = validation_loss if self.validation is not None else math.inf
        state.loss_sum, state.loss_count = 0.0, 0
        state.history.append(row)
        state.changing = False
        append_history(self.history_path, row)

    @torch.no_grad()
    def _validate(self, patches: PatchSet) -> float:
        self.state.network.eval()
        total = 0.0
        for start in range(0, len(patches), self.job.settings.batch_size):
            indices = range(start, min(start + self.job.settings.batch_size, len(patches)))
            with self._random(_VALIDATION, start):
                total += float(self._loss(*patches.batch(indices))) * len(indices)
        return total / len(patches)

    def _save(self) -> None:
        state = self.state
        network = tensors_of(state.network)
        spoilt = [name for name, tensor in network.items() if not np.isfinite(tensor).all()]
        if spoilt:
            raise TrainingError(f"tensor '{spoilt[0]}' of the network is no longer finite after step {state.step}",
                                hint="lower train.learning_rate")
        write_checkpoint(self.checkpoint_path, Checkpoint(
            fingerprint=self.job.fingerprint, step=state.step, seconds=state.seconds, loss_sum=state.loss_sum,
            loss_count=state.loss_count, best_step=state.best_step, best_loss=state.best_loss, network=network,
            best=state.best, optimiser=optimiser_tensors(state.network, state.optimiser), history=tuple(state.history)))

    def _result(self) -> TrainingResult:
        state = self.state
        trained = sum(parameter.numel() for parameter in state.network.parameters() if parameter.requires_grad)
        return TrainingResult(
            tensors=state.best, history=tuple(state.history), best_step=state.best_step, steps=self.steps,
            seconds=state.seconds, patches=len(self.patches), parameters=trained)

    def _cancelled(self) -> Cancelled:
        return Cancelled(f"training stopped at step {self.state.step} of {self.steps}",
                         hint="run the same command again to go on from there")

    def _diverged(self, value: float, indices: Sequence[int]) -> TrainingError:
        shown = ", ".join(self.patches.describe(index) for index in indices[:8])
        more = f" and {len(indices) - 8} more" if len(indices) > 8 else ""
        return TrainingError(f"the loss is {value} at step {self.state.step + 1}; "
                             f"the batch's patches (pair, top, left): {shown}{more}",
                             hint="lower train.learning_rate")
