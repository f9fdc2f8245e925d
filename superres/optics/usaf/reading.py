"""A USAF-1951 target in an image: which element lies where, found without hints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from superres.errors import ImageError
from superres.optics.usaf.contrast import BarPlace
from superres.optics.usaf.fit import LayoutFit, fit_layout
from superres.optics.usaf.numerals import read_first_group
from superres.optics.usaf.target import BLOCK_PERIODS, Bars, Element, nest_patterns
from superres.optics.usaf.triplets import Step, Triplet, find_triplets

COMFORTABLE_PX = 1000
"""Images up to half as large are enlarged before anything is looked for."""

CLEAR_LEAD = 1.12
"""The best assignment must explain this much more than the best other one; else too little of the target is seen."""


@dataclass(frozen=True)
class FoundPattern:
    """One pattern of the target in the image.

    element: with group counted from the outermost seen where `TargetReading.absolute` is False.  place: for
    `measure_bars`.  detected: its bars were seen apart; otherwise its place follows from its neighbours.
    """

    element: Element
    bars: Bars
    place: BarPlace
    detected: bool


@dataclass(frozen=True, eq=False)
class TargetReading:
    """patterns: all that lie wholly inside the image, coarse ones first.  absolute: groups are those of the target.

    how: in words, how the groups became known.  pixel_size_um: what the target says, None without absolute groups.
    dark: bars darker than their surroundings.  mirrored: seen from behind.  rotation_deg: of the target's y axis from
    the image's, towards +x.  residual_px: RMS distance of seen bars from the fitted layout.  numerals_apart: so many
    groups finer than the pixel size says is what the numerals read, 0 where they agree or cannot be read.
    """

    patterns: tuple[FoundPattern, ...]
    absolute: bool
    how: str
    pixel_size_um: float | None
    dark: bool
    mirrored: bool
    rotation_deg: float
    residual_px: float
    numerals_apart: int = 0

    def label(self, element: Element) -> str:
        """"4/2", or "+1/2" where groups are counted from the coarsest seen."""
        return element.label if self.absolute else f"+{element.label}"


def read_target(plane: npt.NDArray[np.floating], pixel_size_um: float | None = None, first_group: int | None = None,
                step: Step = lambda done, total: None) -> TargetReading:
    """Find the target and name its elements.

    plane: (H, W) intensities of any scale; any orientation, seen from either side, part of it.
    pixel_size_um: where known; within a factor of 1.8 where the layout is seen well, of 1.2 where it is not.
    first_group: of the coarsest pattern seen, where known.  Without both, the groups' numerals are read; where these
    cannot be, groups are counted from the coarsest seen and `absolute` is False.  step: see find_triplets.
    Raises ImageError when there is no target, or too little of it to tell its elements apart.
    """
    enlarged, factor = _enlarged(plane)
    triplets = find_triplets(enlarged, step)
    fit = fit_layout(triplets)
    if pixel_size_um is not None and (fit is None or fit.score < CLEAR_LEAD * fit.rival):
        fit = fit_layout(triplets, 6 * math.log2(1000 * factor / pixel_size_um))
    if fit is None:
        raise ImageError(f"no USAF-1951 target was found: {len(triplets)} groups of three bars, none arranged like one",
                         hint="show at least two neighbouring elements, sharp, with 4 px a period or more")
    if pixel_size_um is None and fit.score < CLEAR_LEAD * fit.rival:
        raise ImageError(
            f"only {len(fit.matches)} patterns of the target are seen, too few to tell which elements they are",
            hint="give --pixel-size-um, or an image that shows more of the target")
    sides = _axis_scales(fit, triplets)
    unit = math.sqrt(sides[0] * sides[1]) * _unit_px(fit) / factor
    absolute, how, first, numerals_apart = True, "", 0, 0
    if first_group is not None:
        coarsest = min(12 * match.nest + match.pattern.step for match in fit.matches)
        first, how = first_group - coarsest // 6, "as given"
    elif pixel_size_um is not None:
        first = 2 * round(math.log2(1000 / (unit * pixel_size_um)) / 2)
        how = f"from the pixel size of {pixel_size_um:g} µm"
        read = read_first_group(enlarged, fit.nests, fit.dark, factor)
        if read is not None and read.first != first:
            numerals_apart = read.first - first
            how += f", but its numerals read as {numerals_apart:+d} groups from that: check the pixel size"
    else:
        read = read_first_group(enlarged, fit.nests, fit.dark, factor)
        if read is not None:
            first, how = read.first, f"read off the numerals (likeness {read.likeness:.2f})"
        else:
            absolute, how = False, "unknown: no numeral could be read and no pixel size is given"
            first = -(min(12 * match.nest + match.pattern.step for match in fit.matches) // 6)
    linear = next(iter(fit.nests.values())).linear
    size = Element(first, 1).period_um / unit if absolute else None
    patterns = tuple(each for each in _patterns(fit, triplets, first, sides, factor)
                     if _inside(each.place, plane.shape))
    return TargetReading(patterns, absolute, how, size, fit.dark, float(np.linalg.det(linear)) < 0,
                         math.degrees(math.atan2(linear[1, 0], linear[0, 0])), _residual(fit, triplets) / factor,
                         numerals_apart)


def _enlarged(plane: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float32], int]:
    """Small images are interpolated: bars a pixel wide then come apart, and numerals can be compared."""
    image = np.asarray(plane, dtype=np.float32)
    factor = min(max(COMFORTABLE_PX // max(image.shape), 1), 4)
    if factor > 1:
        image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC))
    return image, factor


def _axis_scales(fit: LayoutFit, triplets: tuple[Triplet, ...]) -> tuple[float, float]:
    """(y, x): bar distances as measured over those that the fitted layout has: rows and columns of a target may be
    spaced otherwise, its bars may not."""
    scales = []
    for axis, bars in enumerate(("lying", "standing")):
        some = [match for match in fit.matches if match.pattern.bars == bars]
        if not some:
            scales.append(1.0)
            continue
        measured = [triplets[match.triplet].period_px for match in some]
        expected = [float(np.linalg.norm(fit.nests[match.nest].linear[:, axis])) * 2.0 ** (-match.pattern.step / 6)
                    for match in some]
        scales.append(float(np.exp(np.average(np.log(np.array(measured) / np.array(expected)), weights=measured))))
    return scales[0], scales[1]


def _unit_px(fit: LayoutFit) -> float:
    """Period of nest 0's first element, the mean over nests weighted by what they hold."""
    weights = {nest: sum(match.nest == nest for match in fit.matches) for nest in fit.nests}
    total = sum(weights.values())
    return math.exp(sum(weights[nest] * (math.log(each.unit_px) + nest * math.log(4))
                        for nest, each in fit.nests.items()) / total)


def _patterns(fit: LayoutFit, triplets: tuple[Triplet, ...], first: int, scales: tuple[float, float], factor: int
              ) -> tuple[FoundPattern, ...]:
    """All patterns of the nests that were found, in pixels of the image as it was given."""
    seen = {(match.nest, match.pattern.step, match.pattern.bars): triplets[match.triplet] for match in fit.matches}
    found = []
    for nest, where in sorted(fit.nests.items()):
        for pattern in nest_patterns():
            triplet = seen.get((nest, pattern.step, pattern.bars))
            centre = np.array(triplet.centre) if triplet else where.place(pattern.centre, pattern.above)
            centre = (centre + 0.5) / factor - 0.5
            down, side = where.linear.T * np.array(scales)[:, None] * (2.0 ** (-pattern.step / 6) / factor)
            period, bar = (side, BLOCK_PERIODS * down) if pattern.bars == "standing" else (down, BLOCK_PERIODS * side)
            place = BarPlace((float(centre[0]), float(centre[1])), (float(period[0]), float(period[1])),
                             (float(bar[0]), float(bar[1])), fit.dark)
            element = Element.at(6 * first + 12 * nest + pattern.step)
            found.append(FoundPattern(element, pattern.bars, place, triplet is not None))
    return tuple(sorted(found, key=lambda each: (each.element, each.bars)))


def _inside(place: BarPlace, shape: tuple[int, ...]) -> bool:
    corners = place.corners_px()
    return bool((corners >= 0).all() and (corners <= np.array(shape[:2]) - 1).all())


def _residual(fit: LayoutFit, triplets: tuple[Triplet, ...]) -> float:
    squares = [math.dist(triplets[match.triplet].centre,
                         fit.nests[match.nest].place(match.pattern.centre, match.pattern.above)) ** 2
               for match in fit.matches]
    return math.sqrt(sum(squares) / len(squares))
