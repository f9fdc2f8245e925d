"""A trial before training: one pair of patches through model and losses, so that what breaks its contract is named.

In training itself a loss that is not finite may be anybody's fault, the learning rate's most of all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from superres.api.loss import Loss
from superres.api.model import Model
from superres.errors import PluginError
from superres.inference.device import resolve_device
from superres.inference.forward import is_out_of_memory
from superres.inference.generator import borrowed_generator
from superres.stages.blame import blamed, built_network
from superres.training.job import TrainingJob

WHEN = "on a trial patch, before training"
PATCHES = 2
"""More than one, for layers that normalise over the batch."""


def try_out(job: TrainingJob) -> None:
    """One pair of patches through the job's model and losses; torch's generators are left as they are.

    Raises PluginError for a model that raises, or gives another size, NaN or infinity, and for a loss that raises, or
    gives no finite scalar with a finite gradient.
    """
    device = resolve_device(job.device)
    try:
        with borrowed_generator(device, seed=job.seed):
            side = job.settings.patch_px
            patch = torch.rand(PATCHES, 3, side, side).to(device)
            prediction = _predicted(job.model, patch)
            for loss, _ in job.losses:
                _require_loss(loss, prediction, torch.rand(prediction.shape).to(device))
    except PluginError as error:
        # Training itself says what a machine without the memory for it needs.
        if error.__cause__ is None or not is_out_of_memory(error.__cause__):
            raise


def _predicted(model: Model, patch: Tensor) -> Tensor:
    network = built_network(model)
    promised = (PATCHES, 3, *model.geometry.output_shape(patch.shape[2], patch.shape[3]))
    with blamed(model, WHEN), torch.no_grad():
        prediction = network.to(patch.device).train()(patch)
        if not isinstance(prediction, Tensor):
            raise TypeError(f"forward returned a {type(prediction).__name__}; expected a tensor")
        if tuple(prediction.shape) != promised:
            raise ValueError(f"forward gave {tuple(prediction.shape)} for patches of {patch.shape[2]} × "
                             f"{patch.shape[3]} px; its geometry promises {promised}")
        if not bool(torch.isfinite(prediction).all()):
            raise ValueError("forward gave NaN or infinite values for an input in [0, 1]")
    return prediction.float()


def _require_loss(loss: Loss, prediction: Tensor, truth: Tensor) -> None:
    with blamed(loss, WHEN):
        module, asked = loss.build(), prediction.detach().clone().requires_grad_(True)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"build returned a {type(module).__name__}; expected a torch.nn.Module")
        value = module.to(truth.device)(asked, truth)
        if not isinstance(value, Tensor):
            raise TypeError(f"forward returned a {type(value).__name__}; expected a scalar tensor")
        if value.ndim:
            raise ValueError(f"forward gave a tensor of shape {tuple(value.shape)}; expected a scalar")
        if not bool(torch.isfinite(value)):
            raise ValueError(f"forward gave {value.item()} for a finite prediction")
        if not value.requires_grad:
            raise ValueError("the value has no gradient: it does not depend on the prediction, or was detached from it")
        value.backward()  # type: ignore[no-untyped-call]
        if asked.grad is None or not bool(torch.isfinite(asked.grad).all()):
            raise ValueError("the gradient with respect to the prediction is missing or not finite")
