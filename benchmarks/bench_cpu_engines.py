"""`Engine` on a CPU beside every other way to run the paper's network, in one process, turn by turn.

The rivals get the whole image, as their users would give it; the engine cuts tiles.  ONNX Runtime comes with
`pip install -c constraints.txt superres[rivals]`.

Predicted before it was measured: exact takes 0.70 of the time of channels last and of eager, 0.75 of ONNX Runtime's,
and 0.95 to 1.05 of OpenVINO's on the whole image (the same kernels, more halo, better use of the cache).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import rivals
from benchmarks.networks import engine_of, speckle, trained_like_network
from superres.image import Array

SIDE_PX = int(os.environ.get("SUPERRES_BENCH_SIDE", "1024"))
"""2048 is the paper's; on two cores a round of it takes most of a minute."""

EXACT = {
    "eager NCHW": (rivals.eager, None),
    "channels last": (rivals.channels_last, None),
    "torch.compile": (rivals.compiled, None),
    "ONNX Runtime": (rivals.onnxruntime, "onnxruntime"),
    "OpenVINO": (rivals.openvino("f32"), "openvino"),
}
SLOW_TO_START = ("torch.compile", "ONNX Runtime")
FAST = {"bfloat16 channels last": (rivals.bfloat16, None), "OpenVINO bf16": (rivals.openvino("bf16"), "openvino")}


def as_image(forward: rivals.Forward, image: Array) -> Array:
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    output = (forward(planes).clamp(0, 1) * 255).round().byte()
    result: Array = output[0].permute(1, 2, 0).numpy()
    return result


def compare(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator, precision: str, name: str,
            make: Callable[[torch.nn.Module], rivals.Forward], needs: str | None) -> np.ndarray[Any, Any]:
    if needs is not None:
        pytest.importorskip(needs, reason=f"the extra `rivals` is not installed: {needs}")
    engine = engine_of(trained_like_network(), precision=precision, **({} if measuring else {"tile_px": 16}))
    rival = make(trained_like_network())
    image = speckle(SIDE_PX if measuring else 36, rng)
    side = image.shape[0] * 5 // 2
    outcome = versus(lambda: engine(image), lambda: as_image(rival, image), reference_name=f"{name}, {precision}",
                     output_megapixels=side * side / 1e6, rounds=5)
    difference = np.abs(outcome.candidate.astype(int) - outcome.reference)
    outcome.note(max_grey_levels_from_reference=float(difference.max()))
    return difference


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW_TO_START else ())
                                  for name in EXACT])
def test_exact(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator, name: str) -> None:
    difference = compare(versus, measuring, rng, "exact", name, *EXACT[name])
    # Float32 sums in another order: a value at a rounding boundary may fall to the other side.
    assert difference.max() <= 1


@pytest.mark.parametrize("name", FAST)
def test_fast(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator, name: str) -> None:
    difference = compare(versus, measuring, rng, "fast", name, *FAST[name])
    # A dozen roundings to 8 bits of mantissa, each at most 1/512 of a value near one grey level's 255th.
    assert difference.max() <= 12
