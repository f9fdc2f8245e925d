"""Why tiles do not hang together: what the images say about nominal places that are wrong, and what to set instead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from superres.errors import RegistrationError
from superres.registration.edges import MIN_CORRELATION, MIN_Z, Edge, Structure, edges_anywhere
from superres.registration.frames import Frames

MAX_NAMES = 8


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:MAX_NAMES])
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES} more"


def described(frames: Frames, edge: Edge, nominal: npt.NDArray[np.float64] | None) -> str:
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
                         nominal: npt.NDArray[np.float64] | None, blank: Sequence[int] = ()) -> RegistrationError:
    """The error for a scan in pieces.

    blank: tiles that show nothing, where no places are known: they join no others and may be what parts them.
    missing: edges between pieces whose overlap shows structure but was not matched near its nominal shift.  They are
    searched anywhere: a certain match means that the nominal places are wrong, and the error ("out-of-bound") says by
    how much.
    """
    if nominal is not None and missing:
        some = np.zeros(len(frames))
        found = edges_anywhere(frames, [(e.first, e.second) for e in missing[:24]], Structure(some + 1, some + 1))
        if found:
            return _out_of_bound(frames, found, nominal)
    parts = "; ".join(f"[{listed([frames.name(tile) for tile in group])}]" for group in groups[:MAX_NAMES])
    pairs = [described(frames, edge, nominal) for edge in missing]
    detail = f"; no match between {listed(pairs)}" if pairs else ""
    advice = "leave out tiles of another area or focus, add the missing tiles, or scan with more overlap"
    if blank:
        detail += (f"; {listed([frames.name(tile) for tile in blank])} {'shows' if len(blank) == 1 else 'show'} no "
                   "structure and cannot join them")
        advice = ("give the places of all tiles (positions.csv: file, y_um, x_um), which hold parts on both sides of a "
                  f"blank tile together; or {advice}")
    return RegistrationError(
        f"the {len(frames)} tiles fall into {len(groups)} parts without a common overlap: {parts}{detail}; "
        f"expected one connected scan", reason="disconnected",
        hint=advice + ('; or set register.options.disconnected = "nominal": the parts then go where their nominal '
                       "positions say" if nominal is not None else ""))


def _out_of_bound(frames: Frames, found: Sequence[Edge], nominal: npt.NDArray[np.float64]) -> RegistrationError:
    best = max(found, key=lambda edge: edge.z)
    expected = nominal[best.second] - nominal[best.first]
    off = np.asarray(best.shift_px) - expected
    return RegistrationError(
        f"tile '{frames.name(best.second)}' lies at ({best.shift_px[0]:.1f}, {best.shift_px[1]:.1f}) px (y, x) from "
        f"tile '{frames.name(best.first)}', but its nominal place is ({expected[0]:.1f}, {expected[1]:.1f}) px: "
        f"{np.hypot(*off):.0f} px off, more than the search allows", reason="out-of-bound",
        hint=_advice(frames, found, nominal))


def _advice(frames: Frames, found: Sequence[Edge], nominal: npt.NDArray[np.float64]) -> str:
    """What would make the nominal shifts agree with the measured ones."""
    expected = np.array([nominal[edge.second] - nominal[edge.first] for edge in found])
    measured = np.array([edge.shift_px for edge in found])
    size = np.asarray(frames.shape_px)
    for axis, name in ((0, "y"), (1, "x")):
        along = np.abs(expected[:, axis]) > 0.4 * size[axis]
        if along.any() and np.median(measured[along, axis] / expected[along, axis]) < -0.5:
            axes = "-y,x" if name == "y" else "y,-x"
            return (f"the {name} axis of the positions runs against the camera: set source.options.stage_axes = "
                    f"'{axes}', or change the sign of {name} in the table")
    swapped = np.abs(measured[:, ::-1]) - np.abs(expected)
    if np.abs(swapped).max(axis=1).mean() < 0.15 * size.min() and np.abs(measured - expected).max() > 0.5 * size.min():
        return "rows and columns look exchanged: swap y and x in the positions, or rows and columns in the grid"
    axis = int(np.argmax(np.abs(measured).max(axis=0)))
    along = np.abs(expected[:, axis]) > 0.4 * size[axis]
    if not along.any():
        return "correct the positions of these tiles, or leave the positions out: then tiles are compared all with all"
    ratio = float(np.median(measured[along, axis] / expected[along, axis]))
    overlap = 1 - float(np.median(np.abs(measured[along, axis]))) / float(size[axis])
    return (f"set source.options.overlap = {overlap:.3f} for a grid, or multiply the stage positions by {ratio:.4f} "
            f"(or divide the coarse pixel size by it)")
