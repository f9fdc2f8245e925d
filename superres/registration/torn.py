"""Whether the parts of a field lie where one map puts them: a fold, a tear, a stretched scan, a step of stitching.

Gauss-Newton and its blocks see no farther than a pixel or two, and halves of a torn field can agree on its larger part.
Matched features say of every part that has some where it is, however far; `correlated` says it of the others, nearby.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PARTS = 4
"""Parts of a field a side: each of a field of 100 coarse pixels has some ten features."""
REACH_PX = 16.0
"""Matches farther off are taken for false ones."""
TOGETHER_PX = 1.0
MIN_TOGETHER, MIN_TOGETHER_SHARE = 5, 0.6
"""A part is judged by at least so many matches, and such a share of those within reach, that lie within TOGETHER_PX of
their median."""
BESIDE_PX = 0.5
MIN_JUDGED, MIN_BESIDE = 4, 2
TEARS = "tears (too little structure)"
"""What is said to be unjudged of a field with fewer than MIN_JUDGED parts."""
VISIBLE_TEAR = "smallest tear that shows (coarse px)"
"""The detail of a registration that says what `visible_tear_px` gives."""
MAX_BESIDE_SHARE = 0.15
"""True fields under the clean microscope have none, and none farther than 0.21 px; a tear of 1.2 px through the middle
leaves 0.19, one of 2.4 px 0.9."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a field that can be judged.

    places_um: (n, 2) where they lie in the field: the mean of their features, or their middle.  off_px: (n, 2) how far
    the scene shows them from where the map puts them.  errors_px: (n,) standard errors of a component.
    """

    places_um: Values
    off_px: Values
    errors_px: Values

    @property
    def beside(self) -> int:
        """How many certainly, by three standard errors, lie more than BESIDE_PX beside their place."""
        return int((np.hypot(*self.off_px.T) - 3 * self.errors_px > BESIDE_PX).sum())

    @property
    def judged(self) -> bool:
        return len(self.off_px) >= MIN_JUDGED

    @property
    def torn(self) -> bool:
        return self.judged and self.beside >= MIN_BESIDE and self.beside > MAX_BESIDE_SHARE * len(self.off_px)

    @property
    def farthest_px(self) -> float:
        return float(np.hypot(*self.off_px.T).max(initial=0.0))


NO_PARTS = Parts(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))


def parts_of(points_um: Values, off_px: Values, size_um: tuple[float, float], feature_px: float = 1.0) -> Parts:
    """points_um: (n, 2) places of all matched features in a field of size_um, false matches among them.

    off_px: (n, 2) how far the scene shows each from where the map puts it, in scene pixels.  feature_px: pixels of the
    images in which the features were found, in scene pixels.
    """
    near = np.hypot(*off_px.T) < REACH_PX
    points, off = points_um[near], off_px[near]
    cell = np.clip((points / np.asarray(size_um) * PARTS).astype(int), 0, PARTS - 1)
    number = cell[:, 0] * PARTS + cell[:, 1]
    places, shifts, errors = [], [], []
    for each in np.unique(number):
        inside = off[number == each]
        together = np.hypot(*(inside - np.median(inside, axis=0)).T) < TOGETHER_PX * feature_px
        if together.sum() < max(MIN_TOGETHER, MIN_TOGETHER_SHARE * len(inside)):
            continue
        kept = inside[together]
        places.append(points[number == each][together].mean(axis=0))
        shifts.append(kept.mean(axis=0))
        errors.append(float(np.sqrt(kept.var(axis=0, ddof=1).mean() / len(kept))))
    return Parts(np.array(places).reshape(-1, 2), np.array(shifts).reshape(-1, 2), np.array(errors))
