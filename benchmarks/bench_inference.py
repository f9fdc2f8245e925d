"""The engine on a CPU: channels last in tiles against PyTorch's eager default, and bfloat16 against float32."""

from __future__ import annotations

from collections.abc import Callable
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


def engine_of(network: nn.Module, **options: Any) -> Engine:
    model = Rivenson2017Model()
    tensors = {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
    weights = Weights(plugin=model.name, options=model.options.model_dump(), geometry=asdict(model.geometry),
                      coarse_pixel_size_um=0.185, fine_pixel_size_um=0.074, tensors=tensors)
    return Engine.from_weights(weights, device="cpu", catalog=Catalog.builtin(), **options)


def speckle(side: int, rng: np.random.Generator) -> Array:
    return rng.integers(0, 256, (side, side, 3)).astype(np.uint8)


def test_engine_beside_eager_pytorch(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator) -> None:
    network = trained_like_network()
    image = speckle(768 if measuring else 40, rng)
    engine = engine_of(network, **({} if measuring else {"tile_px": 16}))

    def eager() -> Array:
        with torch.no_grad():
            planes = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().float() / 255
            output = (network(planes).clamp(0, 1) * 255).round().byte()
        return output[0].permute(1, 2, 0).numpy()

    side = image.shape[0] * 5 // 2
    outcome = versus(lambda: engine(image), eager, reference_name="PyTorch eager, NCHW, whole image, float32",
                     output_megapixels=side * side / 1e6, rounds=5)
    difference = np.abs(outcome.candidate.astype(int) - outcome.reference)
    assert outcome.candidate.shape == (side, side, 3)
    # Float32 sums in another order: a value at a rounding boundary may fall to the other side.
    assert difference.max() <= 1
    outcome.note(max_grey_levels_from_reference=float(difference.max()))


def test_fast_beside_exact(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator) -> None:
    network = trained_like_network()
    image = speckle(512 if measuring else 24, rng)
    exact, fast = engine_of(network), engine_of(network, precision="fast")
    side = image.shape[0] * 5 // 2
    outcome = versus(lambda: fast(image), lambda: exact(image), reference_name="the same engine, exact (float32)",
                     output_megapixels=side * side / 1e6, rounds=5)
    difference = np.abs(outcome.candidate.astype(int) - outcome.reference)
    # A dozen roundings to 8 bits of mantissa, each at most 1/512 of a value near one grey level's 255th.
    assert difference.max() <= 12
    outcome.note(max_grey_levels_from_reference=float(difference.max()))
