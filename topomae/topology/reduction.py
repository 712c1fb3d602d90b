"""From a volume to pairs of critical cells, by the compiled functions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from topomae.topology.components import pair_components, pair_voids
from topomae.topology.loops import pair_loops
from topomae.topology.lower_star import discrete_gradient
from topomae.topology.octahedron import pairings
from topomae.topology.voxel_order import LARGEST_SIZE, padded_keys, voxel_of

__all__ = ["LARGEST_SIZE", "ReducedVolume", "reduce_volume"]

_VOXELS_PER_THREAD = 100_000  # with fewer, starting a thread costs more than it saves


@dataclass(frozen=True, eq=False)
class ReducedVolume:
    """A volume's critical cells, components and voids paired, loops ready to be.

    Attributes:
        shape: (D, H, W) of the volume.
        keys: see `padded_keys`.
        edge_state: bytes, see `discrete_gradient` and `pair_components`.
        critical_edges: sorted codes.
        squares: sorted codes of the critical squares that end loops.
        components, voids: padded voxels of birth and of death.
    """

    shape: tuple[int, int, int]
    keys: np.ndarray
    edge_state: np.ndarray
    critical_edges: np.ndarray
    squares: np.ndarray
    components: tuple[np.ndarray, np.ndarray]
    voids: tuple[np.ndarray, np.ndarray]

    @property
    def row(self) -> int:
        """Step in the padded index along the middle axis."""
        return self.shape[2] + 2

    @property
    def plane(self) -> int:
        """Step in the padded index along the first axis."""
        return (self.shape[1] + 2) * (self.shape[2] + 2)

    @cached_property
    def loops(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes of the edges that give birth to loops, and of the squares that end them."""
        return pair_loops(self.keys, self.row, self.plane, self.edge_state, self.critical_edges, self.squares)

    def voxel_pairs(self, with_loops: bool = True) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Per dimension, flat C-order voxels of birth and of death."""
        nothing = np.empty(0, np.int64)
        edges, squares = self.loops if with_loops else (nothing, nothing)
        births = [self.components[0], voxel_of(edges), self.voids[0]]
        deaths = [self.components[1], voxel_of(squares), self.voids[1]]
        return [self.unpadded(voxels) for voxels in births], [self.unpadded(voxels) for voxels in deaths]

    def unpadded(self, voxels: np.ndarray) -> np.ndarray:
        """Flat C-order index in the volume for flat indices in the padded volume."""
        z, rest = np.divmod(np.asarray(voxels, np.int64), self.plane)
        y, x = np.divmod(rest, self.row)
        return ((z - 1) * self.shape[1] + y - 1) * self.shape[2] + x - 1


def reduce_volume(volume: np.ndarray, threads: int = 1) -> ReducedVolume:
    """Pair cells inside lower stars, then components and voids.

    Args:
        volume: (D, H, W) float32, finite, C-contiguous, of at most `LARGEST_SIZE` padded voxels.
        threads: slabs of slices are worked on side by side, then components beside voids.

    Returns:
        The reduced volume; the number of threads changes nothing.
    """
    depth, height, width = volume.shape
    keys = padded_keys(volume)
    shape = np.array([depth + 2, height + 2, width + 2])
    row, plane = width + 2, (height + 2) * (width + 2)

    vertex_to = np.empty(keys.size, np.int32)
    edge_state = np.empty(keys.size, np.uint64)
    cube_to = np.zeros(keys.size, np.int32)
    tables = pairings()
    threads = max(1, min(threads, volume.size // _VOXELS_PER_THREAD))
    bounds = np.linspace(1, depth + 1, min(threads, depth) + 1).astype(int)
    slabs = _together(
        [
            lambda a=a, b=b: discrete_gradient(keys, shape, a, b, vertex_to, edge_state, cube_to, tables)
            for a, b in pairwise(bounds)
        ]
    )
    critical_edges = np.sort(np.concatenate([edges for edges, _ in slabs]))
    critical_squares = np.sort(np.concatenate([squares for _, squares in slabs]))

    edge_state = edge_state.view(np.uint8)
    tasks = [
        lambda: pair_components(keys, row, plane, vertex_to, edge_state, critical_edges),
        lambda: pair_voids(keys, row, plane, cube_to, critical_squares),
    ]
    components, (void_births, void_deaths, squares) = _together(tasks) if threads > 1 else [t() for t in tasks]
    return ReducedVolume(
        volume.shape, keys, edge_state, critical_edges, squares, components, (void_births, void_deaths)
    )


def _together(tasks: list[Callable]) -> list:
    """Results of several tasks, each run in a thread of its own."""
    if len(tasks) == 1:
        return [tasks[0]()]
    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(lambda task: task(), tasks))
