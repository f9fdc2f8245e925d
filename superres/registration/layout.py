"""Layout: where the tiles of a scan lie, and what their camera's illumination is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from superres.errors import RegistrationError
from superres.image import FloatArray, Readable
from superres.registration.dust import described_dust, estimate_dust
from superres.registration.edges import (
    ALL_PAIRS_SIZE_PX,
    Edge,
    Structure,
    corner_edges,
    edges_anywhere,
    final_edges,
    near_edges,
    nominal_pairs,
    search_bound_px,
    settle,
    structure_of,
    without_dust,
)
from superres.registration.flatfield import described_flat_field, estimate_flat_field
from superres.registration.frames import Frames
from superres.registration.graph import agreeing, checked, components, solve
from superres.registration.levels import Levels, estimate_levels
from superres.registration.misplaced import contradiction, described, explain_disconnected, listed
from superres.registration.stage import described_beforehand, described_by_place, fit_stage

DEFAULT_OVERLAP = 0.1

Places = npt.NDArray[np.float64]
Parts = Literal["refuse", "nominal"]
"""What becomes of a scan whose structured tiles fall into parts: an error, or the parts go where the stage says."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Solved places of tiles.

    origins_px: (y, x) of each tile's outer top-left corner in mosaic pixels; the smallest of each coordinate is 0.
    linked: placed by measurement against other tiles.  residuals_um: RMS disagreement of a tile's edges with the
    solution, None where no second way of overlaps leads to the tile: an only edge always agrees.  shape_px: of the
    bounding box; tile_shape_px: of every tile.  flat_field: see Mosaic.
    edges: every pair that was tried, with its verdict.  levels: what evens out the brightness of the tiles, None where
    there is nothing to.  parts: see PlacedTile.part.
    """

    origins_px: tuple[tuple[float, float], ...]
    linked: tuple[bool, ...]
    residuals_um: tuple[float | None, ...]
    shape_px: tuple[int, int]
    tile_shape_px: tuple[int, int]
    pixel_size_um: float
    flat_field: FloatArray | None = None
    notes: Mapping[str, float | str] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    levels: Levels | None = None
    parts: tuple[int, ...] = ()


def stitch(images: Sequence[Readable], positions_um: Sequence[tuple[float, float] | None],
           grid: Sequence[tuple[int, int] | None], overlap: float | None = None, parts: Parts = "refuse") -> Layout:
    """Place the tiles of one scan.

    positions_um: nominal stage places of outer corners; used if every tile has one, else grid (row, column), else the
    tiles are compared all with all.  overlap: nominal fraction of a tile, for grids; measured where None.
    What cannot be measured goes where the stage says, by the rotation and step that the measured tiles give it, and the
    notes say how far that can be off.
    Raises RegistrationError: "blank" where more than half of the tiles show nothing, "out-of-bound" where shifts are
    larger than nominal places allow (the hint says what to set), "disconnected" where structured tiles do not hang
    together; ImageError where shapes or pixel sizes differ.
    """
    if not images:
        raise RegistrationError("there are no tiles to assemble; expected at least one", reason="disconnected")
    frames = Frames(images)
    if len(images) == 1:
        return Layout(((0.0, 0.0),), (True,), (None,), frames.shape_px, frames.shape_px, frames.pixel_size_um,
                      notes={"tiles": 1.0, "flat field": "none: a single tile"}, parts=(1,))
    structure = structure_of(frames)
    frames.dust = estimate_dust(frames, structure)
    if frames.dust is not None:
        structure = structure_of(frames)
    refuse_blank(frames, structure)
    nominal = _nominal(frames, structure, positions_um, grid, overlap)
    if nominal is None:
        edges = _compare_all(frames, structure)
    else:
        bound_px = search_bound_px(frames.shape_px)
        edges = near_edges(frames, nominal_pairs(nominal, frames.shape_px), nominal, bound_px, structure)
        edges += corner_edges(frames, _loose(frames, edges, structure), nominal, bound_px, structure)
    places, edges = solve(len(frames), edges)
    beforehand = described_beforehand(sum(each is not None for each in positions_um),
                                      sum(each is not None for each in grid), len(frames))
    _refuse_disconnected(frames, structure, edges, nominal, parts, str(beforehand.get("warning", "")))
    edges = final_edges(frames, edges, places, _owners(frames, edges), structure)
    frames.flat_field = estimate_flat_field(frames, edges)
    if frames.flat_field is not None:
        edges = [settle(frames, edge) if edge.accepted else edge for edge in edges]
    places, edges = solve(len(frames), edges)
    return _layout(frames, structure, edges, places, nominal, beforehand)


def _loose(frames: Frames, edges: Sequence[Edge], structure: Structure) -> list[int]:
    """Structured tiles that do not hang together with the largest group."""
    return [tile for group in components(len(frames), edges)[1:] for tile in group if not structure.blank[tile]]


def _owners(frames: Frames, edges: Sequence[Edge]) -> list[int]:
    """The number of the connected part that each tile belongs to."""
    owner = [0] * len(frames)
    for number, group in enumerate(components(len(frames), edges)):
        for tile in group:
            owner[tile] = number
    return owner


def _compare_all(frames: Frames, structure: Structure) -> list[Edge]:
    """Edges of a scan of which only the images are known: all pairs at low resolution, then, where the tiles fall into
    parts, the pairs between parts at twice the resolution, which finds overlaps half as wide.
    """
    count = len(frames)
    every = [(a, b) for a in range(count) for b in range(a + 1, count)]
    edges = agreeing(count, without_dust(edges_anywhere(frames, every, structure)))
    owner = _owners(frames, edges)
    between = [(a, b) for a, b in every if owner[a] != owner[b]]
    if between:
        finer = edges_anywhere(frames, between, structure, 2 * ALL_PAIRS_SIZE_PX)
        edges = agreeing(count, without_dust([*edges, *finer]))
    return edges


def refuse_blank(frames: Frames, structure: Structure) -> None:
    """Raises RegistrationError ("blank") where more than half of the tiles show nothing."""
    blank = np.flatnonzero(structure.blank)
    if len(blank) * 2 > len(frames):
        raise RegistrationError(
            f"{len(blank)} of {len(frames)} tiles show no structure ({listed([frames.name(int(i)) for i in blank])}); "
            f"expected at most half", reason="blank",
            hint="leave out empty tiles, or check focus, exposure and white level")


def _nominal(frames: Frames, structure: Structure, positions_um: Sequence[tuple[float, float] | None],
             grid: Sequence[tuple[int, int] | None], overlap: float | None) -> Places | None:
    """Nominal places in pixels, or None where nothing is known."""
    stage = [position for position in positions_um if position is not None]
    if len(stage) == len(frames):
        return np.array(stage, dtype=np.float64) / frames.pixel_size_um
    cells = [cell for cell in grid if cell is not None]
    if len(cells) < len(frames):
        return None
    index = np.array(cells, dtype=np.float64)
    size = np.asarray(frames.shape_px, dtype=np.float64)
    if overlap is not None:
        return np.asarray(index * size * (1 - overlap))
    return np.asarray(index @ _grid_steps(frames, structure, index, size * (1 - DEFAULT_OVERLAP)))


def _grid_steps(frames: Frames, structure: Structure, index: Places, default: Places) -> Places:
    """(2, 2): the measured step of a row and of a column, (y, x) in pixels, medians over neighbours found anywhere."""
    steps = np.diag(default)
    for axis in range(2):
        apart = np.eye(2)[axis]
        pairs = [(a, b) for a in range(len(index)) for b in range(len(index))
                 if np.array_equal(index[b] - index[a], apart)]
        found = edges_anywhere(frames, pairs, structure)
        if found:
            steps[axis] = np.median([edge.shift_px for edge in found], axis=0)
    return steps


def _refuse_disconnected(frames: Frames, structure: Structure, edges: Sequence[Edge], nominal: Places | None,
                         parts: Parts, unused: str) -> None:
    """Raises where structured tiles fall apart although their overlaps show something to match.

    unused: what was known of places and could not be used.
    """
    groups, owner = components(len(frames), edges), _owners(frames, edges)
    shown = [group for group in groups if not structure.blank[group].all()]
    blank, held = np.flatnonzero(structure.blank).tolist(), [edge for edge in edges if edge.accepted]
    if nominal is None:
        if len(shown) > 1:
            apart = explain_disconnected(frames, shown, [], None, blank)
            raise RegistrationError(f"{apart.message}; {unused}" if unused else apart.message, reason=apart.reason,
                                    hint=apart.hint)
        return
    missing = [edge for edge in edges
               if edge.verdict not in ("accepted", "blank") and owner[edge.first] != owner[edge.second]]
    # Nominal places that the images contradict are no help, whatever was asked for.
    error = contradiction(frames, shown, missing, nominal, blank, held) if len(shown) > 1 else None
    if error is not None:
        raise error
    # Parts that do not meet by their nominal places go there.
    touched = {owner[tile] for edge in missing for tile in (edge.first, edge.second)}
    apart_by_place = [groups[number] for number in sorted(touched)] if held else groups
    if parts == "refuse" and (missing or (len(frames) > 1 and not held)):
        raise explain_disconnected(frames, apart_by_place, missing, nominal, blank)


def _layout(frames: Frames, structure: Structure, edges: Sequence[Edge], places: Places, nominal: Places | None,
            beforehand: Mapping[str, float | str]) -> Layout:
    groups = components(len(frames), edges)
    main = groups[0]
    part = [number + 1 for number in _owners(frames, edges)]
    single = [group[0] for group in groups[1:] if len(group) == 1]
    linked = np.ones(len(frames), dtype=bool)
    linked[single] = False
    notes: dict[str, float | str] = {"tiles": float(len(frames)), **beforehand}
    places = places.copy()
    good_to: list[float] = []
    if nominal is not None:
        stage = fit_stage(nominal, places, groups)
        expected = stage.expected(nominal)
        for group in groups[1:]:
            places[group] += (expected[group] - places[group]).mean(axis=0)
            good_to.append(stage.good_to_px(nominal[group]))
        if beforehand["known beforehand"] == "stage positions":
            notes |= stage.notes(frames.pixel_size_um)
    else:
        places = _fill_holes(places, main, [tile for group in groups[1:] for tile in group], frames.shape_px)
    places -= places.min(axis=0)
    loops = checked(len(frames), edges)
    residuals = _tile_residuals(len(frames), [edges[index] for index in loops])
    notes["edges used"] = float(sum(edge.accepted for edge in edges))
    used = [residual for index in loops if (residual := edges[index].residual_px) is not None]
    notes["edge residual (px, RMS)"] = (round(float(np.sqrt(np.mean(np.square(used)))), 4) if used else
                                        "unknown: no tile is held by more than one overlap")
    rejected = [described(frames, edge, nominal) for edge in edges if edge.verdict not in ("accepted", "blank")]
    notes["edges rejected"] = listed(rejected) if rejected else "none"
    shown = sorted(tile for group in groups[1:] for tile in group if not structure.blank[tile])
    by_place = described_by_place([frames.name(tile) for tile in sorted(single)],
                                [[frames.name(tile) for tile in group] for group in groups[1:] if len(group) > 1],
                                [frames.name(tile) for tile in shown],
                                max(good_to, default=np.nan), nominal is not None)
    warnings = [str(each["warning"]) for each in (notes, by_place) if "warning" in each]
    notes |= by_place | ({"warning": "; ".join(warnings)} if warnings else {})
    notes["dust on the camera"] = described_dust(frames.dust, len(frames))
    notes["flat field"] = described_flat_field(frames.flat_field)
    levels = estimate_levels(frames, edges, places, structure)
    notes["brightness of tiles"] = "even" if levels is None else levels.described()
    extent = np.ceil(places.max(axis=0) + frames.shape_px - 1e-6).astype(int)
    return Layout(tuple((float(y), float(x)) for y, x in places), tuple(bool(flag) for flag in linked),
                  tuple(None if r is None else r * frames.pixel_size_um for r in residuals),
                  (int(extent[0]), int(extent[1])), frames.shape_px, frames.pixel_size_um, frames.flat_field, notes,
                  tuple(edges), levels, tuple(part))


def _tile_residuals(count: int, edges: Sequence[Edge]) -> list[float | None]:
    squares: list[list[float]] = [[] for _ in range(count)]
    for edge in edges:
        if edge.accepted and edge.residual_px is not None:
            squares[edge.first].append(edge.residual_px ** 2)
            squares[edge.second].append(edge.residual_px ** 2)
    return [float(np.sqrt(np.mean(values))) if values else None for values in squares]


def _fill_holes(places: Places, main: Sequence[int], loose: Sequence[int], shape_px: tuple[int, int]) -> Places:
    """Tiles that show nothing, of a scan without positions: they go into the holes of the pattern that the others form,
    in their given order, and past its right edge where there are none left.  Being empty they can stand in for each
    other.
    """
    corner = places[main].min(axis=0)
    size = np.asarray(shape_px, dtype=np.float64)
    span = places[main].max(axis=0) - corner
    cells = np.maximum(np.rint(span / (size * (1 - DEFAULT_OVERLAP))), 0).astype(int) + 1
    step = span / np.maximum(cells - 1, 1)
    centres = [corner + step * (row, column) for row in range(cells[0]) for column in range(cells[1])]
    free = [c for c in centres if (np.abs(places[main] - c).max(axis=1) > 0.5 * size.min()).all()]
    result = places.copy()
    for number, tile in enumerate(loose):
        beyond = np.array([0.0, span[1] + (number + 1 - len(free)) * size[1]])
        result[tile] = free[number] if number < len(free) else corner + beyond
    return result


