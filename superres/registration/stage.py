"""The stage against the camera: its rotation and step, and how far from its word a tile can lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superres.registration.misplaced import listed

Places = npt.NDArray[np.float64]
MIN_FREE = 4
"""Coordinates left over by the fit; of fewer a standard deviation is a guess."""


@dataclass(frozen=True, eq=False)
class Stage:
    """How nominal places become those of the mosaic.

    matrix: (2, 3), nominal → mosaic, both in pixels.  error_px: standard deviation of one coordinate of a tile that
    was measured, None where too few were to know it.  centre_px, weight, spread: nominal centre and number of the tiles
    that the shift comes from, and the sum of squared distances that the rotation and the step come from.
    """

    matrix: Places
    error_px: float | None
    centre_px: Places
    weight: int
    spread: float

    def expected(self, nominal: Places) -> Places:
        return np.asarray(nominal @ self.matrix[:, :2].T + self.matrix[:, 2])

    def good_to_px(self, nominal: Places) -> float:
        """RMS distance of the centre of some tiles, (n, 2) nominal, from where they go by their nominal places: their
        own errors, those of the tiles that the shift comes from, and that of the rotation, which grows with distance.
        NaN where that is not known.
        """
        if self.error_px is None:
            return np.nan
        away = float(((nominal.mean(axis=0) - self.centre_px) ** 2).sum())
        return self.error_px * float(np.sqrt(2 * (1 / len(nominal) + 1 / self.weight + away / self.spread)))

    def notes(self, pixel_size_um: float) -> dict[str, float | str]:
        """Rotation and pixel size; empty where a stage's own errors could make them."""
        if self.error_px is None:
            return {}
        step = float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))
        turn = float(np.rad2deg(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))
        relative = self.error_px / float(np.sqrt(self.spread)) / step
        return {"camera rotation against the stage (degrees)": round(turn, 4),
                "pixel size by the stage (µm)": round(pixel_size_um / step, 6),
                "rotation and pixel size are good to": f"{np.rad2deg(relative):.2g} degrees, {100 * relative:.2g} %",
                "stage error (px, RMS)": round(np.sqrt(2) * self.error_px, 3)}


def fit_stage(nominal: Places, solved: Places, groups: Sequence[Sequence[int]]) -> Stage:
    """Least squares: one rotation and step for all groups of tiles, in complex numbers, and the shift of the first.

    nominal, solved: (n, 2).  groups: tiles whose solved places hold against each other; the first one is at its place
    in the mosaic.  A mere shift where the groups together have no more tiles than unknowns.
    """
    apart = [(nominal[group] - nominal[group].mean(axis=0), solved[group] - solved[group].mean(axis=0))
             for group in map(list, groups) if len(group) > 1]
    za, zb = (np.concatenate([np.zeros(0, complex), *(each[k] @ (1, 1j) for each in apart)]) for k in range(2))
    spread = float((np.abs(za) ** 2).sum())
    free = 2 * (len(za) - len(apart)) - 2
    similar = free > 0 and spread > 0
    factor = complex((np.conj(za) * zb).sum() / spread) if similar else 1.0 + 0.0j
    error = float(np.sqrt((np.abs(zb - factor * za) ** 2).sum() / free)) if similar and free >= MIN_FREE else None
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    main = list(groups[0])
    centre = nominal[main].mean(axis=0)
    matrix = np.hstack([turn, (solved[main].mean(axis=0) - turn @ centre)[:, None]])
    return Stage(matrix, error, centre, len(main), spread)


def described_beforehand(positions: int, cells: int, tiles: int) -> dict[str, float | str]:
    """Notes on what was known of the places before anything was measured, and a warning where a part of it is not used.

    positions, cells: how many of the tiles have a stage position, and a row and a column.
    """
    if positions == tiles:
        return {"known beforehand": "stage positions"}
    used = "row and column" if cells == tiles else "nothing: tiles were compared all with all"
    given, what = (positions, "stage positions") if positions else (cells % tiles, "rows and columns")
    left = {"warning": f"{what} of {given} of {tiles} tiles are not used: expected those of all"} if given else {}
    return {"known beforehand": used, **left}


def described_by_place(names: Sequence[str], parts: Sequence[Sequence[str]], shown: Sequence[str],
                       good_to_px: float, known: bool) -> dict[str, float | str]:
    """Notes on tiles that no measurement joins to the others, and a warning about those that show something.

    names: of single tiles.  parts: names of further groups, measured among themselves.  shown: all of them that are not
    blank.  good_to_px: of the worst, NaN if unknown.  known: their nominal places.
    """
    notes: dict[str, float | str] = {"placed by nominal position only": listed(names) if names else "none"}
    if parts:
        notes["parts placed by nominal position"] = "; ".join(f"[{listed(each)}]" for each in parts)
    if not known or not (names or parts):
        return notes
    good_to = "an unknown distance" if np.isnan(good_to_px) else f"about {good_to_px:.1f} px"
    notes["nominal positions are good to"] = good_to + ("" if np.isnan(good_to_px) else " (RMS, by the measured tiles)")
    if shown:
        notes["warning"] = (f"no overlap joins {listed(shown)} to the other tiles; placed by nominal position, good to "
                            f"{good_to}")
    return notes
