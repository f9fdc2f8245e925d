"""The training loop: steps, validations, the best weights, and a run that survives being killed."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack

import torch

from superres.errors import Cancelled, SuperresError, TrainingError
from superres.events import Events, Progress
from superres.inference.device import resolve_device
from superres.inference.forward import is_out_of_memory
from superres.training.batches import Batches
from superres.training.checkpoint import read_checkpoint
from superres.training.curves import Curves, Pictures
from superres.training.history import HistoryRow, append_history, write_history
from superres.training.job import TrainingJob, TrainingResult
from superres.training.learner import Learner
from superres.training.meter import LossMeter
from superres.training.patches import PatchSet, cut_patches, default_stride_px
from superres.training.ranks import ALONE, Ranks, is_lost_process
from superres.training.schedule import rate_of, step_count, validation_interval
from superres.training.state import TrainingState
from superres.training.streams import LOSSES, STEP, VALIDATION, WEIGHTS, Streams
from superres.training.validation import validation_loss, validation_patches

STAGE = "train"
HISTORY_FILE, CHECKPOINT_FILE = "history.csv", "checkpoint.safetensors"

CHECKPOINT_SECONDS = 120.0
"""Where no checkpoint_every is given: work that a kill may cost at most, beside the checkpoints at validations."""

SLOW_COMPILER = ("train.compile on a CPU: minutes go by before the first steps, and libsuperres' convolutions are off; "
                 "set train.compile = false")
"""Measured with rivenson2017, 16 patches of 40² and one thread: docs/training.md."""

GPU_STEPS_UNWATCHED = 20
"""On a GPU the loss is looked at this often: each look waits until the GPU has done everything that it was given."""


def train(job: TrainingJob, events: Events, ranks: Ranks = ALONE) -> TrainingResult:
    """Train, or go on from the folder's checkpoint.  On a CPU with the same number of threads a resumed training gives
    the same bits as an uninterrupted one.

    ranks: this process among several that train the same job together (each calls this; see `ranks.joined`).  They
    share every batch, all of them return the same result, and the first one alone writes files.
    torch's global random generator is borrowed for each step and given back as it was (see `borrowed_generator`), so
    that trainings and engines may share a process; the number of threads is never changed.
    Raises TrainingError (no patches, a loss that is not finite, out of memory, a damaged checkpoint), PluginError (a
    model or loss that breaks its contract), StorageError, and Cancelled after a checkpoint was written.
    """
    device = resolve_device(job.device)
    try:
        with ExitStack() as closing:
            return _Training(job, device, events, ranks, closing).run()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and is_lost_process(error):
            raise TrainingError("the connection to another process of this training was lost: it was killed, or ended "
                                "with an error of its own", hint="run the same command again to go on from the last "
                                "checkpoint; torchrun --max-restarts does so by itself") from error
        if isinstance(error, SuperresError) or not is_out_of_memory(error):
            raise
        batch = f"{job.settings.batch_size} patches of {job.settings.patch_px} px"
        raise TrainingError(f"not enough memory for batches of {batch}",
                            hint="lower train.batch_size or train.patch_px") from error


class _Training:
    """What does not change during one call of `train`, and the state that does."""

    def __init__(self, job: TrainingJob, device: torch.device, events: Events, ranks: Ranks = ALONE,
                 closing: ExitStack | None = None) -> None:
        settings, geometry = job.settings, job.model.geometry
        stride_px = settings.patch_stride_px or default_stride_px(settings.patch_px, geometry)
        self.job, self.device, self.events, self.ranks = job, device, events, ranks
        patches = cut_patches(job.training, geometry, settings.patch_px, stride_px)
        self.batches = Batches(patches, settings, job.seed, device, ranks)
        self.validation = validation_patches(job)
        self.steps = step_count(settings, len(patches))
        self.interval = validation_interval(settings, self.steps)
        self.checkpoint_path = job.folder / CHECKPOINT_FILE
        self.history_path = job.folder / HISTORY_FILE
        self.streams = Streams(job.seed, device, ranks.rank)
        with self.streams.of(WEIGHTS):
            self.learner = Learner(job, device, ranks)
        with self.streams.of(LOSSES):
            self.learner.set_losses(job.losses)
        self.state = TrainingState()
        self.meter = LossMeter(device, ranks)
        self.stop = False
        if self.checkpoint_path.exists():
            self._resume()
        self.ranks.require_same_step(self.state.step, device)
        self._own_up_to_convolutions()
        self.ranks.meet()  # nobody writes before all have read
        self.pictures: Pictures | None = None
        self.curves = Curves("none", job.folder, 0)
        if ranks.first:
            write_history(self.history_path, self.state.history)
            self.curves = Curves(settings.track, job.folder, self.state.step)
            if settings.pictures and job.validation:
                self.pictures = Pictures(job.validation[0], geometry, job.folder)
        if closing is not None:
            closing.callback(self.curves.close)

    def _resume(self) -> None:
        checkpoint = read_checkpoint(self.checkpoint_path)
        if checkpoint.fingerprint != self.job.fingerprint:
            self.events.note(STAGE, "the checkpoint is of other settings or data; training starts anew")
            return
        self.state = TrainingState.resumed(checkpoint, self.learner, self.checkpoint_path)
        self.events.note(STAGE, f"going on from the checkpoint at step {self.state.step} of {self.steps}")

    def _own_up_to_convolutions(self) -> None:
        """Which ones run depends on the build and the processor, and the bits depend on them."""
        state, own = self.state, self.learner.convolutions
        if state.convolutions and state.convolutions[-1] != own:
            self.events.note(STAGE, f"the convolutions of the steps before were computed by {state.convolutions[-1]}; "
                                    f"from here on by {own}: the result differs by rounding from an uninterrupted one")
        elif state.step == 0 and self.job.settings.convolutions == "auto" and self.device.type == "cpu":
            self.events.note(STAGE, f"convolutions: {own}")
        if self.job.settings.compile and self.device.type == "cpu":
            self.events.note(STAGE, SLOW_COMPILER)
        if state.convolutions[-1:] != (own,):
            state.convolutions = (*state.convolutions, own)

    def run(self) -> TrainingResult:
        state, every = self.state, self.job.settings.checkpoint_every
        if self.validation is None:
            self.events.note(STAGE, "no validation pairs: the weights of the last step are kept, not the best ones")
        if state.step == 0:
            if self.job.start_from is not None and self.validation is not None and not state.best:
                self._keep_start(self.validation)
            self.events.note(STAGE, f"curves while it runs: {self.history_path}")
        began = time.perf_counter() - state.seconds
        first_step, session_began = state.step, time.perf_counter()

        def speed() -> float:
            return (state.step - first_step) / max(time.perf_counter() - session_began, 1e-9)

        saved_step, saved_at = state.step, time.perf_counter()
        try:
            while True:
                state.seconds = time.perf_counter() - began
                recorded = self._validation_due() and not (state.history and state.history[-1].step == state.step)
                if recorded:
                    self._record(began)
                asked = self.stop or (self.ranks.count == 1 and self.events.cancelled)
                if asked and self._watched(state.step):
                    self._save()
                    raise self._cancelled()
                save = recorded or time.perf_counter() - saved_at > CHECKPOINT_SECONDS if every is None else \
                    state.step % every == 0
                finished = self._finished()
                if (save or finished) and state.step != saved_step and self._watched(state.step):
                    self._save()
                    saved_step, saved_at = state.step, time.perf_counter()
                if finished:
                    if first_step < state.step == self.steps:
                        self._tell(speed())  # not before its validation and checkpoint: it says that the stage is done
                    return self._result()
                self._advance()
                if self._watched(state.step) and state.step < self.steps:
                    self._tell(speed())
        except KeyboardInterrupt:
            # Half an update, or half a row of the history, must not become a checkpoint; the one before is on the disk.
            if not state.changing and self.ranks.count == 1:
                self._save()
            raise self._cancelled() from None

    def _advance(self) -> None:
        state = self.state
        coarse, fine = self.batches.at(state.step)
        # Buffers (statistics of batches) change in the forward pass, before the weights do.
        state.changing = next(self.learner.network.buffers(), None) is not None
        with self.streams.of(STEP, state.step):
            loss = self.learner.gradient(coarse, fine)
        state.changing = True
        self.learner.update(rate_of(self.job.settings, state.step, self.steps), state.step + 1)
        state.step += 1
        self.meter.add(loss, state.step)
        state.loss_count += 1
        if self._watched(state.step):
            reading = self.meter.read(self.events.cancelled)
            if reading.spoilt_step:
                raise self._diverged(reading.spoilt_step)
            state.loss_sum += reading.loss_sum
            self.stop = reading.stop
            state.changing = False

    def _watched(self, step: int) -> bool:
        """Whether the host waits for the device after this step: always on a CPU, now and then on a GPU; a function of
        the step, so that all processes do it together."""
        every = self.job.settings.checkpoint_every
        return (self.device.type == "cpu" or step % GPU_STEPS_UNWATCHED == 0 or step % self.interval == 0
                or step == self.steps or (every is not None and step % every == 0))

    def _validation_due(self) -> bool:
        return self.state.step > 0 and (self.state.step % self.interval == 0 or self.state.step == self.steps)

    def _finished(self) -> bool:
        """The last step, or the last validation that patience allows; a function of what a checkpoint holds."""
        state, patience = self.state, self.job.settings.patience
        if state.step == self.steps or patience is None or self.validation is None:
            return state.step == self.steps
        return sum(row.step > state.best_step for row in state.history) >= patience

    def _tell(self, steps_per_s: float) -> None:
        state = self.state
        validated = state.history[-1].validation_loss if state.history else math.nan
        message = f"loss {state.mean_loss:.5f}"
        message += f", validation {validated:.5f}" if math.isfinite(validated) else ""
        message += f", {steps_per_s * self.job.settings.batch_size:.0f} patches/s"
        message += f", {_duration((self.steps - state.step) / steps_per_s)} left" if state.step < self.steps else ""
        self.events.progress(Progress(STAGE, state.step, self.steps, message))

    def _keep_start(self, validation: PatchSet) -> None:
        """The weights that training starts from are the best ones until others do better."""
        loss = self._validate(validation)
        if math.isfinite(loss):
            self.state.keep(self.learner, 0, loss)
        self.events.note(STAGE, f"validation {loss:.5f} of the weights that training starts from")

    def _record(self, began: float) -> None:
        """Validate, keep the best weights, add a row to the history."""
        state, settings = self.state, self.job.settings
        loss = math.nan if self.validation is None else self._validate(self.validation)
        if self.validation is not None and not math.isfinite(loss):
            raise TrainingError(f"the validation loss is {loss} after step {state.step}",
                                hint="lower train.learning_rate")
        state.seconds = time.perf_counter() - began
        row = HistoryRow(
            step=state.step, epoch=state.step * settings.batch_size / len(self.batches.patches),
            learning_rate=rate_of(settings, state.step - 1, self.steps),
            training_loss=state.mean_loss, validation_loss=loss, seconds=state.seconds)
        state.changing = True
        if loss < state.best_loss or self.validation is None:
            state.keep(self.learner, state.step, loss if self.validation is not None else math.inf)
        state.loss_sum, state.loss_count = 0.0, 0
        state.history.append(row)
        state.changing = False
        if not self.ranks.first:
            return
        append_history(self.history_path, row)
        self.curves.row(row)
        if self.pictures is not None:
            with self.streams.of(VALIDATION):
                picture = self.pictures.draw(self.learner, state.step)
            self.curves.picture(state.step, picture)

    def _validate(self, patches: PatchSet) -> float:
        return validation_loss(self.learner, patches, self.batches, self.streams, self.ranks)

    def _save(self) -> None:
        self.state.require_finite(self.learner)
        if self.ranks.first:
            self.state.save(self.job.fingerprint, self.learner, self.checkpoint_path)

    def _result(self) -> TrainingResult:
        state = self.state
        if state.step < self.steps:
            self.events.note(STAGE, f"stopped after step {state.step} of {self.steps}: {self.job.settings.patience} "
                                    f"validations without a better one than that of step {state.best_step}")
        if state.best_step == 0:
            self.events.note(STAGE, "no validation was better than that of the weights that training started from: "
                                    "they are kept; lower train.learning_rate, or validate on other specimens")
        trained = sum(each.numel() for each in self.learner.network.parameters() if each.requires_grad)
        return TrainingResult(
            tensors=state.best, history=tuple(state.history), best_step=state.best_step, steps=state.step,
            seconds=state.seconds, patches=len(self.batches.patches), parameters=trained,
            convolutions=state.convolutions)

    def _cancelled(self) -> Cancelled:
        return Cancelled(f"training stopped at step {self.state.step} of {self.steps}",
                         hint="run the same command again to go on from there")

    def _diverged(self, step: int) -> TrainingError:
        indices = self.batches.indices(step - 1)
        shown = ", ".join(self.batches.patches.describe(index) for index in indices[:8])
        more = f" and {len(indices) - 8} more" if len(indices) > 8 else ""
        return TrainingError(f"the loss is not finite at step {step}; "
                             f"the batch's patches (pair, top, left): {shown}{more}",
                             hint="lower train.learning_rate, or set train.clip_gradient")


def _duration(seconds: float) -> str:
    """For a person who waits: 47 s, 12 min, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
