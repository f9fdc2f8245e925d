"""Conditions of a visit: what is drawn anew each time that a scene is laid under the virtual microscope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

Varied = Literal["condenser_na", "wavelength_um", "coarse_defocus_um", "fine_defocus_um", "noise_coarse", "noise_fine",
                 "shot_share", "vignetting"]
"""Options of source `simulate` that may differ from visit to visit.  Objectives, pixels and bits are the
microscope's."""

Ranges = dict[Varied, tuple[float, float]]

_DRAWS = 1
"""Last word of the seed: the draws must not be the numbers that the frames' noise begins with."""


def check_ranges(ranges: Mapping[Varied, tuple[float, float]]) -> None:
    """Raises ValueError for a range whose ends are the wrong way round."""
    for name, (low, high) in ranges.items():
        if low > high:
            raise ValueError(f"vary.{name} is [{low:g}, {high:g}]; expected the smaller value first")


def draw_conditions(ranges: Mapping[Varied, tuple[float, float]], seed: int, row: int, visit: int) -> dict[str, float]:
    """One value from each range, uniformly; the same for the same seed, scene (row) and visit.

    A range that is added changes the draws of no other: they come in a fixed order, whether asked for or not.
    """
    rng = np.random.default_rng([seed, row, visit, _DRAWS])
    shares = dict(zip(get_args(Varied), rng.random(len(get_args(Varied))).tolist(), strict=True))
    return {name: low + (high - low) * shares[name] for name, (low, high) in ranges.items()}
