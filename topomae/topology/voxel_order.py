# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Total order of the voxels: by intensity, ties by index. Nothing is sorted but the few cells that matter.

An intensity becomes an integer *key* of the same order. A *cell code* is one number: the key of the cell's
highest voxel (32 bits), that voxel (26), and which of its cells it is (6). Codes of cells of one dimension sort
in the order in which sublevel sets take the cells in.
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel

OUTSIDE = np.int32(2**31 - 1)
"""Key of the one-voxel border around the volume: above every voxel."""
LARGEST_SIZE = 2**26
"""Number of padded voxels that a cell code can name."""
VOXEL = LARGEST_SIZE - 1


def intensity_keys(intensities: np.ndarray) -> np.ndarray:
    """Keys of float32 intensities: int32 of the same shape and order; -0.0 and 0.0 are equal."""
    bits = (np.asarray(intensities, np.float32) + np.float32(0)).view(np.int32)
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)


def padded_keys(volume: np.ndarray) -> np.ndarray:
    """Keys of a volume inside a border of `OUTSIDE`, so that neighbours need no bounds check.

    Args:
        volume: (D, H, W) float32, finite.

    Returns:
        ((D+2) * (H+2) * (W+2),) int32.
    """
    keys = np.full([size + 2 for size in volume.shape], OUTSIDE, np.int32)
    keys[1:-1, 1:-1, 1:-1] = intensity_keys(volume)
    return keys.reshape(-1)


@kernel(forceinline=True)
def higher(keys, voxel, other):
    """Whether a padded voxel comes after another one."""
    return keys[voxel] > keys[other] or (keys[voxel] == keys[other] and voxel > other)


@kernel(forceinline=True)
def cell_code(keys, voxel, which):
    """Code of a cell whose highest voxel is `voxel`; `which` of its cells, below 64."""
    return (np.int64(keys[voxel]) << 32) | (np.int64(voxel) << 6) | which


@kernel(forceinline=True)
def voxel_of(code):
    """The highest voxel, padded, of a cell."""
    return (code >> 6) & VOXEL
