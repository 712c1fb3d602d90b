# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Components and voids: persistence in dimensions 0 and 2 with union-find over the discrete gradient.

Components merge at critical edges in rising order. Voids are the same thing upside down: going down through
the critical squares, the cubes on both sides of a square merge (and cubes merge with the outside).
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel
from topomae.topology.lower_star import direction_steps
from topomae.topology.octahedron import WITH_VERTEX
from topomae.topology.voxel_order import higher, voxel_of


@kernel(forceinline=True)
def root_of(parent, item):
    """The item's root in a union-find forest, halving the path on the way."""
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item


@kernel
def pair_components(keys, row, plane, vertex_to, edge_state, critical_edges):
    """Persistence pairs of dimension 0.

    Args:
        keys: see `padded_keys`.
        row, plane: steps in the padded index along the middle and the first axis.
        vertex_to: from `discrete_gradient`; used as union-find forest and changed.
        edge_state: from `discrete_gradient`, as bytes; edges that merge components become WITH_VERTEX,
            because they can no longer be the birth of a loop.
        critical_edges: sorted codes.

    Returns:
        Padded voxels of birth and of death, int32.
    """
    steps = direction_steps(row, plane)
    births = np.empty(critical_edges.size, np.int32)
    deaths = np.empty(critical_edges.size, np.int32)
    count = 0
    for i in range(critical_edges.size):
        direction = critical_edges[i] & 7
        voxel = voxel_of(critical_edges[i])
        older = root_of(vertex_to, voxel)
        younger = root_of(vertex_to, voxel + steps[direction])
        if older == younger:
            continue
        if higher(keys, older, younger):
            older, younger = younger, older
        vertex_to[younger] = older
        births[count] = younger
        deaths[count] = voxel
        count += 1
        edge_state[8 * voxel + direction] = 8 * WITH_VERTEX + (edge_state[8 * voxel + direction] & 7)
    return births[:count], deaths[:count]


@kernel(forceinline=True)
def _cube_top(keys, cube, row, plane):
    """The highest voxel of a cube; for the outside, cube 0, a voxel of the border, which is above all."""
    top = cube
    if cube == 0:
        return top
    for step in (1, row, row + 1, plane, plane + 1, plane + row, plane + row + 1):
        if higher(keys, cube + step, top):
            top = cube + step
    return top


@kernel
def pair_voids(keys, row, plane, cube_to, critical_squares):
    """Persistence pairs of dimension 2.

    Args:
        keys: see `padded_keys`.
        row, plane: steps in the padded index along the middle and the first axis.
        cube_to: from `discrete_gradient`; used as union-find forest and changed.
        critical_squares: sorted codes.

    Returns:
        Padded voxels of birth and of death, int32, and the sorted codes of the squares that enclose no void:
        these end loops.
    """
    steps = direction_steps(row, plane)
    births = np.empty(critical_squares.size, np.int32)
    deaths = np.empty(critical_squares.size, np.int32)
    rest = np.empty(critical_squares.size, np.int64)
    count = 0
    rest_start = critical_squares.size
    for i in range(critical_squares.size - 1, -1, -1):
        code = critical_squares[i]
        voxel = voxel_of(code)
        first = (code >> 3) & 7
        second = code & 7
        across = 3 - (first >> 1) - (second >> 1)  # axis across the square
        cube = np.int64(voxel)
        if first & 1:
            cube += steps[first]
        if second & 1:
            cube += steps[second]
        longer = root_of(cube_to, cube)
        shorter = root_of(cube_to, cube + steps[2 * across + 1])
        if longer == shorter:
            rest_start -= 1
            rest[rest_start] = code
            continue
        longer_top = _cube_top(keys, longer, row, plane)
        shorter_top = _cube_top(keys, shorter, row, plane)
        if higher(keys, shorter_top, longer_top):
            longer, shorter = shorter, longer
            shorter_top = longer_top
        cube_to[shorter] = longer
        births[count] = voxel
        deaths[count] = shorter_top
        count += 1
    return births[:count], deaths[:count], rest[rest_start:]
