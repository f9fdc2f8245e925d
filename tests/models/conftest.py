"""Seeded networks and images of the size that a test needs."""

import numpy as np
import pytest

from .networks import seeded_network


@pytest.fixture
def stained():
    """(H, W, 3) float32 image in [0, 1]: smooth blobs of a stain with fine grain, from a seed."""
    from scipy import ndimage

    def make(height, width, seed=0):
        rng = np.random.default_rng(seed)
        blobs = ndimage.gaussian_filter(rng.standard_normal((height, width, 3)), (2, 2, 0))
        grain = 0.05 * rng.standard_normal((height, width, 3))
        return np.clip(0.7 + 0.8 * blobs + grain, 0.0, 1.0).astype(np.float32)

    return make


@pytest.fixture
def seeded():
    """Build a model's network from a seed, with biases that are not zero so that a wrong border would show."""

    return seeded_network
