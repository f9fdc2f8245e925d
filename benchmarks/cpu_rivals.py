"""Every way to run the paper's network on a CPU, in one process, turn by turn: the numbers of docs/engine.md.

    OMP_NUM_THREADS=1 python -m benchmarks.cpu_rivals docs/engine-cpu.json --side 1024 --rounds 3 --clock cpu

--clock cpu takes the processor time of the process, which other programs on the machine hardly change; --clock wall is
what a user waits, on a machine that does nothing else.  bench_cpu_engines.py makes the same comparisons under `make
bench`, pair by pair.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from benchmarks import rivals
from benchmarks.bench_cpu_engines import as_image
from benchmarks.networks import engine_of, speckle, trained_like_network
from superres.image import Array

CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}
RIVALS = {"OpenVINO, whole image": rivals.openvino("f32"), "channels last": rivals.channels_last,
          "eager NCHW": rivals.eager, "ONNX Runtime": rivals.onnxruntime}


def measure(side_px: int, rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each call in each round; the first round counts as any other, and medians pass over it."""
    image = speckle(side_px, np.random.default_rng(7))
    engines = {"Engine": engine_of(trained_like_network()),
               "Engine, torch": engine_of(trained_like_network(), engine="torch")}
    calls: dict[str, Callable[[], Array]] = {name: lambda engine=engine: engine(image)
                                             for name, engine in engines.items()}
    for name, make in RIVALS.items():
        forward = make(trained_like_network())
        calls[name] = lambda forward=forward: as_image(forward, image)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
            sys.stderr.write(f"{name}: {seconds[name][-1]:.2f} s\n")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU rivals in one process, turn by turn.")
    parser.add_argument("result", type=Path)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    options = parser.parse_args()
    seconds = measure(options.side, options.rounds, CLOCKS[options.clock])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    processor = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                      if line.startswith("model name")), platform.processor())
    record = {"side_px": options.side, "clock": options.clock, "threads": torch.get_num_threads(),
              "processor": processor, "commit": commit.stdout.strip(),
              "packages": {name: version(name) for name in ("torch", "openvino", "onnxruntime")}, "seconds": seconds,
              "ratios": ratios(seconds)}
    options.result.write_text(json.dumps(record, indent=1) + "\n")


def ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Time of `Engine` / time of each, medians over rounds of the quotients within a round."""
    return {name: statistics.median(own / other for own, other in zip(seconds["Engine"], times, strict=True))
            for name, times in seconds.items() if name != "Engine"}


if __name__ == "__main__":
    main()
