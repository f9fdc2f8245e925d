"""The colours of stained tissue: what the weights file keeps about each specimen that a network was trained on, and how
far an image is from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from superres.api.source import Pair
from superres.image import FloatArray
from superres.io.weights import Stain

Reals = npt.NDArray[np.float64]

DARKEST = 1.0 / 255.0
"""Intensities below one grey level of 8 bits count as one: density stays at most 2.4."""

CLEAR = 0.3
"""Total density of the three colours below which a pixel counts as clear: 21 % absorbed in each.  Paler ones show the
colour of the lamp as much as that of a stain."""

FREE_SD = 1.0
"""So far from a specimen's mean, along the line between its stains, an image may lie for nothing: a field that holds
but one of two stains is no other stain."""

LAB_SD = 0.008
"""Standard deviation of a specimen's mean shares across the line between its stains: how much sections of one
stain differ between laboratories, scanners and fields.  Twelve H&E slides of seven sources: 0.006."""

SLOPE_SD = 0.04
"""The same of the change of a share with density (a factor of e)."""


class StainSums:
    """Weighted sums over pixels, from which a stain is made: one image in memory at a time."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._total: Reals = np.zeros(3)
        self._products: Reals = np.zeros((3, 3))

    def add(self, unit: FloatArray) -> None:
        """unit: (H, W, 3) in units of white."""
        coordinates, weight = stain_coordinates(unit)
        self._weight += float(weight.sum())
        self._total += weight @ coordinates
        self._products += (coordinates * weight[:, None]).T @ coordinates

    def stain(self, specimen: str) -> Stain | None:
        """None where nothing absorbed any light."""
        if self._weight == 0.0:
            return None
        mean = self._total / self._weight
        covariance = self._products / self._weight - np.outer(mean, mean)
        return Stain(specimen, tuple(mean.tolist()), tuple(tuple(row) for row in covariance.tolist()))


def stain_coordinates(unit: FloatArray) -> tuple[Reals, Reals]:
    """(N, 3) coordinates and (N,) weights of the pixels that absorb light; N may be 0.

    unit: (H, W, 3) in units of white; blurred by 1 px against noise.  Coordinates: shares of red and blue in the total
    optical density of the three colours, and the natural logarithm of that total.  Shares tell dyes apart however
    strong they are (Beer's law).  Weights: the total density, as pale pixels tell little.
    Source of the shares: van der Laak et al., Cytometry 39, 275 (2000), "hue-saturation-density".
    """
    density = optical_density(ndimage.gaussian_filter(unit, (1, 1, 0))).reshape(-1, 3).astype(np.float64)
    total = density.sum(axis=1)
    density, total = density[total > CLEAR], total[total > CLEAR]
    return np.stack([density[:, 0] / total, density[:, 2] / total, np.log(total)], axis=1), total


def optical_density(unit: FloatArray) -> FloatArray:
    """−log10(max(I, 1/255)).  unit: intensities in units of white; any shape.  0 is clear glass, 1 absorbs 90 %."""
    return np.asarray(-np.log10(np.maximum(unit, np.float32(DARKEST))), dtype=np.float32)


def stains_of(pairs: Iterable[Pair]) -> tuple[Stain, ...]:
    """The stain of every specimen's coarse images, in the order in which specimens appear; a single channel counts as
    three equal ones.  Specimens of clear glass have none."""
    sums: dict[str, StainSums] = {}
    for pair in pairs:
        sums.setdefault(pair.specimen, StainSums()).add(pair.coarse.rgb())
    found = (each.stain(specimen) for specimen, each in sums.items())
    return tuple(stain for stain in found if stain is not None)


def nearest_stain(seen: Stain, known: Sequence[Stain]) -> tuple[float, Stain]:
    """Squared distance to the nearest of the known stains, and which that is.  known: one at least."""
    return min(((distance(seen, each), each) for each in known), key=lambda pair: pair[0])


def distance(seen: Stain, known: Stain) -> float:
    """How far an image's colours are from a specimen's; squared, in standard deviations.

    Along the line between the specimen's stains, on which its own pixels lie, an image may be anywhere that they are;
    across it, only laboratories differ (LAB_SD).  How shares change with density (nuclei are dense) is compared too.
    Not symmetric: the known specimen's spread counts.
    """
    spread = np.array(known.covariance)
    variance, axes = np.linalg.eigh(spread[:2, :2])
    across, along = (np.array(seen.mean) - np.array(known.mean))[:2] @ axes
    slopes = _slopes(seen) - _slopes(known)
    excess = max(abs(along) / np.sqrt(variance[1] + LAB_SD ** 2) - FREE_SD, 0.0)
    return float(excess ** 2 + across ** 2 / LAB_SD ** 2 + (slopes ** 2).sum() / SLOPE_SD ** 2)


def _slopes(stain: Stain) -> Reals:
    """Change of the shares of red and blue with the logarithm of density.  1e-3: a spread of 3 % is none."""
    covariance = np.array(stain.covariance)
    return np.asarray(covariance[:2, 2] / (covariance[2, 2] + 1e-3))
