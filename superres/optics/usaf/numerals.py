"""The groups' numerals, read with the element numerals of the same nest as the alphabet: same font, size and blur."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from superres.optics.usaf.fit import NestFit
from superres.optics.usaf.target import LayoutNumeral, digit_picture, nest_numerals

Picture = npt.NDArray[np.float32]

DOTS = 16
"""Height of a numeral in the compared pictures."""

SEARCH = 0.55
"""A group numeral is looked for this far around its place, in units of its height: layouts differ."""

RIM = 0.14
"""What is cut out around an element numeral: more would reach into its bars."""

SIZES, BLURS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25), (0.8, 1.6, 2.4, 3.2)
"""Trial sizes of drawn numerals against those of the picture, and blur in dots."""

LEAST_HEIGHT_PX = 5.0
FIRST_GROUPS = range(-4, 13, 2)
LEAST_LIKENESS, LEAST_MARGIN = 0.7, 0.02
"""The real scan, whose group numerals are 5 px high, reads .96 against .93; sharp numerals read .97 against .7."""


@dataclass(frozen=True)
class GroupReading:
    """first: group that nest 0 begins with.  likeness: mean correlation of its numerals.  margin: above the next."""

    first: int
    likeness: float
    margin: float


def read_first_group(plane: npt.NDArray[np.floating], nests: Mapping[int, NestFit], dark: bool, enlarged: int = 1
                     ) -> GroupReading | None:
    """What group nest 0 begins with, from all visible group numerals together; None where they do not decide.

    plane: (H, W).  nests: where they lie.  dark: bars, and so numerals, are darker than their surroundings.
    enlarged: by how much the plane was interpolated beforehand.
    """
    scores = group_scores(plane, nests, dark, enlarged)
    if not scores:
        return None
    # "0" is part of "10": where both fit, the longer numeral is what is written.
    hidden = [first for first in scores if scores.get(first + 10, 0.0) > scores[first] - LEAST_MARGIN and first >= 0]
    scores = {first: score for first, score in scores.items() if first not in hidden}
    ranked = sorted(scores, key=lambda first: -scores[first])
    reading = GroupReading(ranked[0], scores[ranked[0]], scores[ranked[0]] - scores[ranked[1]])
    return reading if reading.likeness >= LEAST_LIKENESS and reading.margin >= LEAST_MARGIN else None


def group_scores(plane: npt.NDArray[np.floating], nests: Mapping[int, NestFit], dark: bool, enlarged: int = 1
                 ) -> dict[int, float]:
    """First group → mean correlation of all visible group numerals with what they would be; empty if none is seen."""
    ink = np.asarray(plane, dtype=np.float32)
    low, high = np.percentile(ink, (1, 99))
    ink = np.clip((ink - low) / max(high - low, 1e-9), 0, 1)
    ink = 1 - ink if dark else ink
    likeness: dict[int, list[float]] = {first: [] for first in FIRST_GROUPS}
    for nest, fit in nests.items():
        alphabet = _Alphabet.of(ink, fit, enlarged)
        for numeral in nest_numerals():
            patch = _patch(ink, fit, numeral, SEARCH, enlarged) if numeral.kind == "group" else None
            if patch is None or not _is_written(patch):
                continue
            for first in FIRST_GROUPS:
                likeness[first].append(alphabet.likeness(patch, str(abs(first + 2 * nest + numeral.value))))
    return {first: float(np.mean(values)) for first, values in likeness.items() if values}


@dataclass(frozen=True, eq=False)
class _Alphabet:
    """own: numerals of the nest itself, by digit.  size, blur: what makes drawn numerals look like them."""

    own: Mapping[str, Picture]
    size: float
    blur: float

    @classmethod
    def of(cls, ink: Picture, fit: NestFit, enlarged: int) -> _Alphabet:
        own: dict[str, Picture] = {}
        wide: dict[str, Picture] = {}
        for numeral in nest_numerals():
            if numeral.kind == "element" and numeral.height > 0.9:
                patch = _patch(ink, fit, numeral, RIM, enlarged)
                around = _patch(ink, fit, numeral, 2 * RIM, enlarged)
                if patch is not None and around is not None and _is_written(patch):
                    own[str(numeral.value)], wide[str(numeral.value)] = patch, around
        best = max(((float(np.mean([_correlation(wide[text], _drawn(text, size, blur)) for text in wide])), size, blur)
                    for size in SIZES for blur in BLURS), default=(0.0, 1.0, BLURS[0])) if wide else (0.0, 1.0, 0.8)
        return cls(own, best[1], best[2])

    def likeness(self, patch: Picture, text: str) -> float:
        """Best correlation of a numeral with any place of the patch."""
        if text in self.own:
            pictures = [np.asarray(cv2.resize(self.own[text], None, fx=size, fy=size), dtype=np.float32)
                        for size in (0.92, 1.0, 1.08)]
        else:
            pictures = [_drawn(text, self.size * more, self.blur) for more in (0.92, 1.0, 1.08)]
        return max(_correlation(patch, picture) for picture in pictures)


def _drawn(text: str, size: float, blur: float) -> Picture:
    picture = np.pad(digit_picture(text, max(4, round(DOTS * size))), 3)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), dtype=np.float32)


def _correlation(patch: Picture, picture: Picture) -> float:
    if picture.shape[0] > patch.shape[0] or picture.shape[1] > patch.shape[1]:
        return 0.0
    return float(cv2.matchTemplate(patch, picture, cv2.TM_CCOEFF_NORMED).max())


def _is_written(patch: Picture) -> bool:
    """Whether there is any ink: an empty area correlates with anything."""
    return float(np.percentile(patch, 98) - np.percentile(patch, 20)) > 0.15


def _patch(ink: Picture, fit: NestFit, numeral: LayoutNumeral, around: float, enlarged: int) -> Picture | None:
    """The numeral upright with its surroundings, DOTS a height; None where it leaves the image or is too small."""
    height = numeral.height
    if fit.unit_px * height < LEAST_HEIGHT_PX * enlarged * 0.95:
        return None
    half = height * (0.5 + around)
    count = round(DOTS * (1 + 2 * around))
    axis = (np.arange(count) + 0.5) / count * 2 * half - half
    # Numerals are narrower than high; a narrow cut keeps the bars beside them out.
    sideways = axis if around >= SEARCH else axis[np.abs(axis) <= half - 0.14 * height]
    y, x = np.meshgrid(numeral.centre[0] + axis, numeral.centre[1] + sideways, indexing="ij")
    places = np.einsum("ij,jhw->ihw", fit.linear, np.stack([y, x]))
    places = places + (fit.offset + fit.gap * numeral.above)[:, None, None]
    inner = places[:, count // 5:-(count // 5), :]
    if inner.min() < 0 or inner[0].max() > ink.shape[0] - 1 or inner[1].max() > ink.shape[1] - 1:
        return None
    # Numerals larger than their picture are averaged down, or thin strokes would fall between the samples.
    blur = fit.unit_px * height / DOTS / 2
    first = np.maximum(np.floor(places.min(axis=(1, 2))).astype(int) - math.ceil(3 * blur) - 1, 0)
    last = np.ceil(places.max(axis=(1, 2))).astype(int) + math.ceil(3 * blur) + 2
    window = ink[first[0]:last[0], first[1]:last[1]]
    smooth = cv2.GaussianBlur(window, (0, 0), blur) if blur > 0.5 else window
    y, x = (places[axis] - first[axis] for axis in (0, 1))
    return np.asarray(cv2.remap(smooth, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR,
                                borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)
