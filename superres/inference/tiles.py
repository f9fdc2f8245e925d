"""Exact tiles: where to read, what to keep and where it goes, one axis at a time.  Pure arithmetic.

A tile that reads `halo_px` input pixels around its core, from an origin that is a multiple of `origin_multiple`, gives
the untiled output inside the core: zero padding then meets only true image borders and the halo that is thrown away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from superres.api.model import Geometry


@dataclass(frozen=True)
class Span:
    """One tile along one axis, half-open ranges.

    read: input pixels that the network gets.  keep: pixels of the network's output that are right.  place: where they
    go in the whole output; as long as keep.
    """

    read: tuple[int, int]
    keep: tuple[int, int]
    place: tuple[int, int]


def plan_span(length_px: int, core: tuple[int, int], geometry: Geometry) -> Span:
    """The tile whose core is input pixels [start, stop).

    core: start a multiple of geometry.origin_multiple; stop too, unless it is length_px.
    The cores that partition [0, length_px) have places that partition [0, ceil(L·length_px)).
    """
    start, stop = core
    multiple, scale = geometry.origin_multiple, geometry.scale
    if start % multiple or (stop % multiple and stop != length_px) or not 0 <= start < stop <= length_px:
        raise ValueError(f"core {core} of {length_px} px; expected multiples of {multiple} inside the image")
    if geometry.halo_px is None:
        if core != (0, length_px):
            raise ValueError(f"core {core} of {length_px} px; a network with global context takes the whole image")
        read = core
    else:
        read = ((max(0, start - geometry.halo_px) // multiple) * multiple, min(length_px, stop + geometry.halo_px))
    place = (math.ceil(scale * start), math.ceil(scale * stop))
    offset = math.ceil(scale * read[0])
    return Span(read, (place[0] - offset, place[1] - offset), place)


def core_ranges(length_px: int, core_px: int, geometry: Geometry) -> tuple[tuple[int, int], ...]:
    """Cut [0, length_px) into cores of nearly equal length, at most core_px (or one origin_multiple, if that is more).

    Equal cores have few distinct tile shapes, for which the convolution library prepares itself only once each.
    """
    if geometry.halo_px is None:
        return ((0, length_px),)
    multiple = geometry.origin_multiple
    count = math.ceil(length_px / max(multiple, core_px // multiple * multiple))
    side = math.ceil(length_px / count / multiple) * multiple
    return tuple((start, min(start + side, length_px)) for start in range(0, length_px, side))


def plan_axis(length_px: int, core_px: int, geometry: Geometry) -> tuple[Span, ...]:
    """The tiles along one axis, in order."""
    return tuple(plan_span(length_px, core, geometry) for core in core_ranges(length_px, core_px, geometry))
