# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Discrete gradient of a volume, one lower star at a time.

The cells of the volume are its voxels (vertices) and the edges, squares and cubes between neighbouring
voxels. A cell belongs to its voxel of highest rank; the cells that belong to one voxel are its *lower star*.
Inside a lower star cells are paired (voxel with edge, edge with square, square with cube); a pair changes
nothing in the topology, so that only the unpaired, *critical*, cells matter for persistence.

The lower star of a voxel is seen in its link, an octahedron: 6 corners (directions to neighbours, standing
    for
edges), 12 sides (squares) and 8 faces (cubes). A spanning forest of the corners pairs edges with squares,
and a forest of the faces over the remaining sides pairs squares with cubes (tree and co-tree), which is
optimal here. Idea: Robins, Wood, Sheppard, "Theory and algorithms for constructing discrete Morse complexes
from grayscale digital images", IEEE TPAMI 33(8), 2011.

Directions are numbered 0..5: + and - along the last, the middle and the first axis of the volume.
"""

from __future__ import annotations

import itertools

import numpy as np

from topomae.topology.compiled import kernel

# What an edge is paired with: a direction 0..5 (the square spanned with that direction), or one of these.
WITH_VERTEX = 6
CRITICAL = 7

_SIDES = [(a, b) for a, b in itertools.combinations(range(6), 2) if a >> 1 != b >> 1]
_SIDE_OF = {frozenset(pair): side for side, pair in enumerate(_SIDES)}
_FACES = [(x, 2 + y, 4 + z) for z in (0, 1) for y in (0, 1) for x in (0, 1)]

SIDE_FIRST = np.array([a for a, _ in _SIDES])
SIDE_SECOND = np.array([b for _, b in _SIDES])
FACE_CORNERS = np.array(_FACES)
FACE_SIDES = np.array([[_SIDE_OF[frozenset(p)] for p in itertools.combinations(f, 2)] for f in _FACES])
SIDE_FACES = np.array([[face for face in range(8) if side in FACE_SIDES[face]] for side in range(12)])
# For every corner its four sides, each with the corner at the other end.
CORNER_SIDES = np.array(
    [[(_SIDE_OF[frozenset((a, b))], b) for b in range(6) if a >> 1 != b >> 1] for a in range(6)]
)


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
def discrete_gradient(ranks, shape, first_slice, last_slice, vertex_to, edge_state, cube_to):
    """Pair the cells of all lower stars in some slices of a volume.

    Slabs of slices touch different cells, so that several threads may each do one.

    Args:
        ranks: padded ranks (see `padded_ranks`).
        shape: (3,) padded shape.
        first_slice, last_slice: padded slices to do, first included, last excluded.
        vertex_to: int32 per padded voxel; written: the voxel that its gradient flows to, itself at a minimum.
        edge_state: uint8 per padded voxel and direction; written for edges of lower stars:
            8 * (what the edge is paired with) + (order of the edge inside its lower star).
        cube_to: int32 per padded voxel (the cube above it in all three axes), all 0; written: the cube that
            the dual gradient flows to, itself at a maximum; 0 stands for the outside.

    Returns:
        Unsorted keys of the critical edges, rank * 64 + order * 8 + direction, and of the critical squares,
        rank * 64 + direction * 8 + direction.
    """
    row = shape[2]
    plane = shape[1] * shape[2]
    steps = direction_steps(row, plane)
    side_steps = np.empty(12, np.int64)
    for side in range(12):
        side_steps[side] = steps[SIDE_FIRST[side]] + steps[SIDE_SECOND[side]]
    face_steps = np.empty(8, np.int64)
    cube_steps = np.empty(
        8, np.int64
    )  # from a voxel to the lowest corner of the cube behind a face of its link
    for face in range(8):
        face_steps[face] = 0
        cube_steps[face] = 0
        for k in range(3):
            corner = FACE_CORNERS[face, k]
            face_steps[face] += steps[corner]
            if corner & 1:
                cube_steps[face] += steps[corner]
    edges = np.empty(4096, np.int64)
    squares = np.empty(4096, np.int64)
    edge_count = 0
    square_count = 0
    queue = np.empty(16, np.int64)

    for z in range(first_slice, last_slice):
        for y in range(1, shape[1] - 1):
            for x in range(1, shape[2] - 1):
                voxel = z * plane + y * row + x
                rank = ranks[voxel]

                # The lower link, as sets of bits.
                corners = 0
                lowest = rank
                steepest = -1
                for corner in range(6):
                    neighbour = ranks[voxel + steps[corner]]
                    if neighbour < rank:
                        corners |= 1 << corner
                        if neighbour < lowest:
                            lowest = neighbour
                            steepest = corner
                if corners == 0:
                    vertex_to[voxel] = voxel
                    continue
                vertex_to[voxel] = voxel + steps[steepest]
                sides = 0
                for side in range(12):
                    if (
                        (corners >> SIDE_FIRST[side]) & 1
                        and (corners >> SIDE_SECOND[side]) & 1
                        and ranks[voxel + side_steps[side]] < rank
                    ):
                        sides |= 1 << side
                faces = 0
                if sides:
                    for face in range(8):
                        if (
                            (sides >> FACE_SIDES[face, 0]) & 1
                            and (sides >> FACE_SIDES[face, 1]) & 1
                            and (sides >> FACE_SIDES[face, 2]) & 1
                            and ranks[voxel + face_steps[face]] < rank
                        ):
                            faces |= 1 << face

                if edge_count + 6 > edges.size:
                    edges = grown(edges, edge_count)
                if square_count + 12 > squares.size:
                    squares = grown(squares, square_count)

                # Spanning forest over the corners: the root is paired with the voxel, roots of further trees
                # are critical, all others are paired with the side through which they are reached.
                seen = 0
                forest = 0
                order = 0
                root = steepest
                while True:
                    seen |= 1 << root
                    if root == steepest:
                        edge_state[6 * voxel + root] = 8 * WITH_VERTEX + order
                    else:
                        edge_state[6 * voxel + root] = 8 * CRITICAL + order
                        edges[edge_count] = (np.int64(rank) << 6) | (order << 3) | root
                        edge_count += 1
                    order += 1
                    head = 0
                    tail = 1
                    queue[0] = root
                    while head < tail:
                        corner = queue[head]
                        head += 1
                        for k in range(4):
                            side = CORNER_SIDES[corner, k, 0]
                            other = CORNER_SIDES[corner, k, 1]
                            if (sides >> side) & 1 and not (seen >> other) & 1:
                                seen |= 1 << other
                                forest |= 1 << side
                                edge_state[6 * voxel + other] = (corner << 3) | order
                                order += 1
                                queue[tail] = other
                                tail += 1
                    unseen = corners & ~seen
                    if unseen == 0:
                        break
                    root = 0
                    while not (unseen >> root) & 1:
                        root += 1

                # Forest over the faces through the remaining sides, grown from the faces that are not here
                # (higher cubes); where the whole link is here, one cube is critical: a maximum.
                remaining = sides & ~forest
                if faces:
                    done = ~faces & 255
                    tail = 0
                    if done == 0:
                        done = 1
                        queue[0] = 0
                        tail = 1
                        cube_to[voxel + cube_steps[0]] = voxel + cube_steps[0]
                    else:
                        for face in range(8):
                            if (done >> face) & 1:
                                queue[tail] = face
                                tail += 1
                    head = 0
                    while head < tail:
                        face = queue[head]
                        head += 1
                        for k in range(3):
                            side = FACE_SIDES[face, k]
                            if (remaining >> side) & 1:
                                other = SIDE_FACES[side, 0]
                                if other == face:
                                    other = SIDE_FACES[side, 1]
                                if not (done >> other) & 1:
                                    done |= 1 << other
                                    remaining &= ~(1 << side)
                                    cube_to[voxel + cube_steps[other]] = voxel + cube_steps[face]
                                    queue[tail] = other
                                    tail += 1
                side = 0
                while remaining:
                    if remaining & 1:
                        squares[square_count] = (
                            (np.int64(rank) << 6) | (SIDE_FIRST[side] << 3) | SIDE_SECOND[side]
                        )
                        square_count += 1
                    remaining >>= 1
                    side += 1
    return edges[:edge_count], squares[:square_count]
