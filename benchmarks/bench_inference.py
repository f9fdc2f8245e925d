"""The engine on a CPU: channels last in tiles against PyTorch's eager default, and bfloat16 against float32."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.networks import engine_of, speckle, trained_like_network
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.events import Events
from superres.image import Array
from superres.inference.folded_tail import FoldedNetwork
from superres.inference.forward import Runner
from superres.inference.pixels import TensorPixels


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


def test_folded_tail_beside_the_network_as_built(versus: Callable[..., Any], measuring: bool,
                                                 rng: np.random.Generator) -> None:
    """Predicted: 0.92 of the time, for 6.5 % fewer multiply-adds and a fine picture that is never made."""
    network = trained_like_network().to(memory_format=torch.channels_last)
    folded = FoldedNetwork(Rivenson2017Model().native(network)).to(memory_format=torch.channels_last)
    side = int(os.environ.get("SUPERRES_BENCH_SIDE", "1024")) if measuring else 37
    tiles = [TensorPixels(torch.from_numpy(rng.random((1, 3, side, side), dtype=np.float32)))]
    geometry = Rivenson2017Model().geometry

    def through(module: torch.nn.Module) -> torch.Tensor:
        return Runner(module, geometry, torch.device("cpu"), tile_px=384).whole(tiles[0], Events())

    outcome = versus(lambda: through(folded), lambda: through(network), reference_name="the same tiles, not folded",
                     output_megapixels=(side * 2.5) ** 2 / 1e6, rounds=5)
    difference = float((outcome.candidate - outcome.reference).abs().max())
    assert difference <= 1e-5
    outcome.note(max_difference=difference)
    outcome.facts["side_px"] = side
