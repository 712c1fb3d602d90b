"""Voxel grids of volumes and segments: whether they are the same, and what of a segment lies outside."""

from __future__ import annotations

from itertools import product

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from TopoMAELib.volumes import transformToWorld

_TOLERANCE = 1e-2  # voxels: far below what resampling would change
_MOST_VOXELS = 1_000_000  # enough to tell a fraction


def sameGrid(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the voxels of two affines (4, 4), voxel index to RAS, lie at the same places, up to a whole shift."""
    if abs(np.linalg.det(first[:3, :3])) < 1e-12:
        return False
    between = np.linalg.solve(first, second)
    shift = between[:3, 3]
    # An error of the directions grows over the volume; one of 500 voxels is large.
    turned = np.abs(between[:3, :3] - np.eye(3)).max() * 500
    return bool(turned < 1 and np.abs(shift - np.round(shift)).max() < 0.1)


def sameVolumeGrid(first: object, second: object) -> bool:
    """Whether two volumes have the same voxels at the same places, parent transforms included."""
    if first.GetImageData().GetDimensions() != second.GetImageData().GetDimensions():
        return False
    a, b = worldAffine(first), worldAffine(second)
    return bool(np.abs(np.linalg.solve(a, b) - np.eye(4)).max() < _TOLERANCE)


def worldAffine(volumeNode: object) -> np.ndarray:
    """Affine (4, 4) of a volume, voxel index to RAS, parent transforms included.

    Raises:
        VolumeError: one of them is not linear.
    """
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return transformToWorld(volumeNode) @ slicer.util.arrayFromVTKMatrix(matrix)


def isOrthogonal(affine: np.ndarray) -> bool:
    """Whether the axes of a grid stand at right angles, which files of images demand."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < 1e-3)


def segmentGrid(segmentationNode: object, segmentID: str = "") -> np.ndarray | None:
    """Affine (4, 4) of a segment's own voxels, voxel index to RAS of the node; None if it is no label map.

    Args:
        segmentationNode: vtkMRMLSegmentationNode.
        segmentID: of the segment, by default the first one with voxels.
    """
    segmentation = segmentationNode.GetSegmentation()
    for one in [segmentID] if segmentID else segmentation.GetSegmentIDs():
        image = _ownImage(segmentationNode, one)
        if image is not None:
            return _affineOf(image)
    return None


def fractionOutside(
    segmentationNode: object, segmentID: str, affine: np.ndarray, shape: tuple[int, int, int]
) -> float:
    """How much of a segment lies outside a volume, 0 to 1; 0 also where the segment has no voxels of its own.

    Args:
        segmentationNode: vtkMRMLSegmentationNode, under no or a linear transform.
        segmentID: of the segment.
        affine: (4, 4) of the volume, voxel index to RAS of the world.
        shape: (i, j, k) voxels of the volume.
    """
    image = _ownImage(segmentationNode, segmentID)
    if image is None:
        return 0.0
    array = vtk_to_numpy(image.GetPointData().GetScalars())
    array = array.reshape(image.GetDimensions()[::-1])
    value = segmentationNode.GetSegmentation().GetSegment(segmentID).GetLabelValue()
    voxels = np.argwhere(array == value)[:, ::-1] + np.array(image.GetExtent())[::2]  # i, j, k
    if not len(voxels):
        return 0.0
    toVolume = np.linalg.solve(affine, transformToWorld(segmentationNode) @ _affineOf(image))
    corners = np.array(list(product(*zip(voxels.min(0), voxels.max(0), strict=True))))
    if _inside(corners, toVolume, shape).all():
        return 0.0
    step = max(1, len(voxels) // _MOST_VOXELS)
    return float(1 - _inside(voxels[::step], toVolume, shape).mean())


def _inside(voxels: np.ndarray, toVolume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Which of some voxels (N, 3) lie in a volume; half a voxel around the outermost centres belongs to it."""
    places = voxels @ toVolume[:3, :3].T + toVolume[:3, 3]
    return np.all((places > -0.5 - _TOLERANCE) & (places < np.array(shape) - 0.5 + _TOLERANCE), axis=1)


def _ownImage(segmentationNode: object, segmentID: str) -> object:
    """The label map of a segment, perhaps shared with others; None if it has none or an empty one."""
    image = segmentationNode.GetBinaryLabelmapInternalRepresentation(segmentID)
    if image is None or image.GetPointData().GetScalars() is None or 0 in image.GetDimensions():
        return None
    return image


def _affineOf(image: object) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
