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
MIN_CORRELATION_CORNER = 0.8
"""Corners are small.  Measured on 60 pairs of unrelated ones (38 px): correlations up to 0.71, z up to 4.4; 24 true
ones with noise 0.01: from 0.996 and 6.0 on."""
STILL_PX = 1e-5
"""Shifts are measured until they move by less."""
BLANK_FRACTION = 0.75
"""Signal power / total power of a band-passed frame whose standard deviation is twice that of its noise."""
FAINT = 0.1
"""A band-passed standard deviation below a tenth of the scan's median counts as blank however the noise is
correlated."""

STANDS_PX = 1.0
"""Matches of dust with dust agree in their shift to less."""
MIN_STANDING = 4
"""Matches at one shift; a tile that was taken twice makes up to three at which two tiles lie at one place."""

BOUND, MIN_BOUND_PX = 0.1, 16.0
"""Tiles are searched within a tenth of a tile of their nominal place, at least 16 px: stages miss by a few µm."""

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


def search_bound_px(shape_px: tuple[int, int]) -> float:
    """How far from its nominal place a tile is searched."""
    return max(MIN_BOUND_PX, BOUND * max(shape_px))


def shown_but(count: int, blank: Sequence[int]) -> Structure:
    """For tiles of which nothing is known but which are blank."""
    signal = np.ones(count)
    signal[list(blank)] = 0.0
    return Structure(signal, np.ones(count))


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


def corner_edges(frames: Frames, loose: Sequence[int], origins_px: npt.NDArray[np.float64], bound_px: float,
                 structure: Structure) -> list[Edge]:
    """Tiles whose side neighbours show nothing, measured against those at their corners; only certain matches.

    loose: tiles that no other edge holds.
    """
    size = np.asarray(frames.shape_px, dtype=np.float64)
    pairs = []
    for tile in loose:
        apart = np.abs(origins_px - origins_px[tile]) / size
        at_corner = (apart < 1).all(axis=1) & (apart.min(axis=1) >= 0.5) & ~structure.blank
        pairs += [(min(tile, int(other)), max(tile, int(other))) for other in np.flatnonzero(at_corner)]
    found = near_edges(frames, list(dict.fromkeys(pairs)), origins_px, bound_px, structure)
    return [edge for edge in found if edge.accepted and edge.correlation >= MIN_CORRELATION_CORNER]


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


def without_dust(edges: Sequence[Edge]) -> list[Edge]:
    """Those of some matches found anywhere that specks on the camera did not make.

    One speck lies on another at one shift whatever the tiles, so that many tiles would lie at one place beside another:
    such matches are left out together where that holds for most of those at a shift.
    """
    way = np.array([1 if edge.shift_px > (0.0, 0.0) else -1 for edge in edges])
    shifts = np.array([edge.shift_px for edge in edges]).reshape(-1, 2) * way[:, None]
    ends = np.array([(edge.first, edge.second) for edge in edges]).reshape(-1, 2)
    ends[way < 0] = ends[way < 0, ::-1]
    kept = []
    for index, edge in enumerate(edges):
        alike = ends[(np.abs(shifts - shifts[index]) < STANDS_PX).all(axis=1)]
        shared = np.zeros(len(alike), dtype=bool)
        for side in alike.T:
            shared |= np.bincount(side)[side] > 1
        if len(alike) < MIN_STANDING or shared.mean() <= 0.5:
            kept.append(edge)
    return kept


def sharpen(frames: Frames, edge: Edge, search_px: int = 2) -> Edge:
    """The same edge with its shift measured at full resolution on frames as they are now (flat-fielded or not).

    To a pixel or so: enough for a first verdict.
    """
    found = measure(frames.grey(edge.first), frames.grey(edge.second), edge.shift_px, search_px=search_px, rounds=2)
    return replace(edge, shift_px=found.shift_px, correlation=found.correlation)


def final_edges(frames: Frames, edges: Sequence[Edge], origins_px: npt.NDArray[np.float64], groups: Sequence[int],
                structure: Structure) -> list[Edge]:
    """The pairs of tiles that lie beside each other at their solved places, measured until they stand still.

    Which pairs these are, which tile of each counts as the first, and what is measured depend on the images alone: not
    on the order of the tiles, nor on what was known of their places.  groups: number of the connected part of each
    tile; only pairs inside a part are measured.  Edges that were rejected before, and are not measured again, are kept
    as they are.
    """
    by_pair = {frozenset((edge.first, edge.second)): edge for edge in edges}
    pairs = [_in_reading_order(pair, origins_px) for pair in nominal_pairs(origins_px, frames.shape_px)
             if groups[pair[0]] == groups[pair[1]] and not structure.blank[list(pair)].any()]
    final = []
    for first, second in sorted(pairs, key=lambda pair: tuple(np.rint(origins_px[list(pair)]).ravel())):
        earlier = by_pair.pop(frozenset((first, second)), None)
        if earlier is not None and earlier.verdict == "inconsistent":
            final.append(earlier)
            continue
        apart = origins_px[second] - origins_px[first]
        start = Edge(first, second, (float(apart[0]), float(apart[1])), 0.0, earlier.z if earlier else 0.0, "accepted")
        edge = settle(frames, start)
        if edge.correlation >= MIN_CORRELATION:
            final.append(edge)
        elif earlier is not None:
            final.append(earlier if not earlier.accepted else replace(earlier, verdict="unmatched"))
    slivers = [edge for edge in by_pair.values() if edge.accepted]
    rejected = [edge for edge in by_pair.values() if not edge.accepted]
    return final + [settle(frames, edge) for edge in _bridges(len(frames), final, slivers)] + rejected


def settle(frames: Frames, edge: Edge) -> Edge:
    """The same edge with its shift measured, on frames as they are now, until it stands still.

    From whole pixels on, so that the last digits of an earlier measurement leave no trace.
    """
    whole = (float(round(edge.shift_px[0])), float(round(edge.shift_px[1])))
    found = measure(frames.grey(edge.first), frames.grey(edge.second), whole, limit_px=STILL_PX)
    return replace(edge, shift_px=found.shift_px, correlation=found.correlation)


def _in_reading_order(pair: tuple[int, int], origins_px: npt.NDArray[np.float64]) -> tuple[int, int]:
    """The upper or left one first."""
    apart = origins_px[pair[1]] - origins_px[pair[0]]
    return pair if apart[int(np.argmax(np.abs(apart)))] >= 0 else (pair[1], pair[0])


def _bridges(count: int, edges: Sequence[Edge], slivers: Sequence[Edge]) -> list[Edge]:
    """Those of some further edges that join tiles which the others leave apart, the strongest first."""
    group = list(range(count))

    def join(edge: Edge) -> bool:
        first, second = group[edge.first], group[edge.second]
        if first != second:
            group[:] = [first if each == second else each for each in group]
        return first != second

    for edge in edges:
        if edge.accepted:
            join(edge)
    return [edge for edge in sorted(slivers, key=lambda edge: -edge.z * edge.correlation) if join(edge)]


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
