"""Voxel grids: orientation, and whether two volumes share one grid up to axis order and direction."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np

from topomae.data.volume import Volume

# Two grids are one if no voxel centre is further apart than this, in voxels: rounding of headers stays
# far below, and a shift above it would move a label visibly.
TOLERANCE = 0.1


def ras_axes(affine: np.ndarray) -> tuple[int, int, int]:
    """Return the voxel axis that runs closest to left-right, posterior-anterior and inferior-superior.

    Args:
        affine: (4, 4) voxel to RAS mm, not singular.
    """
    towards = nib.orientations.io_orientation(affine)[:, 0].astype(int)
    return tuple(int(np.flatnonzero(towards == axis)[0]) for axis in range(3))


def describe_grid(volume: Volume) -> str:
    """Say in words where a volume's voxels lie: shape, spacing in mm, position of the first voxel (RAS)."""
    shape = "×".join(str(n) for n in volume.shape)
    spacing = "×".join(f"{s:.4g}" for s in volume.spacing)
    first = ", ".join(f"{x:.4g}" for x in volume.affine[:3, 3])
    return f"{shape} voxels of {spacing} mm with the first at ({first})"


def grid_step(source: Volume, target: Volume) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Find the axis order and flips that carry `source` onto the grid of `target`.

    Returns:
        (axes, flips): transpose the source by `axes`, then flip along `flips` (target axes);
        None if the two grids do not hold the same voxel centres.
    """
    to_target = np.linalg.inv(target.affine) @ source.affine
    step = np.rint(to_target[:3, :3])
    if not (np.abs(step).sum(axis=0) == 1).all() or not (np.abs(step).sum(axis=1) == 1).all():
        return None
    axes = tuple(int(axis) for axis in np.abs(step).argmax(axis=1))
    if tuple(source.shape[axis] for axis in axes) != tuple(target.shape):
        return None
    flips = tuple(a for a in range(3) if step[a, axes[a]] < 0)
    exact = np.eye(4)
    exact[:3, :3] = step
    exact[:3, 3] = [target.shape[a] - 1 if a in flips else 0 for a in range(3)]
    corners = np.array([(*c, 1) for c in itertools.product(*((0, n - 1) for n in source.shape))]).T
    apart = np.abs((to_target - exact) @ corners)[:3].max()
    return (axes, flips) if apart <= TOLERANCE else None


def onto_grid(source: Volume, target: Volume) -> Volume | None:
    """Reorder a volume's axes onto the grid of another; None if it lies on a different grid.

    No voxel value changes: only axis order and direction do. The result carries the target's affine.
    """
    step = grid_step(source, target)
    if step is None:
        return None
    axes, flips = step
    array = source.array.transpose(0, *(axis + 1 for axis in axes))
    array = np.flip(array, axis=tuple(a + 1 for a in flips)) if flips else array
    return Volume(np.ascontiguousarray(array), target.affine, source.path)
