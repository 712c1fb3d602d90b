"""Boxes that people draw, and the voxels in them."""

import numpy as np
import pytest

import topology_stand_ins  # noqa: F401 (puts the module on the path)


@pytest.fixture
def makeBox(scene, slicer):
    from TopoMAESegmentLib.roi_box import setBox

    def make(center, size, affine=None):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
        setBox(node, center, size, np.eye(4) if affine is None else affine)
        return node

    return make


def obliqueAffine(mirrored=False):
    """Turned about two axes, with voxels of different lengths along each; left-handed if mirrored."""
    a, b = 0.4, -0.7
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn * [0.8, 1.0, -2.0 if mirrored else 2.0]
    affine[:3, 3] = [10, -20, 30]
    return affine


def test_a_box_cuts_the_voxels_whose_centres_lie_in_it(makeBox):
    from TopoMAESegmentLib.roi_box import cutBox

    array, affine = np.arange(1000).reshape(10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0])
    cut, moved = cutBox(array, affine, makeBox([6, 8, 10], [4, 4, 8.2]))
    assert np.array_equal(cut, array[2:5, 3:6, 3:8])
    assert np.allclose(moved[:3, 3], [4, 6, 6])


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_box_along_an_oblique_volume_cuts_exactly_its_voxels(makeBox, mirrored):
    from TopoMAESegmentLib.roi_box import indexBox, roiCorners

    affine = obliqueAffine(mirrored)
    center = affine[:3, :3] @ [5, 6, 7] + affine[:3, 3]
    box = makeBox(center, [4 * 0.8, 2 * 1.0, 6 * 2.0], affine)
    assert indexBox(box, affine, (20, 20, 20)) == (slice(3, 8), slice(5, 8), slice(4, 11))
    sides = roiCorners(box) - center
    assert np.allclose(np.abs(sides @ affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)), [1.6, 1.0, 6.0])


def test_a_turned_box_counts_as_the_smallest_index_aligned_box_around_it(makeBox):
    from TopoMAESegmentLib.roi_box import indexBox

    turned = np.eye(4)
    turned[:2, :2] = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    box = indexBox(makeBox([10, 10, 10], [4, 4, 4], turned), np.eye(4), (20, 20, 20))
    assert box == (slice(8, 13), slice(8, 13), slice(8, 13))


def test_a_box_outside_of_the_volume_is_refused_in_words(makeBox):
    from TopoMAESegmentLib.roi_box import indexBox

    with pytest.raises(ValueError, match='No voxel of the volume lies in the box "Box"'):
        indexBox(makeBox([50, 0, 0], [4, 4, 4]), np.eye(4), (20, 20, 20))


def test_a_new_box_lies_in_the_middle_and_is_no_larger_than_the_volume(makeBox):
    from TopoMAESegmentLib.roi_box import indexBox, placeBoxInVolume, roiCenter

    box, affine = makeBox([0, 0, 0], [1, 1, 1]), obliqueAffine()
    placeBoxInVolume(box, affine, (21, 101, 9), largest=40)
    assert np.allclose(box.GetSize(), [21 * 0.8, 40, 9 * 2.0])
    assert np.allclose(roiCenter(box), affine[:3, :3] @ [10, 50, 4] + affine[:3, 3])
    assert indexBox(box, affine, (21, 101, 9)) == (slice(0, 21), slice(30, 71), slice(0, 9))


def test_a_transformed_volume_is_cut_where_the_user_sees_it(makeBox, scene, slicer):
    from TopoMAELib.volumes import addVolume, volumeArrayAndAffine
    from TopoMAESegmentLib.roi_box import cutBox

    array = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    volume = addVolume(array, np.eye(4), "Moved")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = 100
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    cut, moved = cutBox(*volumeArrayAndAffine(volume), makeBox([105, 5, 5], [2, 2, 2]))
    assert np.array_equal(cut, array[4:7, 4:7, 4:7])
    assert moved[0, 3] == 104
