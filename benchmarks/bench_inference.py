"""The engine on a CPU: channels last in tiles against PyTorch's eager default, and bfloat16 against float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.networks import engine_of, speckle, trained_like_network
from superres.image import Array


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
