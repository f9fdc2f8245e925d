"""`Engine` on a CPU beside every other way to run the paper's network, in one process, all of them turn by turn.

    SUPERRES_BENCH_SIDE=2048 make bench PYTEST_ARGS="-m '' -k 'test_exact or papers_sizes'"

2048 px is the paper's size; on two cores a round of all takes two and a half minutes, and 21 GB, as every rival keeps
what it has allocated for the whole image.  -m '' takes in the rivals that are marked slow, and -k leaves out whom it
does not name.
The rivals get the whole image, as their users would give it; the engine cuts tiles.  ONNX Runtime comes with
`pip install -c constraints.txt superres[rivals]`.

Predicted before libsuperres was measured as the engine, from one tile of 704 px in one thread: 0.62 of the time of
OpenVINO by the engine and 0.60 on the whole image, 0.56 of torch's by the engine.

Predicted of OpenVINO as the engine, before that was measured: exact takes 0.70 of the time of channels last and of
eager, 0.75 of ONNX Runtime's, 0.85 of torch.compile's (its convolutions are oneDNN's too; it saves passes over memory),
and 0.95 to 1.05 of OpenVINO's on the whole image (the same kernels, more halo, better use of the cache).  Without
bfloat16 in the processor fast is exact, as is OpenVINO's (0.95 to 1.05), and PyTorch's emulation takes 7 times as long.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import rivals
from benchmarks.networks import engine_of, speckle, trained_like_network
from superres.config import Precision
from superres.image import Array
from superres.inference.engines import EngineName

SIDE_PX = int(os.environ.get("SUPERRES_BENCH_SIDE", "1024"))
SMALL_PX = 36
ROUNDS = int(os.environ.get("SUPERRES_BENCH_ROUNDS", "5"))
ENGINE = "Engine"
Call = Callable[[Array], Array]


@dataclass(frozen=True)
class Rival:
    """make: what it makes of the network, or the name of an engine.  needs: a package.  slow_to_start: left to
    `make test-all`."""

    make: Callable[[torch.nn.Module], rivals.Forward] | EngineName
    needs: str | None = None
    slow_to_start: bool = False


EXACT = {
    "Engine, OpenVINO": Rival("openvino", "openvino"),
    "Engine, torch": Rival("torch"),
    "OpenVINO": Rival(rivals.openvino("f32"), "openvino"),
    "channels last": Rival(rivals.channels_last),
    "torch.compile": Rival(rivals.compiled, slow_to_start=True),
    "eager NCHW": Rival(rivals.eager),
    "ONNX Runtime": Rival(rivals.onnxruntime, "onnxruntime", slow_to_start=True),
}
FAST = {
    "OpenVINO bf16": Rival(rivals.openvino("bf16"), "openvino"),
    "bfloat16 channels last": Rival(rivals.bfloat16),
    "torch.compile bf16": Rival(rivals.compiled_bfloat16, slow_to_start=True),
}
RIVALS: dict[Precision, dict[str, Rival]] = {"exact": EXACT, "fast": FAST}


@dataclass(frozen=True)
class Turns:
    """seconds: of each call by the clock, round by round.  processor_s: of all its threads, which other programs on the
    machine hardly change.  results: of the first call.  load: of the machine, before and after."""

    seconds: dict[str, list[float]]
    processor_s: dict[str, list[float]]
    results: dict[str, Array]
    load: tuple[float, float]


def ratios(times: dict[str, list[float]], name: str) -> list[float]:
    """Time of the engine / time of another, round by round."""
    return [own / other for own, other in zip(times[ENGINE], times[name], strict=True)]


def as_image(forward: rivals.Forward) -> Call:
    def call(image: Array) -> Array:
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        output = (forward(planes).clamp(0, 1) * 255).round().byte()
        result: Array = output[0].permute(1, 2, 0).numpy()
        return result

    return call


def call_of(rival: Rival, precision: Precision, **options: int) -> Call:
    if isinstance(rival.make, str):
        return engine_of(trained_like_network(), precision=precision, engine=rival.make, **options)
    return as_image(rival.make(trained_like_network()))


def in_turns(calls: dict[str, Call], image: Array, rounds: int) -> Turns:
    """The first round warms up and is not counted."""
    before = os.getloadavg()[0]
    results = {name: call(image) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    processor_s: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            gc.collect()
            start, processor_start = time.perf_counter(), time.process_time()
            call(image)
            seconds[name].append(time.perf_counter() - start)
            processor_s[name].append(time.process_time() - processor_start)
    return Turns(seconds, processor_s, results, (before, os.getloadavg()[0]))


@pytest.fixture(scope="module")
def turns(request: pytest.FixtureRequest) -> Iterator[Callable[[Precision, bool, Sequence[str]], Turns]]:
    """turns(precision, measuring, names) measures those and the engine once, for all tests that ask for the same."""
    kept: dict[tuple[object, ...], Turns] = {}

    def measured(precision: Precision, measuring: bool, names: Sequence[str]) -> Turns:
        key = precision, measuring, *names
        if key not in kept:
            options = {} if measuring else {"tile_px": 16}
            calls: dict[str, Call] = {ENGINE: engine_of(trained_like_network(), precision=precision, **options)}
            for name in names:
                calls[name] = call_of(RIVALS[precision][name], precision, **options)
            image = speckle(SIDE_PX if measuring else SMALL_PX, np.random.default_rng(7))
            kept[key] = in_turns(calls, image, ROUNDS if measuring else 1)
        return kept[key]

    yield measured
    kept.clear()


def selected(session: pytest.Session, test: str) -> list[str]:
    """Names of the rivals that this run asks for and that are installed, in their order."""
    names = {item.callspec.params["name"] for item in session.items
             if getattr(item, "originalname", "") == test and hasattr(item, "callspec")}
    everyone = {name: rival for group in RIVALS.values() for name, rival in group.items()}
    return [name for name, rival in everyone.items()
            if name in names and (rival.needs is None or find_spec(rival.needs) is not None)]


def compare(request: pytest.FixtureRequest, benchmark: Any, turns: Callable[..., Turns], measuring: bool,
            precision: Precision, name: str) -> int:
    """Note the ratio, and return how many grey levels the two results are apart at most."""
    needs = RIVALS[precision][name].needs
    if needs is not None:
        pytest.importorskip(needs, reason=f"the extra `rivals` is not installed: {needs}")
    names = selected(request.session, f"test_{precision}") if measuring else [name]
    measured = turns(precision, measuring, names)
    own, other, by_clock = measured.seconds[ENGINE], measured.seconds[name], ratios(measured.seconds, name)
    difference = int(np.abs(measured.results[ENGINE].astype(int) - measured.results[name]).max())
    engine = engine_of(trained_like_network(), precision=precision)
    side = SIDE_PX if measuring else SMALL_PX
    # The times are above; pytest-benchmark wants one of its own, of the engine on a small image.
    benchmark.pedantic(engine, args=(speckle(SMALL_PX, np.random.default_rng(7)),), rounds=1)
    benchmark.extra_info.update({
        "reference": f"{name}, {precision}", "ratio": statistics.median(by_clock), "peak_mib": None,
        "megapixels_per_s": (side * 5 // 2) ** 2 / 1e6 / statistics.median(own), "side_px": side,
        "engine": str(engine.describe()), "load": measured.load, "threads": torch.get_num_threads(),
        "quality": {"engine_s": statistics.median(own), "reference_s": statistics.median(other),
                    "least_ratio": min(by_clock), "greatest_ratio": max(by_clock), "rounds": len(own),
                    "processor_ratio": statistics.median(ratios(measured.processor_s, name)),
                    "max_grey_levels_from_reference": difference}})
    return difference


def parameters(group: dict[str, Rival]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow if rival.slow_to_start else ()) for name, rival in group.items()]


@pytest.mark.parametrize("name", parameters(EXACT))
def test_exact(request: pytest.FixtureRequest, benchmark: Any, turns: Callable[..., Turns], measuring: bool,
               name: str) -> None:
    # Float32 sums in another order: a value at a rounding boundary may fall to the other side.
    assert compare(request, benchmark, turns, measuring, "exact", name) <= 1


@pytest.mark.parametrize("name", parameters(FAST))
def test_fast(request: pytest.FixtureRequest, benchmark: Any, turns: Callable[..., Turns], measuring: bool,
              name: str) -> None:
    # A dozen roundings to 8 bits of mantissa, each at most 1/512 of a value near one grey level's 255th.
    assert compare(request, benchmark, turns, measuring, "fast", name) <= 12


@pytest.mark.parametrize("side", [160, 818])
def test_papers_sizes(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator, side: int) -> None:
    """The smaller inputs of the paper's Table S3; the largest is measured above."""
    engine, eager = engine_of(trained_like_network()), as_image(rivals.eager(trained_like_network()))
    side = side if measuring else SMALL_PX
    image = speckle(side, rng)
    outcome = versus(lambda: engine(image), lambda: eager(image), reference_name="eager NCHW, exact",
                     output_megapixels=(side * 5 // 2) ** 2 / 1e6, rounds=ROUNDS)
    assert np.abs(outcome.candidate.astype(int) - outcome.reference).max() <= 1
    outcome.facts["side_px"] = side
    if measuring:
        outcome.note(engine_s=(side * 5 // 2) ** 2 / 1e6 / outcome.facts["megapixels_per_s"])
