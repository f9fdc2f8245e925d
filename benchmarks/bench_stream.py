"""Engine.stream beside a plain loop that does the same: read a file, compute, write a file.

Predicted: 0.92 of the loop's time where the network leaves a core free (reading and writing are 8 % of the loop and
hide behind the computing), 1.00 where it takes them all (there is nothing left to hide behind).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmarks.networks import engine_of, speckle, trained_like_network
from superres.image import Array


@pytest.fixture(params=["one thread", "all cores"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    former = torch.get_num_threads()
    torch.set_num_threads(1 if request.param == "one thread" else os.cpu_count() or 1)
    yield torch.get_num_threads()
    torch.set_num_threads(former)


def test_stream_beside_a_loop(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator, tmp_path: Path,
                              threads: int) -> None:
    side, count = (192, 16) if measuring else (24, 2)
    paths = [tmp_path / f"frame-{index}.png" for index in range(count)]
    for path in paths:
        cv2.imwrite(str(path), speckle(side, rng))
    engine = engine_of(trained_like_network(), engine="torch")

    def read(path: Path) -> Array:
        return np.asarray(cv2.imread(str(path)))

    def write(path: Path, image: Array) -> None:
        cv2.imwrite(str(path.with_suffix(".result.png")), image)

    def loop() -> list[Array]:
        for path in paths:
            write(path, engine(read(path)))
        return [read(path.with_suffix(".result.png")) for path in paths]

    def stream() -> list[Array]:
        for path, result in zip(paths, engine.stream(read(path) for path in paths), strict=True):
            image = result.unwrap()
            assert isinstance(image, np.ndarray)
            write(path, image)
        return [read(path.with_suffix(".result.png")) for path in paths]

    outcome = versus(stream, loop, reference_name="a loop: read, compute, write", rounds=5,
                     output_megapixels=count * (side * 2.5) ** 2 / 1e6)
    assert all(np.array_equal(one, other) for one, other in zip(outcome.candidate, outcome.reference, strict=True))
    outcome.note(threads=float(threads))
