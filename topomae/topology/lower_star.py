# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Discrete gradient of a volume, one lower star at a time.

The cells of the volume are its voxels (vertices) and the edges, squares and cubes between neighbouring
voxels. A cell belongs to its highest voxel; the cells that belong to one voxel are its *lower star*.
Inside a lower star cells are paired (voxel with edge, edge with square, square with cube); a pair changes
nothing in the topology, so that only the unpaired, *critical*, cells matter for persistence. Which cells a
voxel's lower star has is found row by row with plain comparisons; how to pair them is looked up (see
`octahedron`).
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel
from topomae.topology.octahedron import (
    CRITICAL,
    FACE_CORNERS,
    SIDE_CORNERS,
    WITH_VERTEX,
)
from topomae.topology.voxel_order import cell_code


@kernel
def grown(array, used):
    """The array's first `used` entries in an array of twice the size."""
    larger = np.empty(2 * array.size, array.dtype)
    larger[:used] = array[:used]
    return larger


@kernel
def direction_steps(row, plane):
    """(6,) step in the flat padded index for every direction."""
    return np.array([1, -1, row, -row, plane, -plane])


@kernel
def link_steps(row, plane):
    """Steps from a voxel to the far voxels of its squares (12,) and cubes (8,), and to its cubes' names (8,).

    A cube is named by its lowest corner.
    """
    steps = direction_steps(row, plane)
    to_square = np.zeros(12, np.int64)
    for side in range(12):
        to_square[side] = steps[SIDE_CORNERS[side, 0]] + steps[SIDE_CORNERS[side, 1]]
    to_cube = np.zeros(8, np.int64)
    to_name = np.zeros(8, np.int64)
    for face in range(8):
        for k in range(3):
            corner = FACE_CORNERS[face, k]
            to_cube[face] += steps[corner]
            if corner & 1:
                to_name[face] += steps[corner]
    return to_square, to_cube, to_name


@kernel(forceinline=True)
def _mark_lower(keys, start, step, bit, marks):
    """Set a bit for every voxel of a row whose neighbour at a step is lower."""
    here = keys[start : start + marks.size]
    there = keys[start + step : start + step + marks.size]
    if step < 0:  # of equal voxels the first is the lower one
        for x in range(marks.size):
            marks[x] |= (there[x] <= here[x]) << bit
    else:
        for x in range(marks.size):
            marks[x] |= (there[x] < here[x]) << bit


@kernel
def discrete_gradient(keys, shape, first_slice, last_slice, vertex_to, edge_state, cube_to, pairings):
    """Pair the cells of all lower stars in some slices of a volume.

    Slabs of slices touch different cells, so that several threads may each do one.

    Args:
        keys: see `padded_keys`.
        shape: (3,) padded shape.
        first_slice, last_slice: padded slices to do, first included, last excluded.
        vertex_to: int32 per padded voxel; written: the voxel that its gradient flows to, itself at a minimum.
        edge_state: uint64 per padded voxel; written: byte d tells of the edge in direction d, if it belongs
            to the voxel: 8 * (what it is paired with) + (its order inside the lower star).
        cube_to: int32 per padded voxel (the cube above it in all three axes), all 0; written: the cube that
            the dual gradient flows to, itself at a maximum; 0 stands for the outside.
        pairings: see `octahedron.pairings`.

    Returns:
        Unsorted codes of the critical edges, with order * 8 + direction, and of the critical squares, with
        direction * 8 + direction.
    """
    # Unpacked once: taking an array out of a tuple counts a reference every time.
    (
        sides_by,
        faces_by,
        touched_by,
        roots_by,
        edges_by,
        first_case,
        squares_by,
        cubes_by,
        packed,
        count,
        lowest,
    ) = pairings
    row = shape[2]
    plane = shape[1] * shape[2]
    steps = direction_steps(row, plane)
    to_square, to_cube, to_name = link_steps(row, plane)
    row_corners = np.empty(row - 2, np.uint8)
    row_sides = np.empty(row - 2, np.uint16)
    row_faces = np.empty(row - 2, np.uint8)
    critical_edges = np.empty(4096, np.int64)
    critical_squares = np.empty(4096, np.int64)
    edge_count = 0
    square_count = 0

    for z in range(first_slice, last_slice):
        for y in range(1, shape[1] - 1):
            start = z * plane + y * row + 1
            row_corners[:] = 0
            row_sides[:] = 0
            row_faces[:] = 0
            for corner in range(6):
                _mark_lower(keys, start, steps[corner], corner, row_corners)
            for side in range(12):
                _mark_lower(keys, start, to_square[side], side, row_sides)
            for face in range(8):
                _mark_lower(keys, start, to_cube[face], face, row_faces)

            for x in range(row - 2):
                voxel = start + x
                corners = np.int64(row_corners[x])
                if corners == 0:
                    vertex_to[voxel] = voxel
                    continue
                sides = np.int64(row_sides[x] & sides_by[corners])
                touched = np.int64(touched_by[sides])
                roots = np.int64(roots_by[sides])
                states = edges_by[sides]
                lonely = corners & ~touched
                if lonely:
                    # Edges without squares, each a tree of its own; the first of all is the voxel's.
                    order = np.int64(count[touched])
                    for corner in range(6):
                        if (lonely >> corner) & 1:
                            state = WITH_VERTEX
                            if order > 0:
                                state = CRITICAL
                                roots |= 1 << corner
                            states |= np.uint64(8 * state + order) << np.uint64(8 * corner)
                            order += 1
                edge_state[voxel] = states
                vertex_to[voxel] = voxel + steps[lowest[touched if touched else corners]]

                if roots:
                    if edge_count + 6 > critical_edges.size:
                        critical_edges = grown(critical_edges, edge_count)
                    for corner in range(6):
                        if (roots >> corner) & 1:
                            order = np.int64(states >> np.uint64(8 * corner)) & 7
                            critical_edges[edge_count] = cell_code(keys, voxel, (order << 3) | corner)
                            edge_count += 1
                if sides == 0:
                    continue
                possible_faces = np.int64(faces_by[sides])
                faces = np.int64(row_faces[x]) & possible_faces
                case = first_case[sides] + packed[(possible_faces << 8) | faces]
                squares = np.int64(squares_by[case])
                if squares:
                    if square_count + 12 > critical_squares.size:
                        critical_squares = grown(critical_squares, square_count)
                    for side in range(12):
                        if (squares >> side) & 1:
                            directions = (SIDE_CORNERS[side, 0] << 3) | SIDE_CORNERS[side, 1]
                            critical_squares[square_count] = cell_code(keys, voxel, directions)
                            square_count += 1
                cubes = np.int64(cubes_by[case])
                while faces:
                    face = lowest[faces]
                    faces &= faces - 1
                    towards = (cubes >> (4 * face)) & 15
                    cube_to[voxel + to_name[face]] = voxel + to_name[towards]
    return critical_edges[:edge_count], critical_squares[:square_count]
