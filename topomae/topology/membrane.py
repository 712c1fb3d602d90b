# ruff: noqa: ANN001  (compiled functions: numba infers the types, docstrings name them)
"""The surface that fills a loop, followed down from the square that ends it."""

from __future__ import annotations

import numpy as np

from topomae.topology.bisection import first_not_below
from topomae.topology.compiled import kernel
from topomae.topology.loops import NOTHING, edge_code, far_edge_code, push, replace_top
from topomae.topology.lower_star import direction_steps, grown
from topomae.topology.octahedron import WITH_VERTEX
from topomae.topology.reduction import ReducedVolume
from topomae.topology.voxel_order import voxel_of


def loop_membrane(reduced: ReducedVolume, death_square: int, level: int) -> np.ndarray:
    """Voxels above a level on the surface that the loop spans when it dies.

    Below the level the surface is cut off: its rim is the loop, as it is at that level.

    Args:
        reduced: the volume.
        death_square: code of the square that ends the loop.
        level: key of an intensity between birth and death, see `intensity_keys`.

    Returns:
        Flat C-order indices of voxels brighter than the level, sorted.
    """
    edges, squares = reduced.loops
    by_edge = np.argsort(edges)
    found = _follow(
        reduced.keys, reduced.row, reduced.plane, reduced.edge_state,
        edges[by_edge], squares[by_edge], death_square, level,
    )  # fmt: skip
    found, counts = np.unique(found, return_counts=True)
    found = found[counts % 2 == 1]  # a square met twice cancels
    steps = np.array([1, -1, reduced.row, -reduced.row, reduced.plane, -reduced.plane])
    highest, first, second = found >> 6, steps[(found >> 3) & 7], steps[found & 7]
    corners = np.unique(np.concatenate([highest, highest + first, highest + second, highest + first + second]))
    return np.sort(reduced.unpadded(corners[reduced.keys[corners] > level]))


@kernel
def _follow(keys, row, plane, edge_state, birth_edges, death_squares, square, level):
    """Squares of the surface, with repetitions: voxel * 64 + direction * 8 + direction, directions rising.

    Args:
        birth_edges: sorted codes of the edges that give birth to loops.
        death_squares: the squares that end these loops.
        square: code of the square to start from.
        level: the key at which to stop.
    """
    steps = direction_steps(row, plane)
    heap = np.empty(1 << 12, np.int64)
    found = np.empty(1 << 12, np.int64)
    count = 0
    size = 0
    voxel = voxel_of(square)
    first = (square >> 3) & 7
    second = square & 7
    while True:
        # Add a square and its edges; the edge through which it was reached cancels.
        if count == found.size:
            found = grown(found, count)
        found[count] = (voxel << 6) | (min(first, second) << 3) | max(first, second)
        count += 1
        if size + 4 > heap.size:
            heap = grown(heap, size)
        for i in range(4):
            if i == 0:
                code = edge_code(keys, edge_state, voxel, first)
            elif i == 1:
                code = edge_code(keys, edge_state, voxel, second)
            elif i == 2:
                code = far_edge_code(keys, edge_state, steps, voxel, first, second)
            else:
                code = far_edge_code(keys, edge_state, steps, voxel, second, first)
            if code != NOTHING:
                size = push(heap, size, code)
        while (size > 1 and heap[1] == heap[0]) or (size > 2 and heap[2] == heap[0]):
            for _ in range(2):
                size -= 1
                replace_top(heap, size, heap[size])
        if size == 0 or heap[0] >> 32 <= level:
            return found[:count]
        # Go on with the square paired with the highest edge, or with the one that ends the loop born there.
        edge = heap[0]
        voxel = voxel_of(edge)
        first = edge & 7
        second = np.int64(edge_state[8 * voxel + first]) >> 3
        if second >= WITH_VERTEX:
            ending = death_squares[first_not_below(birth_edges, 0, birth_edges.size, edge)]
            voxel = voxel_of(ending)
            first = (ending >> 3) & 7
            second = ending & 7
