"""Changing the number of voxels of a volume while its outer edges stay where they are.

Voxel i of n new voxels lies at (i + ½)·m/n − ½ of m old ones: both grids fill the same box, as in nnU-Net,
`skimage.transform.resize` and torch's `align_corners=False`. Every axis is treated on its own, because
interpolation on a regular grid is separable; so a thick-slice axis may get another order than the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from scipy import ndimage

Shape = tuple[int, int, int]
# float32 voxels worked on at once when classes are compared; a few such slabs are held, 64 MB each.
SLAB_VOXELS = 16_000_000


def resampled_affine(affine: np.ndarray, shape: Shape, new_shape: Shape) -> np.ndarray:
    """Affine of the grid of `new_shape` voxels that fills the same box as `shape` voxels do.

    Args:
        affine: (4, 4), voxel of the old grid to RAS mm.
    Returns:
        (4, 4) float64, voxel of the new grid to RAS mm.
    """
    factor = np.array(shape) / np.array(new_shape)
    new_to_old = np.diag([*factor, 1.0])
    new_to_old[:3, 3] = (factor - 1) / 2
    return affine @ new_to_old


def resample_image(image: np.ndarray, new_shape: Shape, orders: tuple[int, int, int]) -> np.ndarray:
    """Interpolate an image with splines, never leaving its range of values.

    Where voxels are merged, the image is smoothed first (Gaussian of half the shrink factor less one), so
    that fine texture does not turn into false patterns.

    Args:
        image: (I, J, K) float32.
        new_shape: wanted number of voxels per axis.
        orders: spline order per axis: 3 cubic, 1 linear.
    Returns:
        `new_shape` float32; `image` itself if it has that shape.
    """
    if image.shape == tuple(new_shape):
        return image
    image = np.ascontiguousarray(image)
    lowest, highest = image.min(), image.max()
    growth = np.array(new_shape) / np.array(image.shape)
    for axis in np.argsort(growth, kind="stable"):  # shrinking first: the least work for the next axes
        if new_shape[axis] != image.shape[axis]:
            weights = _spline_weights(image.shape[axis], new_shape[axis], orders[axis])
            image = _weigh_along(image, weights, axis)
    return np.clip(image, lowest, highest, out=image)


def _spline_weights(old: int, new: int, order: int) -> np.ndarray:
    """(new, old) matrix of spline interpolation on one axis: what it makes of each unit impulse."""
    if old == 1:
        return np.ones((new, 1), np.float32)
    impulses = np.eye(old)
    if new < old:
        impulses = ndimage.gaussian_filter1d(impulses, (old / new - 1) / 2, axis=0, mode="nearest")
    weights = ndimage.zoom(impulses, (new / old, 1), order=order, mode="nearest", grid_mode=True)
    # A spline's reach fades without ending; numbers too small for float32 would only slow the products.
    return np.where(np.abs(weights) < 1e-9, 0, weights).astype(np.float32)


def _weigh_along(image: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Multiply (new, old) weights onto one axis of (I, J, K)."""
    if axis == 0:
        return (weights @ image.reshape(image.shape[0], -1)).reshape(-1, *image.shape[1:])
    return np.matmul(weights, image) if axis == 1 else np.matmul(image, weights.T)


def resample_linearly(values: np.ndarray | torch.Tensor, new_shape: Shape) -> np.ndarray:
    """Interpolate one field of scores linearly.

    Args:
        values: (I, J, K), any float type.
    Returns:
        `new_shape` float32.
    """
    shape = tuple(values.shape)
    result = np.empty(new_shape, np.float32)
    for part in _slabs(shape, new_shape):
        result[part] = _linear_slab(lambda planes: values[planes], shape, new_shape, part).cpu().numpy()
    return result


def resample_argmax(
    scores: Callable[[int, slice], np.ndarray | torch.Tensor], classes: int, shape: Shape, new_shape: Shape
) -> np.ndarray:
    """Interpolate every class's score linearly and take the class that scores highest in each new voxel.

    Memory: the result and a few slabs of `SLAB_VOXELS`, however many classes there are. Of equal scores
    the lowest class wins.

    Args:
        scores: called with a class index and a range of planes of the first axis; returns that part of
            the class's scores, (planes, J, K), of any real type, bool included.
        classes: how many.
        shape: (I, J, K) of the scores.
        new_shape: wanted number of voxels per axis.
    Returns:
        `new_shape` class indices, uint8 (uint16 for more than 256 classes).
    """
    winner = np.empty(new_shape, index_type(classes))
    for part in _slabs(shape, new_shape):
        best = _linear_slab(partial(scores, 0), shape, new_shape, part)
        index = torch.zeros(best.shape, dtype=torch.int16, device=best.device)
        for c in range(1, classes):
            candidate = _linear_slab(partial(scores, c), shape, new_shape, part)
            index.masked_fill_(candidate > best, c)
            best = torch.maximum(best, candidate)
        winner[part] = index.cpu().numpy()
    return winner


def index_type(classes: int) -> type[np.unsignedinteger]:
    """Smallest unsigned type for class indices 0 … classes − 1."""
    return np.uint8 if classes <= 256 else np.uint16


def _slabs(shape: Shape, new_shape: Shape) -> Iterator[slice]:
    """Cut the first new axis into slabs of about `SLAB_VOXELS` voxels (at least one plane)."""
    plane = max(shape[1], new_shape[1]) * max(shape[2], new_shape[2])
    planes = max(1, int(SLAB_VOXELS / (plane * max(1.0, shape[0] / new_shape[0]))))
    for start in range(0, new_shape[0], planes):
        yield slice(start, min(start + planes, new_shape[0]))


def _linear_slab(
    planes_of: Callable[[slice], np.ndarray | torch.Tensor], shape: Shape, new_shape: Shape, part: slice
) -> torch.Tensor:
    """Planes `part` of the field interpolated to `new_shape`, float32, on the field's own device."""
    below, above, weight = _neighbours(shape[0], new_shape[0])
    below, above, weight = below[part], above[part], weight[part]
    first, last = int(below[0]), int(above[-1])
    planes = planes_of(slice(first, last + 1))
    if isinstance(planes, np.ndarray):
        planes = torch.from_numpy(np.array(planes, np.float32))
    slab = planes.to(torch.float32)
    if shape[0] != new_shape[0]:
        slab = _mix(slab, 0, below - first, above - first, weight)
    for axis in (1, 2):
        if shape[axis] != new_shape[axis]:
            slab = _mix(slab, axis, *_neighbours(shape[axis], new_shape[axis]))
    return slab


def _neighbours(old: int, new: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each of `new` voxels the two old voxels it lies between, and how far it is towards the second."""
    centres = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    below = centres.floor().long()
    return below, centres.ceil().long(), (centres - below).float()


def _mix(
    field: torch.Tensor, axis: int, below: torch.Tensor, above: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Weighted mean of the planes `below` and `above` along an axis."""
    device = field.device
    weight = weight.to(device).reshape([-1 if a == axis else 1 for a in range(3)])
    return torch.lerp(field.index_select(axis, below.to(device)), field.index_select(axis, above.to(device)), weight)
