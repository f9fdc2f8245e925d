"""Which element is which: groups of three bars matched to the layout of the target, whatever its orientation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superres.optics.usaf.target import NEST_ORIGIN, NEST_STEP, LayoutPattern, nest_patterns
from superres.optics.usaf.triplets import Triplet

Reals = npt.NDArray[np.float64]

NESTS = range(-1, 4)
"""Nests around the one that a hypothesis starts from: one coarser, three finer."""

STEP_TOLERANCE = 0.45
"""In steps of 2^(1/6): a period is measured to 2–3 %, a fifth of a step."""

LAYOUT_TOLERANCE = 0.07
"""Share of the distance by which real targets depart from the layout (scan and drawing differ by 5 % in row gaps)."""

SEEDS, CONVINCING = 10, 0.6
"""Best groups of bars from which hypotheses start; after three of them, none more where this share is explained."""


@dataclass(frozen=True)
class Match:
    """triplet: its number.  nest, pattern: what it is, nests counted from an arbitrary one."""

    triplet: int
    nest: int
    pattern: LayoutPattern


@dataclass(frozen=True, eq=False)
class NestFit:
    """Where a nest lies: (y, x) px = linear @ centre + gap·above + offset, for a layout pattern's centre and `above`.

    linear: (2, 2), px per period of the nest's first element.  gap: (2,), what its rows are farther apart than in the
    layout.  offset: (2,) px.
    """

    linear: Reals
    gap: Reals
    offset: Reals

    @property
    def unit_px(self) -> float:
        """Period of the nest's first element, mean over directions."""
        return math.sqrt(abs(float(np.linalg.det(self.linear))))

    def place(self, centre: tuple[float, float], above: float = 0.0) -> Reals:
        return np.asarray(self.linear @ np.array(centre) + self.gap * above + self.offset)


@dataclass(frozen=True, eq=False)
class LayoutFit:
    """nests: number → fit.  matches: all recognised groups of bars.  score: sum of their weights.  rival: the best
    score of another assignment of elements (another step for the same bars)."""

    nests: Mapping[int, NestFit]
    matches: tuple[Match, ...]
    score: float
    rival: float
    dark: bool


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    linear: Reals
    offset: Reals
    seed: int
    apart: float

    def unit_px(self) -> float:
        return math.sqrt(abs(float(np.linalg.det(self.linear))))


class _Layout:
    """All patterns of all nests around one, as arrays: places in units of its first period."""

    def __init__(self) -> None:
        self.entries = [(nest, each) for nest in NESTS for each in nest_patterns()]
        origins = nest_origins()
        self.places = np.array([origins[nest] + 4.0 ** -nest * np.array(each.centre) for nest, each in self.entries])
        self.steps = np.array([NEST_STEP * nest + each.step for nest, each in self.entries])
        self.standing = np.array([each.bars == "standing" for _, each in self.entries])
        self.periods = 2.0 ** (-self.steps / 6)


def nest_origins() -> dict[int, Reals]:
    """Top left corner of every nest in units of nest 0, by the layout."""
    step = np.array(NEST_ORIGIN)
    origins = {0: np.zeros(2)}
    for nest in range(1, max(NESTS) + 1):
        origins[nest] = origins[nest - 1] + step * 4.0 ** (1 - nest)
    for nest in range(-1, min(NESTS) - 1, -1):
        origins[nest] = origins[nest + 1] - step * 4.0 ** -nest
    return origins


def fit_layout(triplets: Sequence[Triplet], first_step: float | None = None) -> LayoutFit | None:
    """The assignment that explains most groups of bars, or None if none explains two.

    first_step: where the pixel size is known, steps of 2^(1/6) above 1 cycle/mm per 1/px of period, so that
    6·log2(1/period_px) + first_step is an element's index; the choice is then between neighbours only.
    """
    layout = _Layout()
    best: dict[bool, list[tuple[float, _Hypothesis]]] = {}
    for dark in (True, False):
        some = [each for each in triplets if each.dark == dark]
        if len(some) >= 2:
            best[dark] = _ranked(some, layout, first_step)
    if not best:
        return None
    dark = max(best, key=lambda each: best[each][0][0] if best[each] else 0.0)
    if not best[dark]:
        return None
    numbers = [number for number, each in enumerate(triplets) if each.dark == dark]
    some = [triplets[number] for number in numbers]
    score, winner = best[dark][0]
    shift = _step_of(winner, some)
    rival = max((other for other, each in best[dark] if _step_of(each, some) != shift), default=0.0)
    nests, matches = _refine(some, layout, winner)
    if len(matches) < 2:
        return None
    return LayoutFit(nests, tuple(Match(numbers[m.triplet], m.nest, m.pattern) for m in matches), score, rival, dark)


def _step_of(hypothesis: _Hypothesis, triplets: Sequence[Triplet]) -> int:
    """Which element the first group of bars is taken for, modulo a nest."""
    return round(6 * math.log2(hypothesis.unit_px() / triplets[0].period_px)) % NEST_STEP


def _ranked(triplets: Sequence[Triplet], layout: _Layout, first_step: float | None
            ) -> list[tuple[float, _Hypothesis]]:
    centres = np.array([each.centre for each in triplets])
    periods = np.array([each.period_px for each in triplets])
    angles = np.array([each.angle for each in triplets])
    quality = np.array([each.quality for each in triplets])
    ranked = []
    best = 0.0
    for tried, seed in enumerate(np.argsort(-quality)[:SEEDS]):
        if tried >= 3 and best > CONVINCING * quality.sum():
            break
        for hypothesis in _hypotheses(triplets[seed], int(seed), first_step):
            weights = _weights(hypothesis, layout, centres, periods, angles, triplets[seed].centre)
            # Of assignments that explain as much, the one nearest to the known pixel size.
            score = float((quality[:, None] * weights).max(axis=1).sum()) * (1 - 0.05 * hypothesis.apart)
            best = max(best, score)
            ranked.append((score, hypothesis))
    ranked.sort(key=lambda each: -each[0])
    return ranked


def _hypotheses(triplet: Triplet, seed: int, first_step: float | None) -> list[_Hypothesis]:
    """Every pattern of a nest that the bars could be, turned both ways, seen from both sides."""
    along = np.array([math.cos(triplet.angle), math.sin(triplet.angle)])
    found = []
    for pattern in nest_patterns():
        apart = 0.0
        if first_step is not None:
            steps = (first_step - 6 * math.log2(triplet.period_px) - pattern.step) % NEST_STEP
            apart = min(steps, NEST_STEP - steps)
            if apart > 1.6:
                continue
        unit = triplet.period_px * 2.0 ** (pattern.step / 6)
        for turned in (1.0, -1.0):
            for mirrored in (1.0, -1.0):
                down = turned * along
                side = mirrored * np.array([-down[1], down[0]])
                axes = (down, side) if pattern.bars == "standing" else (side, down)
                linear = unit * np.stack(axes, axis=1)
                offset = np.array(triplet.centre) - linear @ np.array(pattern.centre)
                found.append(_Hypothesis(linear, offset, seed, apart))
    return found


def _weights(hypothesis: _Hypothesis, layout: _Layout, centres: Reals, periods: Reals, angles: Reals,
             seed: tuple[float, float]) -> Reals:
    """(triplets, entries): how well each group of bars is each pattern, 0 … 1; an entry is given once only."""
    unit = hypothesis.unit_px()
    places = layout.places @ hypothesis.linear.T + hypothesis.offset
    steps = 6 * np.log2(unit / periods)
    distance = np.hypot(*(centres[:, None, :] - places[None]).transpose(2, 0, 1))
    lever = np.hypot(*(places - np.array(seed)).T)
    period = unit * layout.periods
    tolerance = np.minimum(0.6 * period + LAYOUT_TOLERANCE * lever, 1.8 * period)
    weights = np.clip(1 - 0.5 * distance / tolerance[None], 0, None) * (distance < tolerance[None])
    weights = weights * (np.abs(steps[:, None] - layout.steps[None]) < STEP_TOLERANCE)
    weights = weights * _same_direction(hypothesis.linear, layout, angles)
    return np.asarray(weights * (weights == weights.max(axis=0, keepdims=True)))


def _same_direction(linear: Reals, layout: _Layout, angles: Reals) -> npt.NDArray[np.bool_]:
    expected = np.where(layout.standing, math.atan2(linear[1, 0], linear[0, 0]), math.atan2(linear[1, 1], linear[0, 1]))
    apart = (angles[:, None] - expected[None] + np.pi / 2) % np.pi - np.pi / 2
    return np.asarray(np.abs(apart) < 0.25)


def _refine(triplets: Sequence[Triplet], layout: _Layout, winner: _Hypothesis
            ) -> tuple[dict[int, NestFit], list[Match]]:
    """Fit every nest on its own to what it matches, and match again more strictly."""
    origins = nest_origins()
    nests = {nest: NestFit(winner.linear * 4.0 ** -nest, np.zeros(2), winner.linear @ origins[nest] + winner.offset)
             for nest in NESTS}
    matches = _matches(layout, _weights(
        winner, layout, np.array([each.centre for each in triplets]), np.array([each.period_px for each in triplets]),
        np.array([each.angle for each in triplets]), triplets[winner.seed].centre))
    for reach in (1.2, 0.8, 0.6):
        nests = _fitted(triplets, matches, nests)
        matches = _matched_again(triplets, layout, nests, {match.nest for match in matches}, reach)
    return {nest: fit for nest, fit in nests.items() if any(match.nest == nest for match in matches)}, matches


def _matches(layout: _Layout, weights: Reals) -> list[Match]:
    matches, taken = [], set()
    for number in np.argsort(-weights.max(axis=1)):
        entry = int(np.argmax(weights[number]))
        if weights[number, entry] > 0 and entry not in taken:
            taken.add(entry)
            matches.append(Match(int(number), *layout.entries[entry]))
    return matches


def _fitted(triplets: Sequence[Triplet], matches: Sequence[Match], before: Mapping[int, NestFit]
            ) -> dict[int, NestFit]:
    """Least squares for nests with six matches or more; the others take shape and scale from the nearest of these."""
    by_nest = {nest: [match for match in matches if match.nest == nest] for nest in NESTS}
    fitted: dict[int, NestFit] = {}
    for nest, some in by_nest.items():
        if len(some) >= 6:
            design = np.array([[*match.pattern.centre, match.pattern.above, 1.0] for match in some])
            places = np.array([triplets[match.triplet].centre for match in some])
            # A ridge holds the row gap at the layout's value where the visible rows do not tell it.
            ridge = np.array([0.0, 0.0, 0.05, 0.0])
            solved = np.linalg.solve(design.T @ design + np.diag(ridge), design.T @ places)
            fitted[nest] = NestFit(solved[:2].T, solved[2], solved[3])
    shapes = dict(fitted)
    for nest, some in by_nest.items():
        if nest in fitted or not some:
            continue
        if shapes:
            near = min(shapes, key=lambda each: abs(each - nest))
            shape, scale = shapes[near], 4.0 ** (near - nest)
        else:
            shape, scale = before[nest], 1.0
        linear, gap = shape.linear * scale, shape.gap * scale
        offset = np.mean([np.array(triplets[match.triplet].centre) - linear @ np.array(match.pattern.centre)
                          - gap * match.pattern.above for match in some], axis=0)
        fitted[nest] = NestFit(linear, gap, offset)
    return {nest: fitted.get(nest, before[nest]) for nest in NESTS}


def _matched_again(triplets: Sequence[Triplet], layout: _Layout, nests: Mapping[int, NestFit], known: set[int],
                   reach: float) -> list[Match]:
    weights = np.zeros((len(triplets), len(layout.entries)))
    angles = np.array([each.angle for each in triplets])
    for column, (nest, pattern) in enumerate(layout.entries):
        fit = nests[nest]
        place, period = fit.place(pattern.centre, pattern.above), fit.unit_px * 2.0 ** (-pattern.step / 6)
        # A nest that nothing has matched yet is placed by the layout alone.
        allowed = reach * period if nest in known else 1.8 * period
        axis = 0 if pattern.bars == "standing" else 1
        expected = math.atan2(fit.linear[1, axis], fit.linear[0, axis])
        for row, each in enumerate(triplets):
            apart = math.dist(each.centre, place)
            turned = abs((angles[row] - expected + math.pi / 2) % math.pi - math.pi / 2)
            if apart < allowed and turned < 0.25 and abs(6 * math.log2(period / each.period_px)) < STEP_TOLERANCE:
                weights[row, column] = each.quality * (1 - 0.5 * apart / allowed)
    return _matches(layout, weights)
