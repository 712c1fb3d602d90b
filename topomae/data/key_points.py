"""The nine key points of a crop: its centre and its eight corners, in the coordinates of the volume.

Source A predicts their absolute position; here voxel centres are scaled so that the first and last
voxel centre of the volume lie at -1 and 1 along each axis, which is the range of tanh.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

CORNERS = tuple(product((0, 1), repeat=3))
NAMES = (
    "centre",
    *(
        "".join(low_high[side] for low_high, side in zip(("LR", "PA", "IS"), corner, strict=True))
        for corner in CORNERS
    ),
)


def key_points(offset: Sequence[int], crop_size: Sequence[int], volume_shape: Sequence[int]) -> np.ndarray:
    """Scaled positions of a crop's centre and corners.

    Args:
        offset: (i, j, k) voxel of the volume at which the crop begins.
        crop_size: (i, j, k) voxels.
        volume_shape: (i, j, k) voxels of the volume, after padding where it is smaller than the crop.
    Returns:
        (9, 3) float32 in [-1, 1]: centre first, then corners in the order of `CORNERS`.
    """
    voxels = crop_voxels(offset, crop_size)
    last = np.maximum(np.asarray(volume_shape, np.float64) - 1, 1)
    return (2 * voxels / last - 1).astype(np.float32)


def crop_voxels(offset: Sequence[int], crop_size: Sequence[int]) -> np.ndarray:
    """The same points as voxel coordinates of the volume, (9, 3) float64."""
    first = np.asarray(offset, np.float64)
    reach = np.asarray(crop_size, np.float64) - 1
    return np.stack([first + reach / 2, *(first + np.array(corner) * reach for corner in CORNERS)])


def unscale(points: np.ndarray, volume_shape: Sequence[int]) -> np.ndarray:
    """From scaled coordinates, (…, 3) in [-1, 1], to voxel coordinates of the volume."""
    last = np.maximum(np.asarray(volume_shape, np.float64) - 1, 1)
    return (np.asarray(points, np.float64) + 1) / 2 * last


def informative_axes(crop_size: Sequence[int], volume_shape: Sequence[int]) -> np.ndarray:
    """(3,) bool: axes along which the crop can lie in different places, so that there is something to learn."""
    return np.asarray(volume_shape) > np.asarray(crop_size)
