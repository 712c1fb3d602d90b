# ruff: noqa: ANN001  (compiled functions: numba infers the types, docstrings name them)
"""How the cells around one voxel are paired: all cases, worked out once.

The link of a voxel is an octahedron: 6 corners stand for the edges to its neighbours, 12 sides for squares
    and
8 faces for cubes. Of these, the cells that belong to the voxel's lower star form a set that is closed: a side
comes with both of its corners, a face with its three sides. Sets are kept as bits.

Within a lower star, a spanning forest of the corners pairs each edge (except the roots of the trees) with
the square through which it is reached; a forest of the faces over the sides left pairs squares with cubes.
The root of the first tree is paired with the voxel itself. Everything unpaired is critical, and there is no
less of it (tree and co-tree of a planar graph). Both forests depend on sides and faces alone, so that a
table answers for every voxel: 4096 sets of sides, and 12,000 sets of sides with faces.

Idea of treating lower stars one by one: Robins, Wood, Sheppard, "Theory and algorithms for constructing
    discrete
Morse complexes from grayscale digital images", IEEE TPAMI 33(8), 2011.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from topomae.topology.compiled import kernel

# What an edge is paired with: a direction 0..5 (the square spanned with that direction), or one of these.
WITH_VERTEX = 6
CRITICAL = 7

# Directions, the corners: + and - along the last, the middle and the first axis of the volume.
_SIDES = [(a, b) for a, b in itertools.combinations(range(6), 2) if a >> 1 != b >> 1]
_SIDE_OF = {frozenset(pair): side for side, pair in enumerate(_SIDES)}
_FACES = [(x, 2 + y, 4 + z) for z in (0, 1) for y in (0, 1) for x in (0, 1)]

SIDE_CORNERS = np.array(_SIDES)
FACE_CORNERS = np.array(_FACES)
FACE_SIDES = np.array([[_SIDE_OF[frozenset(p)] for p in itertools.combinations(f, 2)] for f in _FACES])
SIDE_FACES = np.array([[face for face in range(8) if side in FACE_SIDES[face]] for side in range(12)])
# For every corner its four sides, each with the corner at the other end.
CORNER_SIDES = np.array([[(_SIDE_OF[frozenset((a, b))], b) for b in range(6) if a >> 1 != b >> 1] for a in range(6)])


class Pairings(NamedTuple):
    """The tables; index is a set of sides unless another is named.

    Attributes:
        possible_sides: by set of corners, the sides whose corners are all there (uint16).
        possible_faces: the faces whose sides are all there (uint8).
        touched: the corners that are ends of sides (uint8).
        roots: of these, the roots of the forest's trees, except the first (uint8).
        edges: byte d is 8 * (what the edge in direction d is paired with) + its order in the forest (uint64).
        first_case: where the cases with these sides start in the next two (int32).
        squares: by case, the critical squares as a set of sides (uint16).
        cubes: by case, four bits for each face: the face to which the gradient goes from its cube, itself if
            the cube is critical (uint32).
        packed: by 256 * (possible faces) + (faces there), the number of the case after the first (uint8).
        count: by set of corners, how many they are (uint8).
        lowest: by set of corners or faces, the first of them (int8).
    """

    possible_sides: np.ndarray
    possible_faces: np.ndarray
    touched: np.ndarray
    roots: np.ndarray
    edges: np.ndarray
    first_case: np.ndarray
    squares: np.ndarray
    cubes: np.ndarray
    packed: np.ndarray
    count: np.ndarray
    lowest: np.ndarray


@lru_cache(maxsize=1)
def pairings() -> Pairings:
    """All tables, about 200 kB, worked out on the first call in some milliseconds."""
    possible_sides = _closed_sets(np.arange(64), SIDE_CORNERS).astype(np.uint16)
    possible_faces = _closed_sets(np.arange(4096), FACE_SIDES).astype(np.uint8)
    touched, roots, edges, left = _forests()
    cases = 1 << np.array([bin(faces).count("1") for faces in possible_faces])
    first_case = np.concatenate([[0], np.cumsum(cases)])
    packed = _packed_sets()
    squares, cubes = _face_forests(possible_faces, first_case, packed, left)
    count = np.array([bin(corners).count("1") for corners in range(64)], np.uint8)
    lowest = np.array([(cells & -cells).bit_length() - 1 for cells in range(256)], np.int8)
    return Pairings(
        possible_sides, possible_faces, touched, roots, edges, first_case[:-1].astype(np.int32),
        squares, cubes, packed, count, lowest,
    )  # fmt: skip


def _closed_sets(sets: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """For every set of small cells, the set of larger cells all of whose parts are in it."""
    masks = (1 << parts).sum(axis=1)
    there = (sets[:, None] & masks) == masks
    return (there << np.arange(len(parts))).sum(axis=1)


@kernel
def _packed_sets():
    """At 256 * whole + part, the bits of `part` at the places of the bits of `whole`: (65536,) uint8."""
    packed = np.zeros(1 << 16, np.uint8)
    for whole in range(256):
        for part in range(256):
            place = 0
            for bit in range(8):
                if (whole >> bit) & 1:
                    packed[(whole << 8) | part] |= ((part >> bit) & 1) << place
                    place += 1
    return packed


@kernel
def _forests():
    """By set of sides: corners touched, roots except the first, states of edges, sides left over."""
    touched = np.zeros(4096, np.uint8)
    roots = np.zeros(4096, np.uint8)
    edges = np.zeros(4096, np.uint64)
    left = np.zeros(4096, np.uint16)
    queue = np.empty(6, np.int64)
    for sides in range(4096):
        for side in range(12):
            if (sides >> side) & 1:
                touched[sides] |= (1 << SIDE_CORNERS[side, 0]) | (1 << SIDE_CORNERS[side, 1])
        seen = 0
        order = 0
        left[sides] = sides
        for root in range(6):
            if not (touched[sides] >> root) & 1 or (seen >> root) & 1:
                continue
            state = WITH_VERTEX
            if order > 0:
                state = CRITICAL
                roots[sides] |= 1 << root
            edges[sides] |= np.uint64(8 * state + order) << np.uint64(8 * root)
            order += 1
            seen |= 1 << root
            queue[0] = root
            head = 0
            tail = 1
            while head < tail:
                corner = queue[head]
                head += 1
                for k in range(4):
                    side = CORNER_SIDES[corner, k, 0]
                    other = CORNER_SIDES[corner, k, 1]
                    if (sides >> side) & 1 and not (seen >> other) & 1:
                        seen |= 1 << other
                        left[sides] &= ~(1 << side)
                        edges[sides] |= np.uint64(8 * corner + order) << np.uint64(8 * other)
                        order += 1
                        queue[tail] = other
                        tail += 1
    return touched, roots, edges, left


@kernel
def _face_forests(possible_faces, first_case, packed, left):
    """For every case: critical squares, and what cubes are paired with.

    The forest grows from the faces that are not there (their cubes belong to higher voxels). Where all eight
    are, there is nothing to grow from, and one cube is critical: a maximum.
    """
    squares = np.zeros(first_case[-1], np.uint16)
    cubes = np.zeros(first_case[-1], np.uint32)
    queue = np.empty(8, np.int64)
    for sides in range(4096):
        for faces in range(256):
            if faces & ~possible_faces[sides]:
                continue
            case = first_case[sides] + packed[(np.int64(possible_faces[sides]) << 8) | faces]
            rest = np.int64(left[sides])
            paired = np.arange(8)
            done = ~faces & 255
            tail = 0
            if done == 0:
                done = 1
                queue[0] = 0
                tail = 1
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
                    other = SIDE_FACES[side, 0] + SIDE_FACES[side, 1] - face
                    if (rest >> side) & 1 and not (done >> other) & 1:
                        done |= 1 << other
                        rest &= ~(1 << side)
                        paired[other] = face
                        queue[tail] = other
                        tail += 1
            squares[case] = rest
            for face in range(8):
                cubes[case] |= np.uint32(paired[face] << (4 * face))
    return squares, cubes
