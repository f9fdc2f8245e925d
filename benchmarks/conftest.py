"""The benchmark frame: candidate and reference in one process, turn by turn, so that only their ratio matters.

`make bench` measures and keeps the result in benchmarks/history/; a plain pytest run calls both once on small data, so
that a benchmark that no longer works fails as a test does.  A benchmark is a function in a bench_*.py:

    def test_bicubic(versus, measuring, rng):
        pixels = rng.random((512, 512) if measuring else (32, 32), dtype=np.float32)
        outcome = versus(lambda: ours(pixels), lambda: theirs(pixels), reference_name="OpenCV", output_megapixels=1.6)
        outcome.note(max_difference=float(np.abs(outcome.candidate - outcome.reference).max()))
"""

from __future__ import annotations

import gc
import os
import signal
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PACKAGES_THAT_SET_THE_PACE = ("numpy", "scipy", "torch", "opencv-contrib-python", "opencv-contrib-python-headless",
                              "scikit-image")


@dataclass(frozen=True)
class Outcome:
    """What candidate and reference returned the first time, and where to note facts beside the times."""

    candidate: Any
    reference: Any
    facts: dict[str, Any]

    def note(self, **quality: float) -> None:
        """Keep figures of quality (an error, a score) in the history, beside the speed that they were had at."""
        self.facts.setdefault("quality", {}).update(quality)


@pytest.fixture
def measuring(request: pytest.FixtureRequest) -> bool:
    """True under `make bench`: full sizes; False in a plain test run: small ones."""
    return not request.config.getoption("--benchmark-disable") or request.config.getoption("--benchmark-enable")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def gpu() -> Iterator[None]:
    """A GPU, and cuDNN free to try its algorithms, as a user in earnest would have it."""
    import torch

    from superres import native

    reason = "torch sees no GPU" if not torch.cuda.is_available() else \
        "the native module uses no GPU" if not native.device_count() else ""
    if reason and os.environ.get("SUPERRES_REQUIRE_CUDA") == "1":
        pytest.fail(f"SUPERRES_REQUIRE_CUDA=1, but {reason}")
    if reason:
        pytest.skip(reason)
    former = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    yield
    torch.backends.cudnn.benchmark = former


@pytest.fixture
def versus(benchmark: Any, measuring: bool) -> Callable[..., Outcome]:
    """versus(candidate, reference, reference_name=…, output_megapixels=…, rounds=15) → Outcome.

    Calls the two in turn and keeps in the benchmark's extra_info: ratio (median of candidate time / time of the
    reference called just before; below 1 is faster), reference (its name), megapixels_per_s of the candidate, peak_mib
    (what its first call added to the process's resident memory at most; None where the system cannot tell).
    """

    def compare(candidate: Callable[[], Any], reference: Callable[[], Any], *, reference_name: str,
                output_megapixels: float, rounds: int = 15) -> Outcome:
        facts: dict[str, Any] = benchmark.extra_info
        facts["reference"] = reference_name
        peak_mib, first_candidate = peak_memory_mib(candidate)
        first_reference = reference()
        if not measuring:
            benchmark.pedantic(candidate, rounds=1)
            return Outcome(first_candidate, first_reference, facts)
        reference_s: list[float] = []

        # The benchmark's own clock: on a machine that others use, --benchmark-timer=time.process_time tells more.
        clock: Callable[[], float] = benchmark._timer
        facts["clock"] = clock.__name__

        def time_reference() -> None:
            start = clock()
            reference()
            reference_s.append(clock() - start)

        benchmark.pedantic(candidate, setup=time_reference, rounds=rounds, warmup_rounds=1)
        candidate_s = list(benchmark.stats.stats.data)
        facts["ratio"] = statistics.median(
            own / other for own, other in zip(candidate_s, reference_s[-len(candidate_s):], strict=True))
        facts["megapixels_per_s"] = output_megapixels / statistics.median(candidate_s)
        facts["peak_mib"] = peak_mib
        return Outcome(first_candidate, first_reference, facts)

    return compare


def peak_memory_mib(call: Callable[[], Any]) -> tuple[float | None, Any]:
    """(resident memory in MiB that `call` added at its peak, None without Linux's /proc; what `call` returned)."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")       # sets the high-water mark back to the present size
        before = _status_kib("VmRSS")
    except OSError:
        return None, call()
    result = call()
    return max(0, _status_kib("VmHWM") - before) / 1024, result


def _status_kib(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def installed_version(package: str) -> str | None:
    """None where it is not installed: OpenCV, for one, comes in several packages."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def pytest_configure() -> None:
    """A run that is cut off keeps what it has measured (gpu.sh interrupts it) also where a shell started it in the
    background, which leaves processes deaf to interrupts."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Say what sets the pace; leave out what names the machine."""
    for key in ("node", "release"):
        machine_info.pop(key, None)
    machine_info["cores"] = os.cpu_count()
    machine_info["threads"] = os.environ.get("OMP_NUM_THREADS", "unset")
    machine_info["packages"] = {name: installed_version(name) for name in PACKAGES_THAT_SET_THE_PACE}


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    """SUPERRES_COMMIT says what was measured where git cannot: on a machine that was sent the files alone."""
    named = os.environ.get("SUPERRES_COMMIT", "")
    if named and commit_info["id"] in ("unversioned", "unknown"):
        commit_info["id"] = named


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_json(config: pytest.Config, benchmarks: list[Any]) -> None:
    """Drop the benchmark that was interrupted: it has no times, and over that the others would not be written."""
    benchmarks[:] = [each for each in benchmarks if each]


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Keep the history small: no raw rounds, no list of processor flags."""
    output_json["machine_info"].get("cpu", {}).pop("flags", None)
    for each in output_json["benchmarks"]:
        each["stats"].pop("data", None)
