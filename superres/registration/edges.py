"""Edges: measured shifts between tiles that may overlap, and what each is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from superres.registration.frames import Frames
from superres.registration.shifts import (
    Shift,
    Spectrum,
    band_pass,
    find_peak,
    measure,
    overlap_of,
    signal_fraction,
    spectrum,
)

SEARCH_SIZE_PX = 256
"""Tiles are reduced to about this size for the search near a nominal place; shifts are measured at full resolution."""
ALL_PAIRS_SIZE_PX = 128
MIN_CORRELATION = 0.3
MIN_Z = 6.0
MIN_CORRELATION_ANYWHERE = 0.5
MIN_Z_ANYWHERE = 8.0
"""Measured on 80 pairs of unrelated frames (drawn and real tissue, 256 px): near a nominal place correlations up to
0.33 and z up to 4.4, anywhere z up to 5.2; true overlaps of 15 % with noise 0.01: above 0.9 and 11."""
BLANK_FRACTION = 0.75
"""Signal power / total power of a band-passed frame whose standard deviation is twice that of its noise."""
FAINT = 0.1
"""A band-passed standard deviation below a tenth of the scan's median counts as blank however the noise is
correlated."""

Verdict = Literal["accepted", "blank", "unmatched", "out-of-bound", "inconsistent"]


@dataclass(frozen=True)
class Edge:
    """A measured shift: where the origin of tile `second` lies in tile `first`, (y, x) in pixels.

    correlation: of the band-passed overlap.  z: of the peak against all shifts.  residual_px: distance from the global
    solution, None where it took no part.
    """

    first: int
    second: int
    shift_px: Shift
    correlation: float
    z: float
    verdict: Verdict
    residual_px: float | None = None

    @property
    def accepted(self) -> bool:
        return self.verdict == "accepted"


@dataclass(frozen=True, eq=False)
class Structure:
    """Which tiles show anything.  signal: signal power / total power.  strength: band-passed standard deviation."""

    signal: npt.NDArray[np.float64]
    strength: npt.NDArray[np.float64]

    @property
    def faint(self) -> float:
        """Band-passed standard deviation below which an area counts as blank."""
        return FAINT * float(np.median(self.strength[self.signal >= BLANK_FRACTION])) if self.seen.any() else np.inf

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        return self.signal >= BLANK_FRACTION

    @property
    def blank(self) -> npt.NDArray[np.bool_]:
        return ~self.seen | (self.strength < self.faint)


def structure_of(frames: Frames) -> Structure:
    """Reads every tile once."""
    values = np.array([signal_fraction(frames.grey(index)) for index in range(len(frames))])
    return Structure(values[:, 0], values[:, 1])


def nominal_pairs(origins_px: npt.NDArray[np.float64], shape_px: tuple[int, int]) -> list[tuple[int, int]]:
    """Pairs of tiles whose nominal places overlap, or nearly do: within 5 % of a tile along each axis, and sharing at
    least half a side, so that corner neighbours are left out (a sliver says little, and the sides link them already).
    """
    size = np.asarray(shape_px, dtype=np.float64)
    pairs = []
    for first in range(len(origins_px)):
        apart = np.abs(origins_px[first + 1:] - origins_px[first]) / size
        near = (apart < 1.05).all(axis=1) & (apart.min(axis=1) < 0.5)
        pairs += [(first, first + 1 + int(other)) for other in np.flatnonzero(near)]
    return pairs


def near_edges(frames: Frames, pairs: Sequence[tuple[int, int]], origins_px: npt.NDArray[np.float64], bound_px: float,
               structure: Structure) -> list[Edge]:
    """Measure each pair within bound_px of its nominal shift."""
    reduction = max(1, round(max(frames.shape_px) / SEARCH_SIZE_PX))
    spectra = _Spectra(frames, reduction, _last_use(pairs))
    edges = []
    for step, (first, second) in enumerate(pairs):
        nominal = origins_px[second] - origins_px[first]
        if structure.blank[first] or structure.blank[second]:
            edges.append(Edge(first, second, (float(nominal[0]), float(nominal[1])), 0.0, 0.0, "blank"))
            continue
        near = (float(nominal[0]) / reduction, float(nominal[1]) / reduction)
        peak = find_peak(spectra[first], spectra[second], near, bound_px / reduction)
        coarse = (float(peak.shift_px[0] * reduction), float(peak.shift_px[1] * reduction))
        edge = sharpen(frames, Edge(first, second, coarse, peak.correlation, peak.z, "accepted"), reduction + 2)
        if edge.correlation < MIN_CORRELATION or peak.z < MIN_Z:
            edge = replace(edge, verdict="blank" if _blank_overlap(frames, edge, nominal, structure) else "unmatched")
        elif peak.on_border:
            edge = replace(edge, verdict="out-of-bound")
        edges.append(edge)
        spectra.forget(step)
    return edges


def edges_anywhere(frames: Frames, pairs: Sequence[tuple[int, int]], structure: Structure,
                   size_px: int = ALL_PAIRS_SIZE_PX) -> list[Edge]:
    """Measure pairs of which nothing is known; only those that certainly overlap come back.

    Every shift of every pair is tried at reduced resolution (size_px: the longer side of a reduced tile).
    """
    reduction = max(1, round(max(frames.shape_px) / size_px))
    spectra = _Spectra(frames, reduction, {})
    edges = []
    for first, second in pairs:
        if structure.blank[first] or structure.blank[second]:
            continue
        peak = find_peak(spectra[first], spectra[second])
        if peak.z < MIN_Z_ANYWHERE or peak.correlation < MIN_CORRELATION:
            continue
        coarse = (float(peak.shift_px[0] * reduction), float(peak.shift_px[1] * reduction))
        edge = sharpen(frames, Edge(first, second, coarse, peak.correlation, peak.z, "accepted"), reduction + 2)
        if edge.correlation >= MIN_CORRELATION_ANYWHERE:
            edges.append(edge)
    return edges


def sharpen(frames: Frames, edge: Edge, search_px: int = 2) -> Edge:
    """The same edge with its shift measured at full resolution on frames as they are now (flat-fielded or not)."""
    found = measure(frames.grey(edge.first), frames.grey(edge.second), edge.shift_px, search_px=search_px)
    return replace(edge, shift_px=found.shift_px, correlation=found.correlation)


def _blank_overlap(frames: Frames, edge: Edge, nominal: npt.NDArray[np.float64], structure: Structure) -> bool:
    """Whether the nominal overlap of a pair shows too little to be matched in at least one of the two."""
    whole = (int(round(float(nominal[0]))), int(round(float(nominal[1]))))
    for part in overlap_of(frames.grey(edge.first), frames.grey(edge.second), whole):
        if min(part.shape) < 8:
            return True
        signal, strength = signal_fraction(part)
        if signal < BLANK_FRACTION or strength < structure.faint:
            return True
    return False


def _last_use(pairs: Sequence[tuple[int, int]]) -> dict[int, int]:
    return {tile: step for step, pair in enumerate(pairs) for tile in pair}


class _Spectra:
    """Spectra of tiles, made when first needed, dropped after their last use."""

    def __init__(self, frames: Frames, reduction: int, last_use: dict[int, int]) -> None:
        self._frames, self._reduction, self._last_use = frames, reduction, last_use
        self._made: dict[int, Spectrum] = {}

    def __getitem__(self, tile: int) -> Spectrum:
        if tile not in self._made:
            self._made[tile] = spectrum(band_pass(self._frames.reduced(tile, self._reduction)))
        return self._made[tile]

    def forget(self, step: int) -> None:
        for tile in [tile for tile in self._made if self._last_use.get(tile, step + 1) <= step]:
            del self._made[tile]
