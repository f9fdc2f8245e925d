"""Why tiles do not hang together: what the images say about nominal places that are wrong, and what to set instead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from superres.errors import RegistrationError
from superres.registration.edges import (
    MIN_CORRELATION,
    MIN_Z,
    Edge,
    edges_anywhere,
    search_bound_px,
    shown_but,
)
from superres.registration.frames import Frames
from superres.registration.graph import agreeing, checked, components, solve

MAX_NAMES = 8
MAX_SEARCHED = 600
"""Pairs of tiles that are searched in each other when a scan falls apart: a few seconds."""
FEW = 4
"""Tiles of which a single match is believed: there may be no other."""
DUST_PX = 1.0
NEAR, MOST = 0.15, 0.8
"""A change of all positions is what is wrong if it brings that share of the overlaps within that part of a tile."""
STAGE_AXES = {"-y,x": ((-1, 0), (0, 1)), "y,-x": ((1, 0), (0, -1)), "-y,-x": ((-1, 0), (0, -1)),
              "x,y": ((0, 1), (1, 0)), "-x,y": ((0, -1), (1, 0)), "x,-y": ((0, 1), (-1, 0)),
              "-x,-y": ((0, -1), (-1, 0))}
"""What source.options.stage_axes makes of (y, x)."""

Places = npt.NDArray[np.float64]


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:MAX_NAMES])
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES} more"


def described(frames: Frames, edge: Edge, nominal: Places | None) -> str:
    """The two tiles of an edge that was not accepted, the verdict, and the number that it rests on.

    nominal: (n, 2) nominal places in pixels, where they are known.
    """
    fact = ""
    if edge.verdict == "unmatched" and edge.correlation < MIN_CORRELATION:
        fact = f": correlation {edge.correlation:.2f}, expected at least {MIN_CORRELATION:g}"
    elif edge.verdict == "unmatched":
        fact = f": peak {edge.z:.1f} above the median, expected at least {MIN_Z:g}"
    elif edge.verdict == "out-of-bound" and nominal is not None:
        off = np.asarray(edge.shift_px) - (nominal[edge.second] - nominal[edge.first])
        fact = f": best match {np.hypot(*off):.1f} px off its nominal place, where the search ends"
    elif edge.verdict == "inconsistent" and edge.residual_px is not None:
        fact = f": {edge.residual_px:.1f} px off the place by the other overlaps"
    return f"{frames.name(edge.first)}–{frames.name(edge.second)} ({edge.verdict}{fact})"


def explain_disconnected(frames: Frames, groups: Sequence[Sequence[int]], missing: Sequence[Edge],
                         nominal: Places | None, blank: Sequence[int] = ()) -> RegistrationError:
    """The error for a scan in pieces.

    groups: the pieces, the largest first.  missing: edges between pieces whose overlap shows structure but was not
    matched near its nominal shift.  blank: tiles that show nothing: they join no others and, where no places are known,
    may be what parts them.
    """
    parts = "; ".join(f"[{listed([frames.name(tile) for tile in group])}]" for group in groups[:MAX_NAMES])
    pairs = [described(frames, edge, nominal) for edge in missing]
    detail = f"; no match between {listed(pairs)}" if pairs else ""
    advice = "leave out tiles of another area or focus, add the missing tiles, or scan with more overlap"
    if blank and nominal is None:
        detail += (f"; {listed([frames.name(tile) for tile in blank])} {'shows' if len(blank) == 1 else 'show'} no "
                   "structure and cannot join them")
        advice = ("give the places of all tiles (positions.csv: file, y_um, x_um), which hold parts on both sides of a "
                  f"blank tile together; or {advice}")
    return RegistrationError(
        f"the {len(frames)} tiles fall into {len(groups)} parts without a common overlap: {parts}{detail}; "
        f"expected one connected scan", reason="disconnected",
        hint=advice + ('; or set register.options.disconnected = "nominal": the parts then go where their nominal '
                       "positions say" if nominal is not None else ""))


def contradiction(frames: Frames, groups: Sequence[Sequence[int]], missing: Sequence[Edge], nominal: Places,
                  blank: Sequence[int], held: Sequence[Edge]) -> RegistrationError | None:
    """The error ("out-of-bound") for nominal places that the images contradict, None where they do not.

    Pieces, as `explain_disconnected` has them, are searched in each other: a certain match elsewhere means that the
    nominal places are wrong, and the error says by how much.  held: the accepted edges.
    """
    found = _elsewhere(frames, groups, missing, nominal, blank, held)
    return _out_of_bound(frames, found, held, groups, nominal) if found else None


def _elsewhere(frames: Frames, groups: Sequence[Sequence[int]], missing: Sequence[Edge], nominal: Places,
               blank: Sequence[int], held: Sequence[Edge]) -> list[Edge]:
    """Certain matches between pieces, farther from the nominal shift than was searched.

    First of overlaps that should be there; then, where these leave pieces apart, of others that may be.
    """
    structure = shown_but(len(frames), blank)
    owner = np.full(len(frames), -1)
    for number, group in enumerate(groups):
        owner[list(group)] = number
    found: list[Edge] = []
    certain: list[Edge] = []
    for pairs in ([(edge.first, edge.second) for edge in missing[:24]], _may_overlap(owner, held, nominal)):
        tried = {frozenset((edge.first, edge.second)) for edge in found}
        found += [edge for edge in edges_anywhere(frames, [pair for pair in pairs if frozenset(pair) not in tried],
                                                  structure)
                  if np.abs(edge.shift_px - nominal[edge.second] + nominal[edge.first]).max()
                  > search_bound_px(frames.shape_px)]
        certain = _certain(frames, found, held, nominal)
        joined = components(len(frames), [*held, *certain])[0]
        if certain and {tile for group in groups for tile in group} <= set(joined):
            break
    return certain


def _may_overlap(owner: npt.NDArray[np.int64], held: Sequence[Edge], nominal: Places) -> list[tuple[int, int]]:
    """Pairs of tiles of different pieces, MAX_SEARCHED at most: the nearest by their nominal places, and those with the
    fewest neighbours, for a tile that is said to lie elsewhere leaves a hole.

    owner: number of each tile's piece, −1 for tiles that are not searched.
    """
    first, second = np.triu_indices(len(owner), 1)
    between = (owner[first] != owner[second]) & (owner[first] >= 0) & (owner[second] >= 0)
    first, second = first[between], second[between]
    neighbours = np.bincount([tile for edge in held for tile in (edge.first, edge.second)], minlength=len(owner))
    apart = np.hypot(*(nominal[second] - nominal[first]).T)
    nearest = np.argsort(apart, kind="stable")[:MAX_SEARCHED // 2]
    lonely = np.lexsort((apart, neighbours[first] + neighbours[second]))[:MAX_SEARCHED // 2]
    return [(int(first[each]), int(second[each])) for each in dict.fromkeys([*nearest, *lonely])]


def _certain(frames: Frames, found: Sequence[Edge], held: Sequence[Edge], nominal: Places) -> list[Edge]:
    """Matches that confirm each other, in a loop or by one change of all positions; of few tiles, any.

    Specks of dust on the camera match each other, at one shift wherever the tiles lie: such are left out.  So do the
    overlaps of a stage that steps evenly, but at a shift of overlaps that hold.
    """
    turn = [1 if edge.shift_px > (0.0, 0.0) else -1 for edge in found]
    measured = np.array([np.multiply(edge.shift_px, sign) for edge, sign in zip(found, turn, strict=True)])
    expected = np.array([(nominal[edge.second] - nominal[edge.first]) * sign
                         for edge, sign in zip(found, turn, strict=True)])
    steps = np.array([np.multiply(edge.shift_px, sign) for edge in held for sign in (1, -1)]).reshape(-1, 2)
    real = []
    for edge, shift, by_place in zip(found, measured, expected, strict=True):
        alike = (np.abs(measured - shift) < DUST_PX).all(axis=1)
        apart = (np.abs(expected - by_place) > search_bound_px(frames.shape_px)).any(axis=1)
        if (alike & apart).sum() < 2 or (np.abs(steps - shift) < DUST_PX).all(axis=1).any():
            real.append(edge)
    if len(frames) <= FEW:
        return real
    judged = agreeing(len(frames), [*held, *real])
    kept = [edge for edge in judged[len(held):] if edge.accepted]
    in_loop = any(index >= len(held) for index in checked(len(frames), judged))
    return kept if in_loop or (len(kept) > 1 and _for_all(frames, kept, held, nominal)) else []


def _out_of_bound(frames: Frames, found: Sequence[Edge], held: Sequence[Edge], groups: Sequence[Sequence[int]],
                  nominal: Places) -> RegistrationError:
    best = max(found, key=lambda edge: edge.z)
    expected = nominal[best.second] - nominal[best.first]
    off = np.asarray(best.shift_px) - expected
    return RegistrationError(
        f"tile '{frames.name(best.second)}' lies at ({best.shift_px[0]:.1f}, {best.shift_px[1]:.1f}) px (y, x) from "
        f"tile '{frames.name(best.first)}', but its nominal place is ({expected[0]:.1f}, {expected[1]:.1f}) px: "
        f"{np.hypot(*off):.0f} px off, more than the search allows", reason="out-of-bound",
        hint=_for_all(frames, found, held, nominal) or _for_some(frames, found, held, groups, nominal))


def _for_all(frames: Frames, found: Sequence[Edge], held: Sequence[Edge], nominal: Places) -> str:
    """What would make all nominal shifts agree with the measured ones, "" if nothing simple does."""
    edges = [*found, *held]
    expected = np.array([nominal[edge.second] - nominal[edge.first] for edge in edges])
    measured = np.array([edge.shift_px for edge in edges])
    size = np.asarray(frames.shape_px)

    before = np.abs(expected - measured).max(axis=1)

    def explains(linear: npt.NDArray[np.float64]) -> bool:
        off = np.abs(expected @ linear.T - measured).max(axis=1)
        near = off <= NEAR * size.min()
        # Where few lines of a table are wrong, most overlaps agree with what changes nothing.
        better = near & (off < before / 2)
        return bool(near.mean() >= MOST and better[:len(found)].mean() >= MOST)

    for axes, linear in STAGE_AXES.items():
        if explains(np.array(linear, dtype=np.float64)):
            if "x" in axes[:2]:
                return ("rows and columns look exchanged: swap y and x in the positions (set "
                        f"source.options.stage_axes = '{axes}'), or rows and columns in the grid")
            name = "both axes" if axes == "-y,-x" else f"the {'y' if axes == '-y,x' else 'x'} axis"
            return (f"{name} of the positions {'run' if axes == '-y,-x' else 'runs'} against the camera: set "
                    f"source.options.stage_axes = '{axes}', or change the sign of "
                    f"{'y and x' if axes == '-y,-x' else name[4]} in the table")
    power = (expected ** 2).sum(axis=0)
    each = np.where(power > 0, (expected * measured).sum(axis=0) / np.maximum(power, 1e-12), 1.0)
    ratio = float((expected * measured).sum() / max(power.sum(), 1e-12))
    if explains(ratio * np.eye(2)):
        unit = next((f"; they look like {name}: call the columns y_{name}, x_{name}"
                     for name, factor in (("mm", 1000.0), ("nm", 0.001), ("px", frames.pixel_size_um))
                     if abs(np.log(ratio / factor)) < 0.1 and abs(np.log(ratio)) > 0.1), "") if ratio > 0 else ""
        along = np.abs(measured) > 0.4 * size
        overlap = 1 - float(np.median((np.abs(measured) / size)[along])) if along.any() else 0.0
        return (f"set source.options.overlap = {overlap:.3f} for a grid, or multiply the stage positions by "
                f"{ratio:.4g} (or divide the coarse pixel size by it){unit}")
    if explains(np.diag(each)):
        axis = int(np.abs(each - 1).argmax())
        return (f"multiply the {'yx'[axis]} positions by {each[axis]:.4g}; for a grid leave source.options.overlap "
                "out: then the steps are measured")
    return ""


def _for_some(frames: Frames, found: Sequence[Edge], held: Sequence[Edge], groups: Sequence[Sequence[int]],
              nominal: Places) -> str:
    """What to do about the tiles whose positions are wrong, those of the largest piece being right."""
    otherwise = "or set source.options.positions = 'none': then all tiles are compared with all"
    astray = _astray(frames, found, held, nominal) if held else []
    if not astray:
        return f"correct the positions, {otherwise}"
    one = len(astray) == 1
    return (f"the {'position' if one else 'positions'} of {listed([frames.name(tile) for tile in astray])} "
            f"{'does' if one else 'do'} not fit the images, those of other tiles do: correct "
            f"{'it' if one else 'them'}, {otherwise}")


def _astray(frames: Frames, found: Sequence[Edge], held: Sequence[Edge], nominal: Places) -> list[int]:
    """Of the tiles that are joined now, those that lie farther than was searched from where most of them say.

    By the rotation and step that the overlaps which hold give the stage, in complex numbers.
    """
    places, judged = solve(len(frames), [*held, *found])
    joined = components(len(frames), judged)[0]
    expected = np.array([nominal[edge.second] - nominal[edge.first] for edge in held]) @ (1, 1j)
    turn = np.vdot(expected, np.array([edge.shift_px for edge in held]) @ (1, 1j)) / np.vdot(expected, expected)
    turned = nominal @ (1, 1j) * turn
    off = (places - np.stack([turned.real, turned.imag], axis=1))[joined]
    beside = np.abs(off - np.median(off, axis=0)).max(axis=1) > search_bound_px(frames.shape_px)
    return [tile for tile, astray in zip(joined, beside, strict=True) if astray]
