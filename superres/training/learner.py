"""A network that learns: its weights, the optimiser, the losses, and the arithmetic of one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from superres.api.loss import Loss
from superres.config import TrainPrecision, TrainSection
from superres.errors import PluginError, TrainingError
from superres.io.weights import read_weights
from superres.stages.blame import blamed
from superres.training.average import WeightAverage
from superres.training.convolution import take_fast_convolutions
from superres.training.job import TrainingJob
from superres.training.ranks import Ranks

_DTYPES: dict[TrainPrecision, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}

COMPILER_HINT = "set train.compile = false, or install the C++ compiler that torch.compile needs (c++, clang++)"


class Learner:
    """Holds the network of a job on a device.  The initial weights come from torch's global generator.

    network: the module itself, in float32.  scaler: of float16's gradients, None where there are none.  average: of the
    weights, None where none is asked for.  convolutions: who computes them in training, in words; the bits depend on
    it.
    Raises TrainingError for a model with nothing to train, or for a precision that the device does not have.
    """

    def __init__(self, job: TrainingJob, device: torch.device, ranks: Ranks) -> None:
        self.settings, self.device, self.ranks = job.settings, device, ranks
        check_arithmetic(job.settings, device)
        self.model = job.model
        with blamed(job.model, "while it built its network"):
            network = job.model.build()
        if job.start_from is not None:
            _begin_with(network, job)
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        if not trained:
            raise TrainingError(f"model '{job.model.name}' has nothing to train",
                                hint="set trainable = False on the model class")
        self._trained = trained
        self.optimiser = torch.optim.Adam(trained, lr=job.settings.learning_rate, fused=True)
        self.average = WeightAverage(self.network, job.settings.average) if job.settings.average else None
        self._dtype = _DTYPES.get(job.settings.precision)
        self.scaler = torch.amp.GradScaler(device.type) if self._dtype == torch.float16 else None
        fast = 0
        if job.settings.convolutions == "auto" and device.type == "cpu" and self._dtype is None \
                and not job.settings.compile:
            fast = take_fast_convolutions(self.network)
        self.convolutions = f"libsuperres (Winograd) in {fast} layers, torch in the others" if fast else "torch"
        self._forward: Callable[[Tensor], Tensor] = self.network
        if ranks.count > 1:
            # Gradients are averaged while the backward pass still runs.
            self._forward = nn.parallel.DistributedDataParallel(
                self.network, device_ids=[device] if device.type == "cuda" else None)
        if job.settings.compile:
            self._forward = torch.compile(self._forward)
        self.losses: Sequence[tuple[nn.Module, str, float]] = ()

    def set_losses(self, losses: Sequence[tuple[Loss, float]]) -> None:
        """With their factors; built here, so that they may draw numbers of their own stream."""
        built = []
        for loss, factor in losses:
            with blamed(loss, "while it was built"):
                module = loss.build()
            built.append((module.to(self.device), loss.name, factor))
        self.losses = built

    def gradient(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Fill the gradients from a batch; returns its loss, on the device, without waiting for it."""
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(coarse, fine)
        # A network that computes its forward again in backward (activation checkpoints) draws random numbers again.
        try:
            (self.scaler.scale(loss) if self.scaler else loss).backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # torch.compile comes to the backward pass when it is run for the first time
            self._blame_compiler(error)
            raise
        return loss.detach()

    def update(self, rate: float, step: int) -> None:
        """Move the weights along the gradients; step: the number of this step, from 1."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.settings.clip_gradient is not None:
            if self.scaler:
                self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self._trained, self.settings.clip_gradient, foreach=True)
        if self.scaler:
            self.scaler.step(self.optimiser)
            self.scaler.update()
        else:
            self.optimiser.step()
        if self.average:
            self.average.follow(step)

    def loss(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """The weighted sum of the losses, in float32 whatever the network computes in."""
        prediction = self._predict(coarse)
        if prediction.shape != fine.shape:
            raise PluginError(f"model '{self.model.name}' gave {tuple(prediction.shape)} for patches of "
                              f"{coarse.shape[2]} × {coarse.shape[3]} px; its geometry promises {tuple(fine.shape)}",
                              hint="mend the model's geometry or its forward")
        total: Tensor | None = None
        for module, name, factor in self.losses:
            loss: Tensor = module(prediction, fine)
            if loss.ndim:
                raise PluginError(f"loss '{name}' gave a tensor of shape {tuple(loss.shape)}; expected a scalar")
            total = loss * factor if total is None else total + loss * factor
        assert total is not None
        return total

    @torch.no_grad()
    def picture(self, coarse: Tensor) -> Tensor:
        """What the network (the averaged one, where there is one) makes of (N, 3, h, w); in evaluation mode."""
        with self.judged():
            return self._predict(coarse)

    def judged(self) -> AbstractContextManager[None]:
        """The weights that are validated and kept, in the network; evaluation mode."""
        self.network.eval()
        return self.average.in_place() if self.average else nullcontext()

    def _predict(self, coarse: Tensor) -> Tensor:
        # In evaluation one process may be alone with its batch; the wrapper would wait for the others.
        forward = self._forward if self.network.training or self.ranks.count == 1 else self.network
        try:
            with torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None):
                return forward(coarse).float()
        except Exception as error:
            self._blame_compiler(error)
            raise

    def _blame_compiler(self, error: Exception) -> None:
        """Raises TrainingError where it was torch.compile that failed."""
        if not self.settings.compile or not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
            return
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        # The first line only names the backend; the C++ compiler's own first error says most.
        reason = next((line for line in lines if " error: " in line), lines[min(1, len(lines) - 1)])
        hint = COMPILER_HINT if "InvalidCxxCompiler" in f"{type(error).__name__} {reason}" else (
            f"delete the folder '{cache_dir()}' and try again: a process that was killed while it compiled leaves "
            "broken files there; or set train.compile = false")
        raise TrainingError(f"torch.compile failed on model '{self.model.name}': {reason}", hint=hint) from error


def check_arithmetic(settings: TrainSection, device: torch.device) -> None:
    """Raises TrainingError for a precision that the device does not have."""
    if settings.precision == "float16" and device.type != "cuda":
        raise TrainingError(f"train.precision is float16, which needs a GPU; this training runs on {device}",
                            hint="use precision = \"float32\" (or \"bfloat16\", which is slower on most CPUs)")


def _begin_with(network: nn.Module, job: TrainingJob) -> None:
    """The tensors of a weights file of the same model.  Raises TrainingError for those of another."""
    assert job.start_from is not None
    weights = read_weights(job.start_from)
    own, given = (job.model.name, job.model.options.model_dump(mode="json")), (weights.plugin, dict(weights.options))
    if own != given:
        raise TrainingError(f"'{job.start_from}' holds weights of {_named(*given)}; this run trains {_named(*own)}",
                            hint="start from weights of the same model with the same options")
    expected: dict[str, Any] = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    if expected != found:
        odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))[0]
        raise TrainingError(f"tensor '{odd}' of '{job.start_from}' has shape {found.get(odd)}; the network of model "
                            f"'{job.model.name}' has {expected.get(odd)}",
                            hint="start from weights that this version of the model trained")
    network.load_state_dict({name: torch.tensor(tensor) for name, tensor in weights.tensors.items()})


def _named(plugin: str, options: dict[str, Any]) -> str:
    return f"'{plugin}' ({', '.join(f'{key} {value}' for key, value in sorted(options.items()))})"
