"""What surrounds the kernels on a GPU: a stream of frames beside its parts, and a captured graph beside its launches.

Skipped without a GPU.  Not yet run on one.

Predicted for an H200: a stream of 100 frames of 2048² takes at most 1.15 of the longest of its parts on the card, if
what the host copies for each frame (12 MB in, 79 MB out, by one thread) takes no longer than they do; a captured graph
takes half the time of its seven launches at 160², and the same at 818².
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.bench_gpu_engines import ROUNDS, device_ms
from benchmarks.networks import engine_of, speckle, trained_like_network
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.native.graph import CapturedModel
from superres.native.model import NativeModel


def compiled() -> NativeModel:
    spec = Rivenson2017Model().native(trained_like_network())
    return NativeModel.create(spec.hyper, spec.tensors, device=0)


def facts(side: int) -> dict[str, Any]:
    return {"card": torch.cuda.get_device_name(), "side_px": side, "peak_mib": None,
            "parity": os.environ.get("SUPERRES_PARITY", "not run")}


@pytest.mark.usefixtures("gpu")
def test_a_stream_beside_its_parts(benchmark: Any, measuring: bool, rng: np.random.Generator) -> None:
    side, count = (2048, 100) if measuring else (40, 4)
    engine = engine_of(trained_like_network(), device="cuda", engine="native")
    frames = [speckle(side, rng) for _ in range(4)]
    near = [torch.from_numpy(frame).cuda().permute(2, 0, 1)[None] for frame in frames]
    kernels = compiled()
    result = kernels(near[0])
    here, back = (torch.empty_like(like, device="cpu", pin_memory=True) for like in (near[0], result))
    arrived = torch.empty_like(near[0])
    parts = {"kernels": kernels, "engine": engine,
             "copy_in": lambda frame: arrived.copy_(here, non_blocking=True),
             "copy_out": lambda frame: back.copy_(result, non_blocking=True)}
    times = device_ms(list(parts.values()), near, ROUNDS if measuring else 2)
    part_ms = {name: statistics.median(each) for name, each in zip(parts, times, strict=True)}
    for streamed in engine.stream(frames):      # page-locks its buffers
        assert isinstance(streamed.unwrap(), np.ndarray)
    start = time.perf_counter()
    for streamed in engine.stream(frames[index % len(frames)] for index in range(count)):
        streamed.unwrap()
    stream_ms = 1e3 * (time.perf_counter() - start) / count
    benchmark.pedantic(lambda: kernels(near[0]), rounds=1)
    longest = max(part_ms["kernels"], part_ms["copy_in"], part_ms["copy_out"])
    benchmark.extra_info.update(facts(side) | {
        "reference": "the longest of kernels, copies in and copies out", "ratio": stream_ms / longest,
        "megapixels_per_s": (side * 5 // 2) ** 2 / 1e3 / stream_ms,
        "quality": {"stream_ms": stream_ms} | {f"{name}_ms": ms for name, ms in part_ms.items()}})


@pytest.mark.parametrize("side", [160, 818])
@pytest.mark.usefixtures("gpu")
def test_a_captured_graph_beside_its_launches(benchmark: Any, measuring: bool, side: int) -> None:
    side = side if measuring else 40
    model = compiled()
    captured = CapturedModel(model, (1, 3, side, side))
    generator = torch.Generator("cuda").manual_seed(7)
    frames = [torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, device="cuda", generator=generator)
              for _ in range(4)]
    assert all(torch.equal(captured(frame), model(frame)) for frame in frames)
    own, other = device_ms([captured, model], frames, ROUNDS if measuring else 2)
    benchmark.pedantic(lambda: captured(frames[0]), rounds=1)
    benchmark.extra_info.update(facts(side) | {
        "reference": "its launches", "ratio": statistics.median(a / b for a, b in zip(own, other, strict=True)),
        "megapixels_per_s": (side * 5 // 2) ** 2 / 1e3 / statistics.median(own),
        "quality": {"captured_ms": statistics.median(own), "launches_ms": statistics.median(other)}})
