# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Loops: persistence in dimension 1 by reducing the boundaries of the squares left over from the voids.

A column starts as the four edges of its square. Its highest edge is taken off again and again: an edge paired
with a square is replaced by that square's other edges (it flows down the discrete gradient), an edge paired
with a voxel vanishes, a critical edge that an earlier column owns is replaced by the rest of that column, and
a critical edge that nobody owns is the birth of the loop that this square ends. Edges met twice cancel
(coefficients modulo 2).

The column at work is a heap, small enough to stay in the cache. An edge on it is one number: rank (28 bits),
order in its lower star (3), direction (3) and voxel (30), so that taking it off needs no look-up.
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel
from topomae.topology.lower_star import WITH_VERTEX, direction_steps, grown

LARGEST_SIZE = 2**28
"""Number of padded voxels that the numbers on the heap can name."""
_VOXEL_BITS = 30
_VOXEL = (1 << _VOXEL_BITS) - 1


@kernel
def _push(heap, size, key):
    """Put a key on the heap (largest on top); returns the new size."""
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if heap[above] >= key:
            break
        heap[place] = heap[above]
        place = above
    heap[place] = key
    return size + 1


@kernel
def _drop_top(heap, size):
    """Take the largest key off the heap; returns the new size."""
    size -= 1
    key = heap[size]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] > heap[below]:
            below += 1
        if heap[below] <= key:
            break
        heap[place] = heap[below]
        place = below
    heap[place] = key
    return size


@kernel
def _push_edge(heap, size, ranks, edge_state, voxel, direction):
    """Put an edge of a lower star on the heap, unless it is paired with a voxel and so bounds nothing."""
    state = np.int64(edge_state[6 * voxel + direction])
    if state >> 3 == WITH_VERTEX:
        return size
    order_and_direction = ((state & 7) << 3) | direction
    return _push(heap, size, ((np.int64(ranks[voxel]) << 6 | order_and_direction) << _VOXEL_BITS) | voxel)


@kernel
def _push_far_edge(heap, size, ranks, edge_state, steps, voxel, towards, along):
    """Put the edge of a square on the heap that starts one step `towards` and runs `along`."""
    start = voxel + steps[towards]
    end = start + steps[along]
    if ranks[start] > ranks[end]:
        return _push_edge(heap, size, ranks, edge_state, start, along)
    return _push_edge(heap, size, ranks, edge_state, end, along ^ 1)


@kernel
def pair_loops(ranks, at_rank, row, plane, edge_state, critical_edges, squares):
    """Persistence pairs of dimension 1.

    Args:
        ranks, at_rank: see `padded_ranks`.
        row, plane: steps in the padded index along the middle and the first axis.
        edge_state: from `discrete_gradient`, after `pair_components`.
        critical_edges: sorted keys.
        squares: sorted keys of the critical squares that enclose no void.

    Returns:
        Ranks of birth and of death, int32.
    """
    steps = direction_steps(row, plane)
    births = np.empty(squares.size, np.int32)
    deaths = np.empty(squares.size, np.int32)
    owner = np.full(critical_edges.size, -1, np.int32)
    heap = np.empty(1 << 12, np.int64)
    stored = np.empty(max(1024, 4 * squares.size), np.int64)  # the reduced columns, one after another
    ends = np.zeros(squares.size + 1, np.int64)
    stored_count = 0
    count = 0
    for column in range(squares.size):
        square = squares[column]
        voxel = np.int64(at_rank[square >> 6])
        first = (square >> 3) & 7
        second = square & 7
        size = _push_edge(heap, 0, ranks, edge_state, voxel, first)
        size = _push_edge(heap, size, ranks, edge_state, voxel, second)
        size = _push_far_edge(heap, size, ranks, edge_state, steps, voxel, first, second)
        size = _push_far_edge(heap, size, ranks, edge_state, steps, voxel, second, first)
        while size > 0:
            key = heap[0]
            size = _drop_top(heap, size)
            if size > 0 and heap[0] == key:
                size = _drop_top(heap, size)
                continue
            voxel = key & _VOXEL
            edge_key = key >> _VOXEL_BITS
            direction = edge_key & 7
            partner = np.int64(edge_state[6 * voxel + direction]) >> 3
            if partner < WITH_VERTEX:
                if size + 4 > heap.size:
                    heap = grown(heap, size)
                size = _push_edge(heap, size, ranks, edge_state, voxel, partner)
                size = _push_far_edge(heap, size, ranks, edge_state, steps, voxel, direction, partner)
                size = _push_far_edge(heap, size, ranks, edge_state, steps, voxel, partner, direction)
                continue
            edge = np.searchsorted(critical_edges, edge_key)
            earlier = owner[edge]
            if earlier >= 0:
                while size + ends[earlier + 1] - ends[earlier] > heap.size:
                    heap = grown(heap, size)
                for i in range(ends[earlier], ends[earlier + 1]):
                    size = _push(heap, size, stored[i])
                continue
            owner[edge] = column
            births[count] = edge_key >> 6
            deaths[count] = square >> 6
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
