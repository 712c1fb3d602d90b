"""Many volumes: frames of a sequence, a folder of the subject hierarchy, a folder on the disk."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import harness
from segment_helpers import FRAMES, MIRRORED, OBLIQUE, addSequence, greyVoxels, labelsOf, leftovers, segmentArray

pytest_plugins = ("segment_fixtures",)


def show(slicer, browser, frame):
    browser.SetSelectedItemNumber(frame)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def test_every_frame_gets_its_segmentation_in_the_same_browser(logic, aBrowser, card, slicer):
    node = logic.segmentSequence(aBrowser, card, waitForCompletion=True)
    volume = aBrowser.GetProxyNode(aBrowser.GetMasterSequenceNode())
    assert aBrowser.GetSelectedItemNumber() == 0  # the user's frame was left alone
    for frame in (2, 0, 1):
        show(slicer, aBrowser, frame)
        expected = labelsOf(greyVoxels(offset=frame)) == 4
        assert np.array_equal(segmentArray(slicer, node, "Label_4", volume), expected)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) == volume
    assert leftovers(slicer) == []


def test_a_second_run_over_a_sequence_fills_the_same_nodes(logic, aBrowser, card, slicer, scene):
    first = logic.segmentSequence(aBrowser, card, waitForCompletion=True)
    count = scene.GetNumberOfNodes()
    assert logic.segmentSequence(aBrowser, card, waitForCompletion=True) == first
    assert scene.GetNumberOfNodes() == count


def test_frames_that_were_not_reached_are_empty_after_a_cancellation(logic, client, aBrowser, card, slicer):
    task = logic.segmentSequence(aBrowser, card, onFinished=lambda ended: None)
    harness.pump(lambda: task.value[0] is not None)
    task.cancel()
    assert harness.pump(lambda: task.state == "cancelled")
    node = task.value[0]
    show(slicer, aBrowser, FRAMES - 1)
    assert node.GetSegmentation().GetNumberOfSegments() == 0
    show(slicer, aBrowser, 0)
    assert node.GetSegmentation().GetNumberOfSegments() == 2


def test_a_model_of_two_images_takes_them_from_two_sequences_of_the_browser(
    logic, client, aBrowser, slicer, makeCardFolder
):
    from TopoMAELib.model_folders import ModelCard
    from TopoMAELib.volumes import VolumeError

    two = ModelCard.read(makeCardFolder(plan={"modalities": ["T1", "T2"], "normalization": [{"kind": "robust"}] * 2}))
    with pytest.raises(VolumeError, match=r"needs 2 images at each time \(T1, T2\), but heart beat has 1"):
        logic.segmentSequence(aBrowser, two)
    aBrowser.AddProxyNode(
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"), addSequence(slicer, "T2", 500), False
    )
    logic.segmentSequence(aBrowser, two, waitForCompletion=True)
    assert [len(request.arguments["images"]) for request in client.requests] == [2] * FRAMES


@pytest.fixture
def aStudy(scene, slicer):
    """A study of the subject hierarchy with three volumes, one of them two folders down."""
    from TopoMAELib.volumes import addVolume

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    folder = hierarchy.CreateFolderItem(hierarchy.CreateFolderItem(study, "deep"), "deeper")
    for name, parent in (("a", study), ("b", study), ("c", folder)):
        volume = addVolume(greyVoxels(offset=len(name)), MIRRORED, name)
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), parent)
    addVolume(greyVoxels(), MIRRORED, "elsewhere")
    return study


def test_all_volumes_of_a_folder_are_segmented_and_not_those_elsewhere(logic, aStudy, card):
    told = []
    nodes = logic.segmentItem(
        aStudy, card, probabilities=True, waitForCompletion=True, onProgress=lambda *a: told.append(a)
    )
    assert sorted(node.GetName() for node in nodes) == ["a segmentation", "b segmentation", "c segmentation"]
    assert [name for _, _, name in told] == ["c (1 of 3)", "a (2 of 3)", "b (3 of 3)"]  # as in the tree
    again = logic.segmentItem(aStudy, card, waitForCompletion=True)  # probability maps are no input
    assert again == nodes


def test_one_volume_that_fails_does_not_stop_the_others(logic, client, aStudy, card, slicer):
    from TopoMAESegmentLib.batch_task import BatchError

    bent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    slicer.util.getNode("b").SetAndObserveTransformNodeID(bent.GetID())
    task = logic.segmentItem(aStudy, card)
    with pytest.raises(
        BatchError, match=r"^1 of 3 could not be segmented. b: b lies under a transform that bends space"
    ):
        task.wait()
    assert [node.GetName() for node in task.value if node] == ["c segmentation", "a segmentation"]


def test_a_batch_ends_early_where_everything_fails_alike(logic, client, aStudy, card):
    client.failing = RuntimeError("The worker could not be started.")
    task = logic.segmentItem(aStudy, card)
    with pytest.raises(RuntimeError, match=r"3 of 3 could not be segmented. c: The worker could not be started"):
        task.wait()
    assert len(client.requests) == 2


def test_volumes_are_grouped_by_folder_for_a_model_of_several_images(logic, client, scene, slicer, makeCardFolder):
    from TopoMAELib.model_folders import ModelCard
    from TopoMAELib.volumes import addVolume

    two = ModelCard.read(makeCardFolder(plan={"modalities": ["T1", "T2"], "normalization": [{"kind": "robust"}] * 2}))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patients = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "patients")
    for patient, names in (("p1", ("x T2", "x t1")), ("p2", ("first", "second")), ("p3", ("alone",))):
        folder = hierarchy.CreateFolderItem(patients, patient)
        for place, name in enumerate(names):
            volume = addVolume(greyVoxels(offset=100 * place), MIRRORED, name)
            hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), folder)
    task = logic.segmentItem(patients, two)
    task.wait()
    assert [node.GetName() for node in task.value] == ["x t1 segmentation", "first segmentation"]
    assert task.warnings == ["p3 holds 1 volumes, but the model needs 2 (T1, T2)."]


def test_a_folder_on_the_disk_gives_files_and_a_table_and_leaves_the_scene_empty(logic, card, scene, slicer, tmp_path):
    from TopoMAELib.volumes import addVolume

    (tmp_path / "in").mkdir()
    for name, affine in (("one", MIRRORED), ("two", OBLIQUE)):
        node = addVolume(greyVoxels(), affine, name)
        assert slicer.util.saveNode(node, str(tmp_path / "in" / f"{name}.nrrd"), {})
    (tmp_path / "in" / "notes.txt").write_text("no volume")
    (tmp_path / "in" / "broken.nii.gz").write_bytes(b"no volume either")
    scene.Clear(0)
    before = scene.GetNumberOfNodesByClass("vtkMRMLStorableNode")
    with pytest.raises(RuntimeError, match=r"^1 of 3 could not be segmented. broken: .*broken.nii.gz cannot be read"):
        logic.segmentFolder(tmp_path / "in", card, tmp_path / "out", waitForCompletion=True)
    assert scene.GetNumberOfNodesByClass("vtkMRMLStorableNode") == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "one.seg.nrrd",
        "two.seg.nrrd",
        "volumes.csv",
    ]
    with (tmp_path / "out" / "volumes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["name"]) for row in rows] == [
        (case, label) for case in ("one", "two") for label in ("Left kidney", "Lesion")
    ]
    voxels = int((labelsOf(greyVoxels()) == 4).sum())
    assert int(rows[1]["voxels"]) == voxels
    assert float(rows[1]["volume_mm3"]) == pytest.approx(1.2 * voxels)
    read = slicer.util.loadSegmentation(str(tmp_path / "out" / "two.seg.nrrd"))
    volume = addVolume(greyVoxels(), OBLIQUE, "two")
    lesion = read.GetSegmentation().GetSegmentIdBySegmentName("Lesion")
    assert np.array_equal(segmentArray(slicer, read, lesion, volume), labelsOf(greyVoxels()) == 4)


def test_results_never_go_into_the_folder_of_the_images(logic, card, tmp_path, scene, slicer):
    from TopoMAELib.volumes import VolumeError, addVolume

    slicer.util.saveNode(addVolume(greyVoxels(), MIRRORED, "one"), str(tmp_path / "one.nrrd"), {})
    for output in (None, tmp_path):
        with pytest.raises(VolumeError, match="need a folder of their own"):
            logic.segmentFolder(tmp_path, card, output)
