"""Volumes of the scene as arrays with an affine, and arrays as volumes of the scene."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from TopoMAELib.harmless import cleanName


class VolumeError(ValueError):
    """A volume that cannot be used; the message is one sentence that says why and what to do."""


def volumeArrayAndAffine(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> tuple[np.ndarray, np.ndarray]:
    """The voxels of a volume and where they lie, as the user sees them: a linear parent transform is applied.

    Args:
        volumeNode: vtkMRMLScalarVolumeNode; may belong to a sequence instead of the scene.
    Returns:
        array (I, J, K), a view of the node's own memory that must not be written to; affine (4, 4) float64,
        voxel index to RAS in mm.
    Raises:
        VolumeError: no voxels, several values per voxel, or a parent transform that is not linear.
    """
    if volumeNode is None or volumeNode.GetImageData() is None:
        raise VolumeError(_("{name} holds no voxels; choose another volume.").format(name=_nameOf(volumeNode)))
    array = slicer.util.arrayFromVolume(volumeNode)
    if array.ndim != 3 or array.size == 0:
        message = _("{name} is not a 3-D volume with one value per voxel; choose another volume.")
        raise VolumeError(message.format(name=_nameOf(volumeNode)))
    return array.T, transformToWorld(volumeNode) @ volumeAffine(volumeNode)


def volumeAffine(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Affine (4, 4) of a volume without its parent transform: voxel index to the node's own RAS in mm."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def transformToWorld(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """Matrix (4, 4) of all parent transforms of a node; the identity if it has none.

    Raises:
        VolumeError: one of them is not linear.
    """
    transformNode = node.GetParentTransformNode()
    if transformNode is None:
        return np.eye(4)
    if not transformNode.IsTransformToWorldLinear():
        message = _(
            "{name} lies under a transform that bends space; harden the transform or take the volume out of it."
        )
        raise VolumeError(message.format(name=_nameOf(node)))
    matrix = vtk.vtkMatrix4x4()
    transformNode.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def addVolume(array: np.ndarray, affine: np.ndarray, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Put an array into the scene as a new volume.

    Args:
        array: (I, J, K) of any real type that VTK knows; copied.
        affine: (4, 4), voxel index to RAS in mm.
        name: of the node; a number is added if the scene has it already.
    Returns:
        The vtkMRMLScalarVolumeNode, with display nodes.
    """
    uniqueName = slicer.mrmlScene.GenerateUniqueName(cleanName(name))
    volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", uniqueName)
    updateVolume(volumeNode, array, affine)
    volumeNode.CreateDefaultDisplayNodes()
    return volumeNode


def updateVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode, array: np.ndarray, affine: np.ndarray) -> None:
    """Replace the voxels (I, J, K) and the affine (4, 4), voxel index to the node's own RAS in mm, of a volume."""
    wasModified = volumeNode.StartModify()
    try:
        slicer.util.updateVolumeFromArray(volumeNode, np.ascontiguousarray(array.T))
        volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    finally:
        volumeNode.EndModify(wasModified)


def placeBeside(node: slicer.vtkMRMLNode, neighbourNode: slicer.vtkMRMLNode | None) -> None:
    """Put a node into the subject hierarchy folder (study, patient) of another one."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    neighbour = hierarchy.GetItemByDataNode(neighbourNode) if hierarchy and neighbourNode else 0
    item = hierarchy.GetItemByDataNode(node) if neighbour else 0
    if item:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(neighbour))


def _nameOf(node: slicer.vtkMRMLNode | None) -> str:
    return (node.GetName() if node else None) or _("The volume")
