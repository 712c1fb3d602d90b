"""Scenes for the tests of data sets: real volumes with segmentations on the same and on other grids."""

import nibabel
import numpy as np
import slicer

OBLIQUE = np.array([[0.96, -0.2, 0.19, 12], [0.24, 0.94, -0.24, -7], [-0.13, 0.28, 0.95, 30], [0, 0, 0, 1.0]])
# The polar part: a rotation without the rounding above.
_u, _s, _v = np.linalg.svd(OBLIQUE[:3, :3])
OBLIQUE[:3, :3] = _u @ _v


def addVolume(array, affine, name):
    """A scalar volume of an array (I, J, K)."""
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(array.T), ijkToRAS=np.asarray(affine, float), name=name)


def addSegmentation(labels, affine, name, segments, volumeNode=None):
    """A segmentation of a label map (I, J, K).

    Args:
        segments: label value to name of the segment.
        volumeNode: that it is said to have been drawn on, or None.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    for value, segmentName in segments.items():
        map_ = slicer.util.addVolumeFromArray(
            np.ascontiguousarray((labels == value).T.astype(np.uint8)),
            ijkToRAS=np.asarray(affine, float),
            nodeClassName="vtkMRMLLabelMapVolumeNode",
        )
        count = node.GetSegmentation().GetNumberOfSegments()
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(map_, node)
        if node.GetSegmentation().GetNumberOfSegments() == count:  # nothing of that value
            node.GetSegmentation().AddEmptySegment()
        node.GetSegmentation().GetNthSegment(count).SetName(segmentName)
        slicer.mrmlScene.RemoveNode(map_)
    if volumeNode is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    return node


def realCase(dataFolder, number):
    """Voxels (I, J, K), labels and affine of a hippocampus case."""
    folder = dataFolder / "hippocampus"
    path = sorted((folder / "labelsTr").glob("hippocampus_*.nii.gz"))[number]
    image = nibabel.load(folder / "imagesTr" / path.name)
    return np.asarray(image.dataobj), np.asarray(nibabel.load(path).dataobj).astype(np.uint8), image.affine


def written(folder, kind, name):
    """Voxels and affine of a file of a data set that was written."""
    image = nibabel.load(folder / kind / f"{name}.nii.gz")
    return np.asarray(image.dataobj), image.affine
