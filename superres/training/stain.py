"""The optical density of stained tissue: what the weights file keeps about the images that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superres.errors import ImageError
from superres.image import FloatArray, Image

DARKEST = 1.0 / 255.0
"""Intensities below one grey level of 8 bits count as one: density stays at most 2.4."""


@dataclass(frozen=True)
class StainStatistics:
    """Mean (3,) and population covariance (3, 3) of the optical density of red, green and blue, over all pixels."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]


def optical_density(unit: FloatArray) -> FloatArray:
    """−log10(max(I, 1/255)).  unit: intensities in units of white; any shape.  0 is clear glass, 1 absorbs 90 %."""
    return np.asarray(-np.log10(np.maximum(unit, np.float32(DARKEST))), dtype=np.float32)


def stain_statistics(images: Iterable[Image]) -> StainStatistics:
    """Over every pixel of the images, one image in memory at a time; a single channel counts as three equal ones.

    Raises ImageError when there is no image.
    """
    count = 0
    total: npt.NDArray[np.float64] = np.zeros(3)
    products: npt.NDArray[np.float64] = np.zeros((3, 3))
    for image in images:
        density = optical_density(image.rgb()).reshape(-1, 3).astype(np.float64)
        count += len(density)
        total += density.sum(axis=0)
        products += density.T @ density
    if count == 0:
        raise ImageError("no image to take the optical density of")
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    return StainStatistics(tuple(mean.tolist()), tuple(tuple(row) for row in covariance.tolist()))
