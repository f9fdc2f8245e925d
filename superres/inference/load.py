"""From a weights file to a network in evaluation mode, with every mismatch named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import nn

from superres.api.model import Model
from superres.catalog import Catalog
from superres.errors import PluginError, WeightsError
from superres.inference.generator import borrowed_generator
from superres.io.weights import Weights
from superres.stages.blame import blamed, built_network


def model_of(weights: Weights, catalog: Catalog) -> Model:
    """The model plug-in that the weights name, with their options.

    Raises WeightsError if the plug-in is not installed, does not take these options, or has another geometry now;
    PluginError for whatever else the plug-in raises.
    """
    try:
        plugin = catalog.get("model", weights.plugin)
    except PluginError as error:
        raise WeightsError(f"the weights need the model plug-in '{weights.plugin}': {error.message}",
                           hint=error.hint or "install the package that it came from") from error
    refused: ValidationError | None = None
    with blamed(plugin, "with the options of these weights"):
        try:
            made = plugin(plugin.Options(**weights.options))
            assert isinstance(made, Model)
            model, expected = made, asdict(made.geometry)
        except ValidationError as error:  # a fault of the weights, not of the plug-in
            refused = error
    if refused is not None:
        first = refused.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "options"
        raise WeightsError(f"model '{weights.plugin}' refuses the options of these weights: {where}: {first['msg']}",
                           hint="install the version of the plug-in that trained them") from refused
    if dict(weights.geometry) != expected:
        raise WeightsError(f"weights for '{weights.plugin}' have geometry {_listed(weights.geometry)}; the model has "
                           f"{_listed(expected)}", hint="install the version of the plug-in that trained them")
    return model


def network_of(model: Model, tensors: Mapping[str, npt.NDArray[Any]]) -> nn.Module:
    """A fresh network with these tensors, in evaluation mode, channels last, on the CPU, without gradients.

    The global random generator is left as it was, and a training in another thread is not disturbed.
    Raises WeightsError naming the first tensor that is missing, unknown or of another shape, PluginError where the
    plug-in fails.
    """
    # Initial weights are drawn, though the tensors replace them.
    with borrowed_generator():
        network = built_network(model)
        state = network.state_dict()
    for name, tensor in state.items():
        if name not in tensors:
            raise WeightsError(f"weights for '{model.name}' lack tensor '{name}' of shape {tuple(tensor.shape)}",
                               hint="give weights of this model")
        if tuple(tensors[name].shape) != tuple(tensor.shape):
            raise WeightsError(f"tensor '{name}' of the weights has shape {tuple(tensors[name].shape)}; "
                               f"model '{model.name}' expects {tuple(tensor.shape)}",
                               hint="give weights of this model with these options")
    unknown = sorted(set(tensors) - set(state))
    if unknown:
        raise WeightsError(f"weights for '{model.name}' hold an unknown tensor '{unknown[0]}'",
                           hint="give weights of this model")
    network.load_state_dict({name: torch.tensor(tensor) for name, tensor in tensors.items()})
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _listed(geometry: Mapping[str, int | None]) -> str:
    return ", ".join(f"{key} {value}" for key, value in geometry.items())
