"""The same results from established libraries: reference for the tests, and fallback where numba is
missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from topomae.topology.diagram import DIMENSIONS

if TYPE_CHECKING:
    from topomae.topology.matching import Points


def gudhi_voxel_pairs(volume: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Per dimension, flat C-order voxels of birth and of death, by gudhi.

    gudhi is given ranks instead of intensities, so that its intervals name voxels unambiguously, ties
    included.

    Args:
        volume: (D, H, W) float32, finite.

    Returns:
        Voxels of birth; voxels of death.
    """
    import gudhi

    order = np.argsort(volume.reshape(-1), kind="stable")
    ranks = np.empty(volume.size, np.float64)
    ranks[order] = np.arange(volume.size)
    # Axes of size one confuse gudhi's vertex construction, and add nothing.
    ranks = ranks.reshape([size for size in volume.shape if size > 1] or [1])
    nothing = np.empty(0, np.int64)
    if ranks.size == 1:
        return [nothing] * 3, [nothing] * 3
    cubes = gudhi.CubicalComplex(vertices=ranks)
    cubes.compute_persistence(homology_coeff_field=2)
    births, deaths = [], []
    for dim in DIMENSIONS:
        intervals = np.asarray(cubes.persistence_intervals_in_dimension(dim)).reshape(-1, 2)
        intervals = intervals[np.isfinite(intervals[:, 1])].astype(np.int64)
        births.append(order[intervals[:, 0]])
        deaths.append(order[intervals[:, 1]])
    return births, deaths


def solve_with_scipy(side: Points, other: Points) -> tuple[np.ndarray, float, bool]:
    """Matching of largest saving by scipy's sparse assignment solver.

    Args:
        side, other: the two diagrams, the smaller one first.

    Returns:
        (k, 2) pairs of indices, what they save (the solver is exact), True.
    """
    rows, columns = _saving_pairs(side, other)
    savings = 2 * side.height[rows] * other.height[columns]
    savings -= (side.position[rows] - other.position[columns]) ** 2
    count = len(side.position)
    # Every point may also take a partner of its own that saves nothing; costs are shifted to be positive.
    shift = 1.0 + savings.max(initial=0.0)
    costs = csr_array(
        (
            np.concatenate([shift - savings, np.full(count, shift)]),
            (
                np.concatenate([rows, np.arange(count)]),
                np.concatenate([columns, len(other.position) + np.arange(count)]),
            ),
        )
    )
    rows, columns = min_weight_full_bipartite_matching(costs)
    real = columns < len(other.position)
    pairs = np.stack([rows[real], columns[real]], axis=1)
    saved = 2 * side.height[pairs[:, 0]] * other.height[pairs[:, 1]]
    saved -= (side.position[pairs[:, 0]] - other.position[pairs[:, 1]]) ** 2
    return pairs, float(saved.sum()), True


def _saving_pairs(side: Points, other: Points) -> tuple[np.ndarray, np.ndarray]:
    """All pairs that save something, as two index arrays.

    Only points with (difference of positions)^2 < 2 h_p h_q do. The other side is split by height, by
    factors of two, so that a bisection among sorted positions finds few in vain.
    """
    all_rows, all_columns = [], []
    octave = np.floor(np.log2(other.height.max() / other.height))
    for value in np.unique(octave):
        members = np.flatnonzero(octave == value)
        members = members[np.argsort(other.position[members], kind="stable")]
        position = other.position[members]
        radius = np.sqrt(2 * side.height * other.height[members].max())
        first = np.searchsorted(position, side.position - radius)
        counts = np.searchsorted(position, side.position + radius) - first
        rows = np.repeat(np.arange(len(side.position)), counts)
        columns = np.repeat(first, counts) + np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        columns = members[columns]
        saves = 2 * side.height[rows] * other.height[columns] > (side.position[rows] - other.position[columns]) ** 2
        all_rows.append(rows[saves])
        all_columns.append(columns[saves])
    return np.concatenate(all_rows), np.concatenate(all_columns)
