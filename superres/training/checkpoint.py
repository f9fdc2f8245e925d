"""Checkpoints: everything that the next step depends on, in one safetensors file.  Never unpickles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save as save_tensors
from torch import Tensor, nn

from superres.errors import TrainingError, WeightsError
from superres.io.atomic import write_bytes
from superres.io.weights import parse_safetensors, read_safetensors_metadata, tensors_digest
from superres.training.history import HistoryRow
from superres.training.learner import Learner

FORMAT_VERSION = 1
_METADATA_KEY = "superres-checkpoint"
_ANEW = "delete this file: training begins anew, and what was registered is kept (--fresh would compute that again too)"

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training after `step` steps.

    fingerprint: of the job that it belongs to.  loss_sum, loss_count: of the steps since the last row of the history.
    best_step: 0 where nothing better than the start was validated yet; best_loss: the validation loss there.  network,
    best: tensors of the network now and at best_step.  optimiser: "parameter/entry" → tensor.  average: the averaged
    weights, empty where none are kept.  scaler: state of float16's gradient scaler, empty without one.  convolutions:
    who computed them so far, in the order of the sessions (see Learner); empty where the checkpoint does not say.

    The order of the patches, their turns and the random numbers that a network may draw (dropout) are functions of seed
    and step, so the step is all that is kept of them.
    """

    fingerprint: str
    step: int
    seconds: float
    loss_sum: float
    loss_count: int
    best_step: int
    best_loss: float
    network: Tensors
    best: Tensors
    optimiser: Tensors
    history: tuple[HistoryRow, ...]
    average: Tensors = field(default_factory=dict)
    scaler: Mapping[str, Any] = field(default_factory=dict)
    convolutions: tuple[str, ...] = ()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write at once or not at all: a kill leaves the checkpoint before or this one."""
    record = {"version": FORMAT_VERSION, "fingerprint": checkpoint.fingerprint, "step": checkpoint.step,
              "seconds": checkpoint.seconds, "loss_sum": checkpoint.loss_sum, "loss_count": checkpoint.loss_count,
              "best_step": checkpoint.best_step, "best_loss": checkpoint.best_loss,
              "scaler": dict(checkpoint.scaler), "convolutions": list(checkpoint.convolutions)}
    tensors = {f"{group}/{name}": np.asarray(tensor, order="C")
               for group, each in (("network", checkpoint.network), ("best", checkpoint.best),
                                   ("optimiser", checkpoint.optimiser), ("average", checkpoint.average))
               for name, tensor in each.items()}
    tensors["history"] = np.array([astuple(row) for row in checkpoint.history], dtype=np.float64).reshape(-1, 6)
    record["tensors_sha256"] = tensors_digest(tensors)
    # Python's JSON writes floats with all their bits, and Infinity, which best_loss is before the first validation.
    write_bytes(path, save_tensors(tensors, {_METADATA_KEY: json.dumps(record)}))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read it back.  Raises TrainingError for a file that is truncated, damaged or no checkpoint of this version."""
    try:
        content = path.read_bytes()
        record = json.loads(read_safetensors_metadata(content, str(path))[_METADATA_KEY])
        if record["version"] != FORMAT_VERSION:
            raise ValueError(f"format version {record['version']}; expected {FORMAT_VERSION}")
        tensors = parse_safetensors(content, str(path))
        if record.get("tensors_sha256", found := tensors_digest(tensors)) != found:  # older checkpoints have none
            raise ValueError("its tensors are not the ones that were written; the disk or a copy changed them")
        rows = tuple(HistoryRow(int(row[0]), *row[1:]) for row in tensors.pop("history").tolist())
        groups: dict[str, dict[str, npt.NDArray[Any]]] = {"network": {}, "best": {}, "optimiser": {}, "average": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        return Checkpoint(
            fingerprint=str(record["fingerprint"]), step=int(record["step"]), seconds=float(record["seconds"]),
            loss_sum=float(record["loss_sum"]), loss_count=int(record["loss_count"]),
            best_step=int(record["best_step"]), best_loss=float(record["best_loss"]), history=rows,
            scaler=dict(record["scaler"]), convolutions=tuple(map(str, record.get("convolutions", ()))), **groups)
    except (WeightsError, OSError, KeyError, ValueError, TypeError) as error:
        reason = error.message if isinstance(error, WeightsError) else f"{type(error).__name__}: {error}"
        raise TrainingError(f"cannot resume from the checkpoint '{path}': {reason}",
                            hint=_ANEW) from error


def tensors_of(network: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """The network's parameters and buffers, copied."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def state_of(learner: Learner) -> dict[str, Any]:
    """What a Checkpoint keeps of a learner, copied: network, optimiser, average and scaler."""
    optimiser = {f"{name}/{entry}": value.detach().cpu().numpy().copy()
                 for name, parameter in learner.network.named_parameters()
                 for entry, value in learner.optimiser.state.get(parameter, {}).items()}
    return {"network": tensors_of(learner.network), "optimiser": optimiser,
            "average": learner.average.tensors() if learner.average else {},
            "scaler": learner.scaler.state_dict() if learner.scaler else {}}


def restore(checkpoint: Checkpoint, learner: Learner, path: Path) -> None:
    """Bring a fresh learner to the state of the checkpoint.

    The optimiser's tensors get the memory layout of their parameters: with another layout the same sums may be rounded
    otherwise, and the resumed run would drift from the uninterrupted one.
    Raises TrainingError if the checkpoint is of another network.
    """
    network, optimiser = learner.network, learner.optimiser
    try:
        network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in checkpoint.network.items()})
        for name, parameter in network.named_parameters():
            entries = {key.rpartition("/")[2]: value for key, value in checkpoint.optimiser.items()
                       if key.rpartition("/")[0] == name}
            if entries:
                optimiser.state[parameter] = {entry: _beside(parameter, value) for entry, value in entries.items()}
        if learner.average:
            learner.average.restore(checkpoint.average)
        if learner.scaler and checkpoint.scaler:
            learner.scaler.load_state_dict(dict(checkpoint.scaler))
    except (RuntimeError, KeyError) as error:
        raise TrainingError(f"the checkpoint '{path}' is of another network: {str(error).splitlines()[0]}",
                            hint=_ANEW) from error


def _beside(parameter: Tensor, value: npt.NDArray[Any]) -> Tensor:
    tensor = torch.from_numpy(value.copy())
    if tensor.shape != parameter.shape:
        return tensor.to(parameter.device)
    return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
