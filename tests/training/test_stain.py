"""Optical density of the training inputs."""

import numpy as np
import pytest

from superres.errors import ImageError
from superres.image import Image
from superres.training.stain import optical_density, stain_statistics


def test_density_of_known_intensities():
    density = optical_density(np.array([1.0, 0.1, 0.01, 0.0], np.float32))
    assert density == pytest.approx([0, 1, 2, np.log10(255)], abs=1e-6)


def test_statistics_equal_numpys_over_all_pixels():
    rng = np.random.default_rng(0)
    images = [Image(rng.integers(0, 256, (9, 11, 3)).astype(np.uint8), 0.2),
              Image(rng.integers(0, 4096, (7, 5, 3)).astype(np.uint16), 0.2, white_level=4095)]
    statistics = stain_statistics(images)
    unit = np.concatenate([image.unit().reshape(-1, 3) for image in images]).astype(np.float64)
    density = -np.log10(np.maximum(unit, 1 / 255))
    assert statistics.mean == pytest.approx(density.mean(axis=0), rel=1e-6)
    assert np.array(statistics.covariance) == pytest.approx(np.cov(density.T, bias=True), rel=1e-5, abs=1e-9)


def test_a_single_channel_counts_as_three_equal_ones():
    statistics = stain_statistics([Image(np.full((4, 4), 0.1, np.float32), 0.2)])
    assert statistics.mean == pytest.approx((1.0, 1.0, 1.0), rel=1e-6)


def test_no_images_have_no_density():
    with pytest.raises(ImageError, match="no image"):
        stain_statistics([])
