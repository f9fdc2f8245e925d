"""Fields with tissue-like structure, from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from superres.api import Case
from superres.image import FloatArray, Image

MakeCase = Callable[..., Case]


def _smooth(pixels: FloatArray, sigma_px: float) -> FloatArray:
    return np.asarray(ndimage.gaussian_filter(pixels, (sigma_px, sigma_px, 0)), dtype=np.float32)


def _speckle(seed: int, height: int = 60, width: int = 76) -> FloatArray:
    """(H, W, 3) float32 in [0, 1] with blobs of about 3 px."""
    noise = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
    return np.clip((_smooth(noise, 1.5) - 0.5) * 3 + 0.6, 0.0, 1.0)


@pytest.fixture(scope="session")
def smooth() -> Callable[[FloatArray, float], FloatArray]:
    """(image, sigma_px) → the image blurred by a Gaussian, colours apart."""
    return _smooth


@pytest.fixture(scope="session")
def speckle() -> Callable[..., FloatArray]:
    """(seed, height, width) → a field with blobs of about 3 px."""
    return _speckle


@pytest.fixture(scope="session")
def make_case() -> MakeCase:
    """A case whose prediction is a little blurred and whose bicubic is blurred more."""

    def make(name: str = "field", specimen: str = "slide", seed: int = 0, height: int = 60, width: int = 76,
             with_truth: bool = True, prediction: FloatArray | None = None) -> Case:
        truth = _speckle(seed, height, width)
        coarse = Image(np.ascontiguousarray(truth[::2, ::2]), 0.148, name=name)
        return Case(name, specimen, coarse, _smooth(truth, 0.5) if prediction is None else prediction,
                    _smooth(truth, 1.2), truth if with_truth else None, 0.074)

    return make
