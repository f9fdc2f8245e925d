"""What the tests of libsuperres share: networks in its own terms, and the emulated kernels, built once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.io.weights import read_weights

from ..models import twin
from ..models.networks import seeded_network


@dataclass(frozen=True)
class Specimen:
    """A network with its weights, and its float64 twin."""

    model: Rivenson2017Model
    hyper: dict[str, Any]
    tensors: dict[str, Any]

    def expected(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(N, 3, H, W) in units of white → (N, 3, H', W') float64."""
        options = self.model.options
        return np.stack([
            np.moveaxis(twin.forward(np.moveaxis(image, 0, 2), self.tensors, blocks=options.blocks, up=options.up,
                                     down=options.down, input_relu=options.input_relu), 2, 0) for image in images])

    def output_shape(self, images: np.ndarray[Any, Any]) -> tuple[int, ...]:
        return (len(images), 3, *self.model.geometry.output_shape(*images.shape[2:]))


def random_specimen(seed: int = 0, **options: Any) -> Specimen:
    model = Rivenson2017Model(**options)
    spec = model.native(seeded_network(model, seed))
    return Specimen(model, dict(spec.hyper), dict(spec.tensors))


@pytest.fixture(scope="session")
def specimen() -> Callable[..., Specimen]:
    """specimen(seed=…, **options) → a network with random weights."""
    return random_specimen


@pytest.fixture(scope="session")
def trained(project_root: Path) -> Specimen:
    """The paper's network as the quickstart trained it."""
    weights = read_weights(project_root / "tests" / "data" / "quickstart-weights.safetensors")
    model = Rivenson2017Model(**weights.options)
    return Specimen(model, dict(weights.options) | {"input_relu": int(model.options.input_relu)}, dict(weights.tensors))


def stained(count: int, height: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """(N, 3, H, W) float32 in [0, 1]: every image another one."""
    rng = np.random.default_rng([seed, count, height, width])
    ramp = np.linspace(0.1, 0.9, max(height, width), dtype=np.float32)
    base = np.minimum.outer(ramp[:height], ramp[:width])[None, None]
    return np.clip(base + rng.normal(0, 0.2, (count, 3, height, width)), 0, 1).astype(np.float32)
