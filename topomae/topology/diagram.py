"""Persistence diagrams of a volume, with the voxels where features are born and die."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from topomae.topology.voxel_order import intensity_keys

DIMENSIONS = (0, 1, 2)
"""Components, loops, voids."""


@dataclass(frozen=True, eq=False)
class Diagram:
    """What persistent homology found in one volume. Plain arrays: cheap to send between processes.

    Attributes:
        shape: (D, H, W) of the volume.
        voxels: one (n, 2) int32 array per dimension 0, 1, 2: the flat C-order index of the voxel at which
            each feature is born and of the voxel at which it dies. Sorted by birth, then by death.
            Empty for a dimension that was not asked for.
        values: one (n, 2) float64 array per dimension: the intensities there, birth < death.
        essential_voxel: flat index of the global minimum, birth of the one component that never dies.
        essential_value: its intensity.
    """

    shape: tuple[int, int, int]
    voxels: tuple[np.ndarray, np.ndarray, np.ndarray]
    values: tuple[np.ndarray, np.ndarray, np.ndarray]
    essential_voxel: int
    essential_value: float

    def __len__(self) -> int:
        """Number of features of all dimensions, the essential component not counted."""
        return sum(len(values) for values in self.values)

    def total_persistence(self, dims: Iterable[int] = DIMENSIONS) -> float:
        """Squared 2-Wasserstein distance to the empty diagram: the sum of (death - birth)^2 / 2.

        Args:
            dims: the dimensions to sum over.

        Returns:
            The sum, in squared intensity units.
        """
        return float(sum(np.sum(np.diff(self.values[dim], axis=1) ** 2) / 2 for dim in dims))


def diagram_from_voxels(volume: np.ndarray, births: list[np.ndarray], deaths: list[np.ndarray]) -> Diagram:
    """Turn pairs of voxels into a diagram; pairs that are born and die at the same intensity are dropped.

    Args:
        volume: (D, H, W) float32.
        births: per dimension the flat C-order voxels of birth.
        deaths: per dimension the flat C-order voxels of death, same lengths.

    Returns:
        The diagram, in an order that does not depend on how the pairs were found.
    """
    intensities = volume.reshape(-1)
    voxels, values = [], []
    for birth, death in zip(births, deaths, strict=True):
        pairs = np.stack([birth, death], axis=1).astype(np.int32)
        heights = intensities[pairs].astype(np.float64)
        lasting = heights[:, 0] < heights[:, 1]
        pairs, heights = pairs[lasting], heights[lasting]
        codes = intensity_keys(intensities[pairs]).astype(np.int64) << 32 | pairs  # of the order of the voxels
        order = np.lexsort((codes[:, 1], codes[:, 0]))
        voxels.append(pairs[order])
        values.append(heights[order])
    lowest = int(np.argmin(intensities))  # the first of equal ones
    return Diagram(
        shape=tuple(int(size) for size in volume.shape),
        voxels=tuple(voxels),
        values=tuple(values),
        essential_voxel=lowest,
        essential_value=float(intensities[lowest]),
    )
