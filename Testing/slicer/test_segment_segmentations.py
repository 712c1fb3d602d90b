"""Label maps as segmentation nodes: what they are called, where they lie, what a further run changes."""

from __future__ import annotations

import numpy as np
import pytest

from segment_helpers import KIDNEY_TEXT, MIRRORED, OBLIQUE, greyVoxels, labelsOf, segmentArray

pytest_plugins = ("segment_fixtures",)

LABELS = labelsOf(greyVoxels())


@pytest.fixture
def aSegmentation(scene, aVolume, card):
    """The segmentation of a volume."""
    from TopoMAELib.segmentations import updateSegmentation

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "result")
    updateSegmentation(node, LABELS, aVolume, card.labels)
    return node


@pytest.mark.parametrize("affine", [OBLIQUE, MIRRORED], ids=["oblique", "mirrored"])
def test_every_voxel_lies_where_the_label_map_says(scene, slicer, card, affine):
    from TopoMAELib.segmentations import updateSegmentation
    from TopoMAELib.volumes import addVolume

    volume = addVolume(greyVoxels(), affine, "grey")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    updateSegmentation(node, LABELS, volume, card.labels)
    for segmentID, value in zip(node.GetSegmentation().GetSegmentIDs(), (1, 4), strict=True):
        assert np.array_equal(segmentArray(slicer, node, segmentID, volume), value == LABELS)


def test_segments_have_the_models_names_colours_and_terminology(aSegmentation, slicer):
    import vtk

    segmentation = aSegmentation.GetSegmentation()
    kidney, lesion = (segmentation.GetSegment(segmentID) for segmentID in ("Label_1", "Label_4"))
    assert (kidney.GetName(), lesion.GetName()) == ("Left kidney", "Lesion")
    assert np.allclose(kidney.GetColor(), np.array([230, 159, 0]) / 255)
    text = vtk.reference("")
    assert kidney.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text)
    assert str(text) == KIDNEY_TEXT
    entry = slicer.vtkSlicerTerminologyEntry()
    assert slicer.vtkSlicerTerminologiesModuleLogic().DeserializeTerminologyEntry(KIDNEY_TEXT, entry)
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Left"


def test_the_volume_is_the_reference_geometry_and_the_neighbour_in_the_subject_hierarchy(scene, slicer, aVolume, card):
    from TopoMAELib.segmentations import updateSegmentation

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(aVolume), study)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    aVolume.SetAndObserveTransformNodeID(transform.GetID())
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    updateSegmentation(node, LABELS, aVolume, card.labels)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) == aVolume
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert node.GetParentTransformNode() == transform


def test_a_further_run_keeps_segment_ids_and_what_the_user_changed(aSegmentation, aVolume, card, slicer):
    from TopoMAELib.segmentations import updateSegmentation

    segmentation = aSegmentation.GetSegmentation()
    segmentation.GetSegment("Label_4").SetName("My lesion")
    segmentation.GetSegment("Label_4").SetColor(1, 0, 0)
    segmentation.AddEmptySegment("mine", "Drawn by hand")
    drawn = np.zeros((10, 14, 12), np.uint8)
    drawn[2:4, 5:9, 1:3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, aSegmentation, "mine", aVolume)
    updateSegmentation(aSegmentation, np.where(LABELS == 1, 4, 0).astype(np.uint8), aVolume, card.labels)
    assert segmentation.GetSegmentIDs() == ("Label_1", "Label_4", "mine")
    assert segmentation.GetSegment("Label_4").GetName() == "My lesion"
    assert segmentation.GetSegment("Label_4").GetColor() == (1, 0, 0)
    assert not segmentArray(slicer, aSegmentation, "Label_1", aVolume).any()
    assert np.array_equal(segmentArray(slicer, aSegmentation, "Label_4", aVolume), LABELS == 1)
    assert np.array_equal(segmentArray(slicer, aSegmentation, "mine", aVolume), drawn.T == 1)


def test_segments_of_the_user_are_not_moved_with_those_of_the_model(aSegmentation, aVolume, card, scene):
    from TopoMAELib.segmentations import updateSegmentation

    aSegmentation.GetSegmentation().AddEmptySegment("mine", "Drawn by hand")
    aVolume.SetAndObserveTransformNodeID(scene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    with pytest.raises(ValueError, match="result lies under another transform than MR head"):
        updateSegmentation(aSegmentation, LABELS, aVolume, card.labels)


def test_segments_of_another_model_take_the_place_of_the_former_ones(aSegmentation, aVolume):
    from TopoMAELib.model_folders import ModelLabel
    from TopoMAELib.segmentations import updateSegmentation

    other = (ModelLabel(1, "Liver", (1, 2, 3)), ModelLabel(2, "Spleen", (4, 5, 6)))
    updateSegmentation(aSegmentation, LABELS, aVolume, other)
    segmentation = aSegmentation.GetSegmentation()
    assert segmentation.GetSegmentIDs() == ("Label_1", "Label_2")
    assert segmentation.GetSegment("Label_1").GetName() == "Liver"


def test_undo_brings_the_former_voxels_back_once_per_run(aSegmentation, aVolume, card, slicer):
    from TopoMAELib.segmentations import undoHistory, updateSegmentation

    assert not undoHistory.available(aSegmentation)  # there was nothing before the first run
    for value in (1, 4):
        updateSegmentation(aSegmentation, np.full_like(LABELS, value), aVolume, card.labels)
    assert undoHistory.restore(aSegmentation)
    assert segmentArray(slicer, aSegmentation, "Label_1", aVolume).all()
    assert undoHistory.restore(aSegmentation)
    assert np.array_equal(segmentArray(slicer, aSegmentation, "Label_4", aVolume), LABELS == 4)
    assert not undoHistory.restore(aSegmentation)


def test_a_surface_that_is_shown_follows_new_voxels_and_undo(aSegmentation, aVolume, card):
    from TopoMAELib.segmentations import undoHistory, updateSegmentation

    def points():
        return aSegmentation.GetClosedSurfaceInternalRepresentation("Label_4").GetNumberOfPoints()

    block = np.zeros_like(LABELS)
    block[3:6, 3:6, 3:6] = 4
    aSegmentation.CreateClosedSurfaceRepresentation()
    before = points()
    updateSegmentation(aSegmentation, block, aVolume, card.labels)
    assert 0 < points() != before
    undoHistory.restore(aSegmentation)
    assert points() == before


def test_a_surface_that_was_not_asked_for_is_not_made(aSegmentation, aVolume, card):
    from TopoMAELib.segmentations import updateSegmentation

    updateSegmentation(aSegmentation, LABELS, aVolume, card.labels)
    assert aSegmentation.GetClosedSurfaceInternalRepresentation("Label_1") is None


def test_a_label_map_of_another_shape_is_refused_and_changes_nothing(aSegmentation, aVolume, card, slicer):
    from TopoMAELib.segmentations import updateSegmentation

    with pytest.raises(ValueError, match="not that of the volume"):
        updateSegmentation(aSegmentation, LABELS[1:], aVolume, card.labels)
    assert np.array_equal(segmentArray(slicer, aSegmentation, "Label_1", aVolume), LABELS == 1)


def test_the_result_survives_saving_as_a_file_with_names_and_colours(aSegmentation, scene, slicer, tmp_path):
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "result.seg.nrrd"))
    assert storage.WriteData(aSegmentation)
    read = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert storage.ReadData(read)
    names = [read.GetSegmentation().GetNthSegment(place).GetName() for place in range(2)]
    assert names == ["Left kidney", "Lesion"]
