"""What the engine benchmarks share: the paper's network with weights from a seed, and engines around it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.catalog import Catalog
from superres.engine import Engine
from superres.image import Array
from superres.io.weights import Weights


def trained_like_network() -> nn.Module:
    """The paper's network with weights from a seed: the time does not depend on their values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return Rivenson2017Model().build().eval().requires_grad_(False)


def engine_of(network: nn.Module, device: str = "cpu", **options: Any) -> Engine:
    model = Rivenson2017Model()
    tensors = {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
    weights = Weights(plugin=model.name, options=model.options.model_dump(), geometry=asdict(model.geometry),
                      coarse_pixel_size_um=0.185, fine_pixel_size_um=0.074, tensors=tensors)
    return Engine.from_weights(weights, device=device, catalog=Catalog.builtin(), **options)


def speckle(side: int, rng: np.random.Generator) -> Array:
    return rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
