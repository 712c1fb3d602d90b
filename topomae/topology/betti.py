"""Betti numbers of masks and label maps."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import euler_number

from topomae.errors import BadDataError, BadSettingError


def betti_numbers(mask: np.ndarray, connectivity: int = 26) -> tuple[int, int, int]:
    """Components, tunnels and cavities of a three-dimensional mask.

    Foreground and background must use dual connectivities, else the digital picture has no consistent
    topology: 26 for the foreground goes with 6 for the background (voxels are closed cubes that touch at
    corners; the default, usual for segmentations), and 6 with 26 (voxels are points; this is the convention of
    `persistence`, whose dark structures connect through faces). Outside the array is background.

    Args:
        mask: (I, J, K) bool, or any numbers: non-zero is foreground.
        connectivity: 26 or 6, of the foreground.

    Returns:
        b0 (components), b1 (independent tunnels), b2 (enclosed cavities); b1 from the Euler number,
        b0 - b1 + b2.

    Raises:
        BadDataError: the mask is not three-dimensional.
        BadSettingError: another connectivity.
    """
    if connectivity not in (6, 26):
        raise BadSettingError(f"connectivity {connectivity} has no dual one", hint="Use 26 or 6.")
    mask = np.asarray(mask) != 0
    if mask.ndim != 3:
        raise BadDataError(f"a mask of shape {mask.shape} is not three-dimensional", hint="Give (I, J, K).")
    box = ndimage.find_objects(mask.astype(np.uint8), max_label=1)[0]
    if box is None:
        return 0, 0, 0
    mask = np.pad(mask[box], 1)
    order, dual_order = (3, 1) if connectivity == 26 else (1, 3)
    components = ndimage.label(mask, ndimage.generate_binary_structure(3, order))[1]
    outside_and_cavities = ndimage.label(~mask, ndimage.generate_binary_structure(3, dual_order))[1]
    cavities = outside_and_cavities - 1
    tunnels = components + cavities - int(euler_number(mask, connectivity=order))
    return int(components), tunnels, cavities


def label_betti_numbers(labels: np.ndarray, connectivity: int = 26) -> dict[int, tuple[int, int, int]]:
    """Betti numbers of every label of a label map.

    Args:
        labels: (I, J, K) integers, 0 is background.
        connectivity: 26 or 6, of each label against everything else.

    Returns:
        Label value to (b0, b1, b2), for the values that occur.
    """
    return {int(value): betti_numbers(labels == value, connectivity) for value in np.unique(labels) if value != 0}
