"""Volumes of the scene as arrays, and back."""

from __future__ import annotations

import numpy as np
import pytest

from segment_helpers import MIRRORED, OBLIQUE, greyVoxels

pytest_plugins = ("segment_fixtures",)


@pytest.mark.parametrize("affine", [OBLIQUE, MIRRORED], ids=["oblique", "mirrored"])
def test_an_array_put_into_the_scene_comes_back_with_its_affine(scene, affine):
    from TopoMAELib.volumes import addVolume, volumeArrayAndAffine

    array, found = volumeArrayAndAffine(addVolume(greyVoxels(), affine, "grey"))
    assert array.shape == (12, 14, 10)
    assert np.array_equal(array, greyVoxels())
    assert np.allclose(found, affine, atol=1e-9)


def test_a_linear_parent_transform_is_applied_and_one_that_bends_space_is_refused(scene, slicer, aVolume):
    from TopoMAELib.volumes import VolumeError, volumeArrayAndAffine

    moved = np.array([[0.0, -1, 0, 5], [1, 0, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1]])
    linear = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    linear.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    aVolume.SetAndObserveTransformNodeID(linear.GetID())
    assert np.allclose(volumeArrayAndAffine(aVolume)[1], moved @ OBLIQUE)
    bent = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    aVolume.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(VolumeError, match=r"MR head lies under a transform that bends space; harden"):
        volumeArrayAndAffine(aVolume)


def test_a_volume_without_voxels_or_with_colours_is_refused_by_name(scene, slicer):
    from TopoMAELib.volumes import VolumeError, volumeArrayAndAffine

    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(VolumeError, match="nothing holds no voxels"):
        volumeArrayAndAffine(empty)
    colours = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6, 3), np.uint8), nodeClassName="vtkMRMLVectorVolumeNode")
    with pytest.raises(VolumeError, match="one value per voxel"):
        volumeArrayAndAffine(colours)
