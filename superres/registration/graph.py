"""From measured shifts to places: components, robust least squares, and which shifts check each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import spsolve

from superres.registration.edges import Edge

Places = npt.NDArray[np.float64]
ROUNDS = 100
STILL_PX = 1e-8
"""Places must not depend on the order in which tiles come, as far as that can be had."""
SCALE_FLOOR_PX = 0.05
"""The robust scale never falls below the error of a single good shift, or the best edges would reject all others."""
MAX_RESIDUAL_PX = 2.0


def components(count: int, edges: Sequence[Edge]) -> list[list[int]]:
    """Tiles joined by accepted edges, the largest group first, each in rising order."""
    links = _links(count, [edge for edge in edges if edge.accepted])
    number, label = connected_components(links, directed=False)
    groups = [[int(tile) for tile in np.flatnonzero(label == index)] for index in range(number)]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def solve(count: int, edges: Sequence[Edge]) -> tuple[Places, list[Edge]]:
    """Places of all tiles by iteratively reweighted least squares on the accepted edges.

    Weights are correlation² times Cauchy's w = 1 / (1 + (r / 2s)²), s the median residual.  Then edges that miss the
    solution by more than 2 px and 6 s are called inconsistent and the rest is solved again.  Each component has its
    first tile at 0. Returns ((count, 2) px, the edges with their residuals and verdicts).
    """
    edges = list(edges)
    while True:
        places = _least_squares(count, edges)
        residual = {i: _residual(places, edge) for i, edge in enumerate(edges) if edge.accepted}
        if not residual:
            return places, edges
        scale = max(SCALE_FLOOR_PX, 1.4826 * float(np.median(list(residual.values()))))
        worst = max(residual, key=lambda i: residual[i])
        if residual[worst] <= max(MAX_RESIDUAL_PX, 6 * scale):
            return places, [replace(edge, residual_px=residual.get(i, edge.residual_px))
                            for i, edge in enumerate(edges)]
        edges[worst] = replace(edges[worst], verdict="inconsistent", residual_px=residual[worst])


def checked(count: int, edges: Sequence[Edge]) -> list[int]:
    """Which accepted edges lie in a loop of accepted ones.  The others agree with any solution, however wrong they are.

    A loop holds an edge of the spanning tree where an edge outside the tree leads from below it to above it.
    """
    used = [index for index, edge in enumerate(edges) if edge.accepted]
    links = _links(count, [edges[index] for index in used])
    below, found = [0] * count, []
    tree: dict[int, int] = {}
    for group in components(count, edges):
        if len(group) < 2:
            continue
        order, parents = breadth_first_order(links, group[0], directed=False)
        parent = {int(tile): int(parents[tile]) for tile in order[1:]}
        inside = [index for index in used if edges[index].first in parent or edges[index].second in parent]
        for bit, index in enumerate(inside):
            first, second = edges[index].first, edges[index].second
            if parent.get(first) == second or parent.get(second) == first:
                tree[index] = first if parent.get(first) == second else second
                continue
            found.append(index)
            below[first] ^= 1 << bit
            below[second] ^= 1 << bit
        for tile in order[:0:-1]:
            below[int(parents[tile])] ^= below[int(tile)]
    return sorted(found + [index for index, lower in tree.items() if below[lower]])


def agreeing(count: int, edges: Sequence[Edge], tolerance_px: float = 4.0) -> list[Edge]:
    """Join tiles by their strongest edges first; edges that contradict what stands already are inconsistent.

    For pairs found anywhere in each other: repeated structure gives false edges, but weaker ones.
    """
    group = list(range(count))
    place = np.zeros((count, 2))
    verdicts = list(edges)
    for index in sorted(range(len(edges)), key=lambda i: -edges[i].z * edges[i].correlation):
        edge = edges[index]
        shift = np.asarray(edge.shift_px)
        first, second = group[edge.first], group[edge.second]
        gap = place[edge.first] + shift - place[edge.second]
        if first == second:
            if float(np.hypot(*gap)) > tolerance_px:
                verdicts[index] = replace(edge, verdict="inconsistent", residual_px=float(np.hypot(*gap)))
            continue
        for tile in range(count):
            if group[tile] == second:
                group[tile] = first
                place[tile] += gap
    return verdicts


def _links(count: int, edges: Sequence[Edge]) -> sparse.csr_array:
    ends = [edge.first for edge in edges], [edge.second for edge in edges]
    return sparse.csr_array((np.ones(len(edges)), ends), (count, count))


def _residual(places: Places, edge: Edge) -> float:
    return float(np.hypot(*(places[edge.second] - places[edge.first] - np.asarray(edge.shift_px))))


def _least_squares(count: int, edges: Sequence[Edge]) -> Places:
    used = [edge for edge in edges if edge.accepted]
    places = np.zeros((count, 2))
    if not used:
        return places
    anchors = [group[0] for group in components(count, edges)]
    rows = np.repeat(np.arange(len(used)), 2)
    columns = np.array([(edge.first, edge.second) for edge in used]).ravel()
    matrix = sparse.csr_array((np.tile([-1.0, 1.0], len(used)), (rows, columns)), (len(used), count))
    pin = sparse.csr_array((np.ones(len(anchors)), (anchors, anchors)), (count, count))
    shifts = np.array([edge.shift_px for edge in used])
    trust = np.array([edge.correlation ** 2 for edge in used])
    weights = trust
    for _ in range(ROUNDS):
        normal = (matrix.T @ sparse.diags_array(weights) @ matrix + pin).tocsc()
        solved = np.asarray(spsolve(normal, matrix.T @ (weights[:, None] * shifts))).reshape(count, 2)
        residual = np.hypot(*(matrix @ solved - shifts).T)
        change = float(np.abs(solved - places).max())
        places = solved
        if change < STILL_PX:
            break
        scale = max(SCALE_FLOOR_PX, 1.4826 * float(np.median(residual)))
        weights = trust / (1 + (residual / (2 * scale)) ** 2)
    return places
