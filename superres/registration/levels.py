"""Levels: the brightness of each tile against the others, from what they show in common.

Exposure, bleaching and the warming of a lamp leave one gain a tile; cameras with automatic black level, and electron
microscopes, leave an offset as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from superres.registration.blend import grey_frame
from superres.registration.edges import BLANK_FRACTION, Edge, Structure, nominal_pairs
from superres.registration.flatfield import DARK, SATURATED
from superres.registration.frames import Frames
from superres.registration.shifts import MIN_OVERLAP_PX, overlap_of, signal_fraction

BLOCK_PX = 16
MIN_BLOCKS = 4
MAX_BLOCKS = 400
"""Of a large overlap so many blocks are used, evenly: their means know a tile's level to a part in a thousand."""
MIN_STEP = 0.01
"""Scans without a step above this part of their brightness are left as they are: what the flat field leaves of 35 %
vignetting makes steps of up to 0.7 %, and an 8-bit camera's own steps are 0.4 %."""
OFFSET_SHARE = 0.7
"""Offsets are fitted where they leave at most this share of what gains alone leave of the overlaps.  Tiles of an
electron microscope: 0.4; camera frames with planted gains: 1.0."""
MAX_UNLIKE = 0.02
"""Spread of log intensity between the blocks of a tile that shows nothing and of its neighbour: more, and it is not
glass but an exposure that failed."""
ROUNDS = 20
FAITH = 1e-3
"""Weight of "gain 1, offset 0" against an overlap's evidence: for tiles that overlaps of one even grey cannot tell.
Of a gain, for the brightest tile; evidence falls with the square of a tile's brightness, and faith with it: the full
weight left a tile of a tenth of the exposure at half of its neighbours' brightness."""
TYPICAL = 1.5
"""Tiles whose gains lie within this factor of the middle one's decide how bright the whole is shown."""

Values = npt.NDArray[np.float64]
Group = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Levels:
    """What makes tiles equally bright: gain · value + offset, of values in units of white.

    gains: mean 1 in each group of tiles that are compared, over those of TYPICAL brightness, so that one failed
    exposure does not dim the others.  offsets: mean 0 over the same tiles, all 0 where gains explain the steps.
    Tiles that nothing is compared with have gain 1 and offset 0.  before, after: RMS step between overlapping tiles as
    a share of their brightness.
    """

    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    before: float
    after: float

    def described(self) -> str:
        """For the notes of a mosaic."""
        text = f"evened out by gains of {min(self.gains):.3f} to {max(self.gains):.3f}"
        if any(self.offsets):
            text += f" and offsets of {min(self.offsets):+.3f} to {max(self.offsets):+.3f}"
        return f"{text}: steps between tiles {100 * self.before:.1f} %, then {100 * self.after:.1f} % (RMS)"


@dataclass(frozen=True, eq=False)
class _Shared:
    """Block means of what two tiles show in common, flat-fielded, in units of white."""

    first: int
    second: int
    a: Values
    b: Values

    def step(self, gains: Values, offsets: Values) -> float:
        """Median difference as a share of the brightness."""
        a, b = (gains[tile] * values + offsets[tile] for tile, values in ((self.first, self.a), (self.second, self.b)))
        return float(np.median(a - b) / max(float(np.mean(a + b)) / 2, DARK))


def estimate_levels(frames: Frames, edges: Sequence[Edge], places_px: Values, structure: Structure) -> Levels | None:
    """Robust least squares over all overlaps; None where there is no step to even out.

    edges: with their final shifts; only accepted ones are used.  places_px: (n, 2) solved places, by which tiles that
    show nothing are compared with their neighbours: glass has a brightness too.
    """
    pairs = _pairs(edges, places_px, frames.shape_px, structure)
    shared = [each for each in (_shared(frames, *pair, structure.faint) for pair in pairs) if each is not None]
    count = len(frames)
    plain = np.ones(count), np.zeros(count)
    if not shared or max(abs(each.step(*plain)) for each in shared) <= MIN_STEP:
        return None
    groups = _groups(count, shared)
    gains, offsets = _fitted(count, shared, groups, with_offsets=False)
    more = _fitted(count, shared, groups, with_offsets=True)
    if _left(shared, *more) <= OFFSET_SHARE * _left(shared, gains, offsets):
        gains, offsets = more
    gains, offsets = _scaled(gains, offsets, groups)
    before, after = (float(np.sqrt(np.mean([each.step(*levels) ** 2 for each in shared])))
                     for levels in (plain, (gains, offsets)))
    # Rounded far below a grey level, so that the order of the tiles does not show in the last bits of a mosaic.
    return Levels(tuple(round(float(g), 6) for g in gains), tuple(round(float(o), 6) for o in offsets), before, after)


def _pairs(edges: Sequence[Edge], places_px: Values, shape_px: tuple[int, int], structure: Structure,
           ) -> list[tuple[int, int, tuple[int, int], bool]]:
    """Tiles that share a part of the specimen, the whole-pixel shift between them, and whether only their places, not
    their structure, say so."""
    pairs = [(edge.first, edge.second, edge.shift_px, False) for edge in edges if edge.accepted]
    blank = structure.blank
    for first, second in nominal_pairs(places_px, shape_px):
        if blank[first] or blank[second]:
            apart = places_px[second] - places_px[first]
            pairs.append((first, second, (float(apart[0]), float(apart[1])), True))
    return [(first, second, (round(y), round(x)), by_place) for first, second, (y, x), by_place in pairs]


def _shared(frames: Frames, first: int, second: int, shift: tuple[int, int], by_place: bool, faint: float,
            ) -> _Shared | None:
    """None where too little can be compared: saturated and dark blocks say nothing of a gain.

    by_place: one of the two shows nothing.  If the other shows something where they overlap, they do not show the same
    place: an exposure that failed, an air bubble.  Nor do they where anything but brightness differs.
    """
    if by_place and _sees(frames, (first, second), shift, faint):
        return None
    means = []
    for tile, (y, x) in ((first, shift), (second, (-shift[0], -shift[1]))):
        (top, bottom), (left, right) = ((max(0, by), min(length, length + by))
                                        for by, length in zip((y, x), frames.shape_px, strict=True))
        if bottom <= top or right <= left:
            return None
        raw = frames.raw(tile).crop(top, left, bottom - top, right - left)
        flat = frames.flat_field
        level = _block_means(grey_frame(raw, None if flat is None else flat[top:bottom, left:right]))
        camera = _block_means(raw.grey())
        level[(camera > SATURATED) | (camera < DARK)] = np.nan
        means.append(level)
    known = np.flatnonzero(np.isfinite(means[0]) & np.isfinite(means[1]))
    if len(known) < MIN_BLOCKS:
        return None
    used = known[np.linspace(0, len(known) - 1, min(len(known), MAX_BLOCKS)).astype(int)]
    a, b = means[0][used], means[1][used]
    if by_place and np.std(np.log(a / b)) > MAX_UNLIKE:
        return None
    return _Shared(first, second, a, b)


def _sees(frames: Frames, tiles: tuple[int, int], shift: tuple[int, int], faint: float) -> bool:
    """Whether one of two tiles shows structure where they overlap."""
    for part in overlap_of(frames.grey(tiles[0]), frames.grey(tiles[1]), shift):
        if min(part.shape, default=0) >= MIN_OVERLAP_PX:
            signal, strength = signal_fraction(part)
            if signal >= BLANK_FRACTION and strength >= faint:
                return True
    return False


def _block_means(plane: npt.NDArray[np.float32]) -> Values:
    block = max(1, min(BLOCK_PX, *(length // 2 for length in plane.shape)))
    rows, columns = plane.shape[0] // block, plane.shape[1] // block
    cut = plane[:rows * block, :columns * block].reshape(rows, block, columns, block)
    return np.asarray(cut.mean(axis=(1, 3), dtype=np.float64)).ravel()


def _fitted(count: int, shared: Sequence[_Shared], groups: Sequence[Group], *, with_offsets: bool,
            ) -> tuple[Values, Values]:
    """Gains of mean 1 and offsets of mean 0, in each group, that make the two sides of all overlaps alike.

    Each block weighs as Huber's function says of its residual in the round before, all overlaps alike.  The
    constraints keep out the solution "all black"; of all tiles together they would load the gains' surplus on those
    that nothing is compared with.
    """
    size = 2 * count if with_offsets else count
    faith = np.full(size, FAITH)
    faith[:count] *= _light(count, shared)
    hopes = np.concatenate([faith[:count], np.zeros(size - count)])
    # Lagrange: in a group the sum of the gains is their number, that of the offsets nothing.
    constraints = np.zeros((len(groups) * size // count, size))
    for number, group in enumerate(groups):
        constraints[number, group] = 1.0
        if with_offsets:
            constraints[len(groups) + number, count + group] = 1.0
    sums = np.zeros(len(constraints))
    sums[:len(groups)] = [len(group) for group in groups]
    gains: Values = np.ones(count)
    offsets: Values = np.zeros(count)
    for _ in range(ROUNDS):
        scale = max(_left(shared, gains, offsets), 1e-6)
        normal = np.diag(faith)
        for each in shared:
            off = _residual(each, gains, offsets)
            weight = np.minimum(1.0, 1.5 * scale / np.maximum(np.abs(off), 1e-12)) / len(off)
            columns, terms = [each.first, each.second], [each.a, -each.b]
            if with_offsets:
                columns += [count + each.first, count + each.second]
                terms += [np.ones_like(each.a), -np.ones_like(each.a)]
            table = np.stack(terms)
            normal[np.ix_(columns, columns)] += (table * weight) @ table.T
        whole = np.block([[normal, constraints.T], [constraints, np.zeros((len(constraints),) * 2)]])
        solved: Values = np.asarray(np.linalg.solve(whole, np.concatenate([hopes, sums])), dtype=np.float64)
        change = float(np.abs(solved[:count] - gains).max())
        gains = solved[:count]
        offsets = solved[count:size] if with_offsets else offsets
        if change < 1e-9:
            break
    return gains, offsets


def _groups(count: int, shared: Sequence[_Shared]) -> list[Group]:
    """Tiles that are compared with each other, directly or through others."""
    ends = [each.first for each in shared], [each.second for each in shared]
    number, label = connected_components(sparse.csr_array((np.ones(len(shared)), ends), (count, count)), directed=False)
    groups = [np.flatnonzero(label == index) for index in range(number)]
    return [group for group in groups if len(group) > 1]


def _light(count: int, shared: Sequence[_Shared]) -> Values:
    """Mean square of what each tile shows in common with others, as a share of the brightest one's."""
    light = np.full(count, DARK ** 2)
    for each in shared:
        for tile, values in ((each.first, each.a), (each.second, each.b)):
            light[tile] = max(light[tile], float(np.mean(values ** 2)))
    return np.asarray(light / light.max())


def _scaled(gains: Values, offsets: Values, groups: Sequence[Group]) -> tuple[Values, Values]:
    """The same levels, each group as bright as its tiles of typical brightness are on the average."""
    gains, offsets = gains.copy(), offsets.copy()
    for group in groups:
        middle = np.sort(gains[group])[(len(group) - 1) // 2]
        typical = group[(gains[group] < TYPICAL * middle) & (gains[group] > middle / TYPICAL)]
        scale = gains[typical].mean()
        offsets[group] = (offsets[group] - offsets[typical].mean()) / scale
        gains[group] /= scale
    return gains, offsets


def _residual(shared: _Shared, gains: Values, offsets: Values) -> Values:
    return np.asarray(gains[shared.first] * shared.a + offsets[shared.first]
                      - gains[shared.second] * shared.b - offsets[shared.second])


def _left(shared: Sequence[_Shared], gains: Values, offsets: Values) -> float:
    """Robust standard deviation of the differences of all blocks."""
    return 1.4826 * float(np.median(np.abs(np.concatenate([_residual(each, gains, offsets) for each in shared]))))
