"""From a volume to pairs of critical cells, by the compiled functions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from topomae.topology.components import pair_components, pair_voids
from topomae.topology.loops import LARGEST_SIZE, pair_loops
from topomae.topology.lower_star import discrete_gradient
from topomae.topology.octahedron import pairings
from topomae.topology.voxel_order import padded_ranks, sort_voxels

__all__ = ["LARGEST_SIZE", "ReducedVolume", "reduce_volume"]

_VOXELS_PER_THREAD = 100_000  # with fewer, starting a thread costs more than it saves


@dataclass(frozen=True, eq=False)
class ReducedVolume:
    """A volume's critical cells, components and voids paired, loops ready to be.

    Attributes:
        order: (n,) flat voxel index at every rank.
        ranks, at_rank: see `padded_ranks`.
        row, plane: steps in the padded index along the middle and the first axis.
        edge_state: bytes, see `discrete_gradient` and `pair_components`.
        critical_edges: sorted keys.
        squares: sorted keys of the critical squares that end loops.
        components, voids: ranks of birth and of death.
    """

    order: np.ndarray
    ranks: np.ndarray
    at_rank: np.ndarray
    row: int
    plane: int
    edge_state: np.ndarray
    critical_edges: np.ndarray
    squares: np.ndarray
    components: tuple[np.ndarray, np.ndarray]
    voids: tuple[np.ndarray, np.ndarray]

    @cached_property
    def loops(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys of the edges that give birth to loops, and of the squares that end them."""
        return pair_loops(
            self.ranks, self.at_rank, self.row, self.plane, self.edge_state, self.critical_edges, self.squares
        )

    def rank_pairs(self, with_loops: bool = True) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Order of the voxels and, per dimension, ranks of birth and of death."""
        nothing = np.empty(0, np.int64)
        edges, squares = self.loops if with_loops else (nothing, nothing)
        births = [self.components[0], edges >> 6, self.voids[0]]
        deaths = [self.components[1], squares >> 6, self.voids[1]]
        return self.order, births, deaths


def reduce_volume(volume: np.ndarray, threads: int = 1) -> ReducedVolume:
    """Sort the voxels, pair cells inside lower stars, pair components and voids.

    Args:
        volume: (D, H, W) float32, finite, C-contiguous, of fewer than `LARGEST_SIZE` padded voxels.
        threads: slabs of slices are worked on side by side, then components beside voids.

    Returns:
        The reduced volume; the number of threads changes nothing.
    """
    depth, height, width = volume.shape
    order = sort_voxels(volume.reshape(-1))
    ranks, at_rank = padded_ranks(order, depth, height, width)
    shape = np.array([depth + 2, height + 2, width + 2])
    row, plane = width + 2, (height + 2) * (width + 2)

    vertex_to = np.empty(ranks.size, np.int32)
    edge_state = np.empty(ranks.size, np.uint64)
    cube_to = np.zeros(ranks.size, np.int32)
    tables = pairings()
    threads = max(1, min(threads, volume.size // _VOXELS_PER_THREAD))
    bounds = np.linspace(1, depth + 1, min(threads, depth) + 1).astype(int)
    slabs = _together(
        [
            lambda a=a, b=b: discrete_gradient(ranks, shape, a, b, vertex_to, edge_state, cube_to, tables)
            for a, b in pairwise(bounds)
        ]
    )
    critical_edges = np.sort(np.concatenate([edges for edges, _ in slabs]))
    critical_squares = np.sort(np.concatenate([squares for _, squares in slabs]))

    edge_state = edge_state.view(np.uint8)
    tasks = [
        lambda: pair_components(ranks, at_rank, row, plane, vertex_to, edge_state, critical_edges),
        lambda: pair_voids(ranks, at_rank, row, plane, cube_to, critical_squares),
    ]
    components, (void_births, void_deaths, squares) = _together(tasks) if threads > 1 else [t() for t in tasks]
    return ReducedVolume(
        order,
        ranks,
        at_rank,
        row,
        plane,
        edge_state,
        critical_edges,
        squares,
        components,
        (void_births, void_deaths),
    )


def _together(tasks: list[Callable]) -> list:
    """Results of several tasks, each run in a thread of its own."""
    if len(tasks) == 1:
        return [tasks[0]()]
    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(lambda task: task(), tasks))
