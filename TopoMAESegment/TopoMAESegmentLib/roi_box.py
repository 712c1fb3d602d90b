"""Boxes that a person draws (markups ROI nodes) and the voxels of a volume inside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
from slicer.i18n import tr as _


def roiCorners(roiNode: slicer.vtkMRMLMarkupsROINode) -> np.ndarray:
    """The eight corners of a ROI box in the world, (8, 3) mm; the box may be turned and transformed."""
    toWorld = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToWorldMatrix())
    size = np.array(roiNode.GetSize())
    signs = np.array(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5], indexing="ij")).reshape(3, 8).T
    return signs * size @ toWorld[:3, :3].T + toWorld[:3, 3]


def roiCenter(roiNode: slicer.vtkMRMLMarkupsROINode) -> list[float]:
    """Centre of a ROI box in the world, mm."""
    return [float(value) for value in roiCorners(roiNode).mean(axis=0)]


def indexBox(
    roiNode: slicer.vtkMRMLMarkupsROINode, affine: np.ndarray, shape: Sequence[int]
) -> tuple[slice, slice, slice]:
    """The index-aligned box of a volume that a ROI box covers.

    Args:
        roiNode: the box; if it is turned against the volume, the smallest index-aligned box around it counts.
        affine: (4, 4), voxel index to RAS mm.
        shape: (i, j, k) voxels of the volume.

    Returns:
        One slice per axis, of the voxels whose centres lie in the box.

    Raises:
        ValueError: no voxel centre of the volume lies in the box.
    """
    toIndex = np.linalg.inv(affine)
    corners = roiCorners(roiNode) @ toIndex[:3, :3].T + toIndex[:3, 3]
    # A voxel centre exactly on a face belongs to the box, whatever rounding does.
    first = np.maximum(np.ceil(corners.min(axis=0) - 1e-6), 0).astype(int)
    last = np.minimum(np.floor(corners.max(axis=0) + 1e-6), np.array(shape) - 1).astype(int)
    if (first > last).any():
        raise ValueError(
            _('No voxel of the volume lies in the box "{name}". Move the box onto the volume.').format(
                name=roiNode.GetName()
            )
        )
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))


def cutBox(
    array: np.ndarray, affine: np.ndarray, roiNode: slicer.vtkMRMLMarkupsROINode | None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the voxels inside a ROI box out of a volume.

    Args:
        array: (I, J, K).
        affine: (4, 4), voxel index to RAS mm.
        roiNode: the box; the whole volume if None.

    Returns:
        The voxels and their own affine.
    """
    if roiNode is None:
        return array, affine
    box = indexBox(roiNode, affine, array.shape)
    moved = np.array(affine, np.float64)
    moved[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return array[box], moved


def setBox(
    roiNode: slicer.vtkMRMLMarkupsROINode, center: Sequence[float], size: Sequence[float], affine: np.ndarray
) -> None:
    """Place a ROI box.

    Args:
        roiNode: the box.
        center: RAS mm.
        size: mm along the axes of `affine`.
        affine: (4, 4) or (3, 3); the box gets the directions of its columns.
    """
    directions = np.asarray(affine, np.float64)[:3, :3]
    directions = directions / np.linalg.norm(directions, axis=0)
    if np.linalg.det(directions) < 0:
        # A box looks the same mirrored, but its handles must turn and not mirror.
        directions[:, 2] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = directions
    matrix[:3, 3] = center
    with slicer.util.NodeModify(roiNode):
        roiNode.SetROIType(slicer.vtkMRMLMarkupsROINode.ROITypeBox)
        if roiNode.GetParentTransformNode() is not None:
            roiNode.SetAndObserveTransformNodeID(None)
        roiNode.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
        roiNode.SetSize(*(float(value) for value in size))


def placeBoxInVolume(
    roiNode: slicer.vtkMRMLMarkupsROINode,
    affine: np.ndarray,
    shape: Sequence[int],
    largest: float = 48.0,
    center: Sequence[float] | None = None,
) -> None:
    """Place a ROI box in a volume, along its axes.

    Args:
        roiNode: the box.
        affine: (4, 4), voxel index to RAS mm.
        shape: (i, j, k) voxels of the volume.
        largest: largest edge in mm; shorter where the volume is.
        center: RAS mm; the middle of the volume if not given.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    size = np.minimum(np.array(shape) * spacing, largest)
    if center is None:
        center = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    setBox(roiNode, center, size, affine)


def showAsFrame(roiNode: slicer.vtkMRMLMarkupsROINode, color: Sequence[float] = (0.9, 0.8, 0.3)) -> None:
    """Show a ROI box as a thin frame, so that it hides nothing of what is in it.

    Args:
        roiNode: the box.
        color: red, green, blue, 0 to 1.
    """
    display = roiNode.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetFillVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetGlyphScale(1.5)
        display.SetSelectedColor(*color)
        display.SetColor(*color)
