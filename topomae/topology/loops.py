# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Loops: persistence in dimension 1 by reducing the boundaries of the squares left over from the voids.

A column starts as the four edges of its square. Its highest edge is taken off again and again: an edge paired
with a square is replaced by that square's other edges (it flows down the discrete gradient), an edge paired
with a voxel vanishes, a critical edge that an earlier column owns is replaced by the rest of that column, and
a critical edge that nobody owns is the birth of the loop that this square ends. Edges met twice cancel
(coefficients modulo 2).

The column at work is a heap, small enough to stay in the cache. An edge on it is its code (see `voxel_order`),
with its order in its lower star and its direction, so that taking it off needs no look-up.
"""

from __future__ import annotations

import numpy as np

from topomae.topology.bisection import first_not_below
from topomae.topology.compiled import kernel
from topomae.topology.lower_star import direction_steps, grown
from topomae.topology.octahedron import WITH_VERTEX
from topomae.topology.voxel_order import cell_code, higher, voxel_of

NOTHING = -(2**63)
"""In place of the code of an edge that is paired with a voxel and so bounds nothing."""


@kernel(forceinline=True)
def push(heap, size, code):
    """Put a code on the heap (largest on top); returns the new size."""
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if heap[above] >= code:
            break
        heap[place] = heap[above]
        place = above
    heap[place] = code
    return size + 1


@kernel(forceinline=True)
def replace_top(heap, size, code):
    """Put a code on the heap in place of the largest one."""
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] > heap[below]:
            below += 1
        if heap[below] <= code:
            break
        heap[place] = heap[below]
        place = below
    heap[place] = code


@kernel(forceinline=True)
def edge_code(keys, edge_state, voxel, direction):
    """Code of an edge of a lower star; `NOTHING` if it is paired with a voxel."""
    state = np.int64(edge_state[8 * voxel + direction])
    code = cell_code(keys, voxel, ((state & 7) << 3) | direction)
    return NOTHING if state >> 3 == WITH_VERTEX else code


@kernel(forceinline=True)
def far_edge_code(keys, edge_state, steps, voxel, towards, along):
    """Code of the edge of a square that starts one step `towards` and runs `along`."""
    start = voxel + steps[towards]
    end = start + steps[along]
    if higher(keys, start, end):
        end = start
    else:
        along ^= 1
    return edge_code(keys, edge_state, end, along)


@kernel
def pair_loops(keys, row, plane, edge_state, critical_edges, squares):
    """Persistence pairs of dimension 1.

    Args:
        keys: see `padded_keys`.
        row, plane: steps in the padded index along the middle and the first axis.
        edge_state: from `discrete_gradient`, as bytes, after `pair_components`.
        critical_edges: sorted codes.
        squares: sorted codes of the critical squares that enclose no void.

    Returns:
        Codes of the edges that give birth to loops, and of the squares that end them.
    """
    steps = direction_steps(row, plane)
    births = np.empty(squares.size, np.int64)
    deaths = np.empty(squares.size, np.int64)
    owner = np.full(critical_edges.size, -1, np.int32)
    heap = np.empty(1 << 12, np.int64)
    stored = np.empty(max(1024, 4 * squares.size), np.int64)  # the reduced columns, one after another
    ends = np.zeros(squares.size + 1, np.int64)
    stored_count = 0
    count = 0
    boundary = np.empty(4, np.int64)
    for column in range(squares.size):
        square = squares[column]
        voxel = voxel_of(square)
        first = (square >> 3) & 7
        second = square & 7
        boundary[0] = edge_code(keys, edge_state, voxel, first)
        boundary[1] = edge_code(keys, edge_state, voxel, second)
        boundary[2] = far_edge_code(keys, edge_state, steps, voxel, first, second)
        boundary[3] = far_edge_code(keys, edge_state, steps, voxel, second, first)
        size = 0
        for code in boundary:
            if code != NOTHING:
                size = push(heap, size, code)
        while size > 0:
            top = heap[0]
            if (size > 1 and heap[1] == top) or (size > 2 and heap[2] == top):
                for _ in range(2):
                    size -= 1
                    replace_top(heap, size, heap[size])
                continue
            voxel = voxel_of(top)
            direction = top & 7
            partner = np.int64(edge_state[8 * voxel + direction]) >> 3
            if partner < WITH_VERTEX:
                if size + 4 > heap.size:
                    heap = grown(heap, size)
                boundary[0] = edge_code(keys, edge_state, voxel, partner)
                boundary[1] = far_edge_code(keys, edge_state, steps, voxel, direction, partner)
                boundary[2] = far_edge_code(keys, edge_state, steps, voxel, partner, direction)
                replaced = False
                for i in range(3):
                    code = boundary[i]
                    if code == NOTHING:
                        continue
                    if replaced:
                        size = push(heap, size, code)
                    else:
                        replace_top(heap, size, code)
                        replaced = True
                if not replaced:
                    size -= 1
                    replace_top(heap, size, heap[size])
                continue
            place = first_not_below(critical_edges, 0, critical_edges.size, top)
            earlier = owner[place]
            size -= 1
            replace_top(heap, size, heap[size])
            if earlier >= 0:
                while size + ends[earlier + 1] - ends[earlier] > heap.size:
                    heap = grown(heap, size)
                for i in range(ends[earlier], ends[earlier + 1]):
                    size = push(heap, size, stored[i])
                continue
            owner[place] = column
            births[count] = top
            deaths[count] = square
            count += 1
            while stored_count + size > stored.size:
                stored = grown(stored, stored_count)
            rest = np.sort(heap[:size])
            i = 0
            while i < size:
                if i + 1 < size and rest[i] == rest[i + 1]:
                    i += 2
                    continue
                stored[stored_count] = rest[i]
                stored_count += 1
                i += 1
            break
        ends[column + 1] = stored_count
    return births[:count], deaths[:count]
