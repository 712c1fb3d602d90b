"""Exact sublevel persistence of a volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from topomae.errors import BadDataError, BadSettingError
from topomae.topology import compiled
from topomae.topology.components import pair_components, pair_voids
from topomae.topology.diagram import DIMENSIONS, Diagram, diagram_from_ranks
from topomae.topology.loops import pair_loops
from topomae.topology.lower_star import discrete_gradient
from topomae.topology.voxel_order import padded_ranks, sort_voxels

BACKENDS = ("auto", "numba", "gudhi")


def persistence(
    volume: np.ndarray, dims: Iterable[int] = DIMENSIONS, backend: str = "auto", threads: int = 1
) -> Diagram:
    """Components, loops and voids of all sublevel sets of a volume, with the voxels of birth and death.

    Voxels are the vertices of the cubical complex and a cell has the intensity of its brightest voxel
    (V-construction), so that dark structures connect through the 6 face neighbours and bright ones, around
    them, through all 26. Homology has coefficients modulo 2. Equal intensities are ordered by voxel index
    (C order), which makes the result, voxels included, the same on every run and with every backend.
    For bright structures ask for the diagrams of the negated volume (see `reading.superlevel_persistence`).

    Args:
        volume: (D, H, W) array or CPU tensor, finite; computed on as float32.
        dims: the dimensions wanted among 0 (components), 1 (loops) and 2 (voids).
        backend: "numba" (compiled here), "gudhi" (reference, about 30 times slower) or "auto": numba if
            installed.
        threads: threads for this one volume. Several volumes are better computed in a thread each.

    Returns:
        The diagram; dimensions not asked for are empty.

    Raises:
        BadDataError: the volume is not three-dimensional, is empty or has NaN or infinite voxels.
        BadSettingError: unknown dimension or backend.
    """
    dims = checked_dimensions(dims)
    volume = checked_volume(volume)
    if backend not in BACKENDS:
        raise BadSettingError(
            f"unknown persistence backend '{backend}'", hint=f"Use one of {', '.join(BACKENDS)}."
        )
    if backend == "auto":
        backend = "numba" if compiled.HAVE_NUMBA else "gudhi"
    if backend == "gudhi":
        from topomae.topology.reference import gudhi_rank_pairs

        if not compiled.HAVE_NUMBA:
            compiled.say_numba_is_missing()
        order, births, deaths = gudhi_rank_pairs(volume)
    else:
        if not compiled.HAVE_NUMBA:
            raise BadSettingError("numba is not installed", hint="Install numba or use the backend gudhi.")
        order, births, deaths = _rank_pairs(volume, with_loops=1 in dims, threads=max(1, threads))
    nothing = np.empty(0, np.int32)
    births = [births[dim] if dim in dims else nothing for dim in DIMENSIONS]
    deaths = [deaths[dim] if dim in dims else nothing for dim in DIMENSIONS]
    return diagram_from_ranks(volume, order, births, deaths)


def checked_dimensions(dims: Iterable[int]) -> tuple[int, ...]:
    """The dimensions as a sorted tuple.

    Raises:
        BadSettingError: one of them is not 0, 1 or 2.
    """
    dims = tuple(sorted(set(dims)))
    if not set(dims) <= set(DIMENSIONS):
        raise BadSettingError(
            f"dimensions {dims} are not all among 0, 1 and 2", hint="Volumes have no others."
        )
    return dims


def checked_volume(volume: np.ndarray, name: str = "the volume") -> np.ndarray:
    """The volume as a C-contiguous float32 array.

    Args:
        volume: (D, H, W).
        name: what to call it in a message.

    Raises:
        BadDataError: not three-dimensional, empty, or not finite.
    """
    volume = np.ascontiguousarray(volume, dtype=np.float32)
    if volume.ndim != 3 or volume.size == 0:
        raise BadDataError(f"{name} of shape {volume.shape} is not three-dimensional", hint="Give (D, H, W).")
    if not np.isfinite(volume).all():
        broken = int(volume.size - np.isfinite(volume).sum())
        raise BadDataError(
            f"{name} has {broken} NaN or infinite voxels, which have no topology",
            hint="A reconstruction like this means that training diverged: lower the learning rate.",
        )
    return volume


def _rank_pairs(
    volume: np.ndarray, *, with_loops: bool, threads: int
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Order of the voxels and, per dimension, ranks of birth and death, by the compiled functions."""
    depth, height, width = volume.shape
    order = sort_voxels(volume.reshape(-1))
    ranks, at_rank = padded_ranks(order, depth, height, width)
    shape = np.array([depth + 2, height + 2, width + 2])
    row, plane = width + 2, (height + 2) * (width + 2)

    vertex_to = np.empty(ranks.size, np.int32)
    edge_state = np.empty(6 * ranks.size, np.uint8)
    cube_to = np.zeros(ranks.size, np.int32)
    bounds = np.linspace(1, depth + 1, min(threads, depth) + 1).astype(int)
    slabs = _together(
        [
            lambda a=a, b=b: discrete_gradient(ranks, shape, a, b, vertex_to, edge_state, cube_to)
            for a, b in pairwise(bounds)
        ],
        threads,
    )
    edges = np.sort(np.concatenate([slab[0] for slab in slabs]))
    squares = np.sort(np.concatenate([slab[1] for slab in slabs]))

    (births0, deaths0), (births2, deaths2, rest) = _together(
        [
            lambda: pair_components(ranks, at_rank, row, plane, vertex_to, edge_state, edges),
            lambda: pair_voids(ranks, at_rank, row, plane, cube_to, squares),
        ],
        threads,
    )
    births1 = deaths1 = np.empty(0, np.int32)
    if with_loops:
        births1, deaths1 = pair_loops(ranks, at_rank, row, plane, edge_state, edges, rest)
    return order, [births0, births1, births2], [deaths0, deaths1, deaths2]


def _together(tasks: list[Callable], threads: int) -> list:
    """Results of several tasks, run side by side if more than one thread is allowed."""
    if threads == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda task: task(), tasks))
