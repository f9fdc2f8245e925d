"""The worst of a training's inputs: noise that the colours do not share, and blocks."""

import numpy as np
import pytest

from superres.api.source import Pair
from superres.image import Image
from superres.training.inputs import WINDOW_PX, colour_noise_sd, spread, worst_of
from tests.registration.specimens import speckle

CUTOFF = 0.5
"""cycles/px: that of 40×/0.95NA at 0.185 µm."""


def noisy(rng, sd, shared=0.0, side=200):
    """A drawn section with noise of each colour's own, and noise that all three have."""
    scene = speckle(1, side)
    blurred = (scene + np.roll(scene, 1, 0) + np.roll(scene, 1, 1)) / 3
    return (blurred + rng.normal(0, sd, blurred.shape) + rng.normal(0, shared, (side, side, 1))).astype(np.float32)


@pytest.mark.parametrize("sd", [0.01, 0.03])
def test_noise_of_each_colours_own_is_measured(rng, sd):
    # The smallest of three eigenvalues lies a little below their mean.
    assert colour_noise_sd([noisy(rng, sd)], CUTOFF) == pytest.approx(sd, rel=0.06)


def test_what_the_colours_share_is_no_noise(rng):
    """As sharpened or coarsely sampled structure, which has power up to the corners of the spectrum."""
    assert colour_noise_sd([noisy(rng, 0.01, shared=0.1)], CUTOFF) == pytest.approx(0.01, rel=0.06)
    grey = np.repeat(rng.normal(0.5, 0.1, (100, 100, 1)), 3, axis=2).astype(np.float32)
    assert colour_noise_sd([grey], CUTOFF) < 1e-6


def test_the_worst_of_the_pairs_is_kept(rng):
    fine = Image(np.zeros((500, 500, 3), np.float32), 0.074, 1.0)
    pairs = [Pair(f"p{sd}", "s", Image(noisy(rng, sd), 0.185, 1.0), fine) for sd in (0.004, 0.02, 0.01)]
    worst = worst_of(pairs, None, 0.185)
    assert worst is not None and worst.noise == pytest.approx(0.02, rel=0.06) and 0.9 < worst.blocks < 1.1
    tiny = Pair("t", "s", Image(np.zeros((8, 8, 3), np.float32), 0.185, 1.0), fine)
    assert worst_of([tiny], None, 0.185) is None


def test_windows_lie_within_the_image_and_reach_its_ends():
    assert spread((100, 300)) == [(0, 0, 100, WINDOW_PX)]
    boxes = spread((2000, 900))
    assert len(boxes) == 4 * 3 and {top for top, *_ in boxes} >= {0, 2000 - WINDOW_PX}
    assert all(top + height <= 2000 and left + width <= 900 for top, left, height, width in boxes)
