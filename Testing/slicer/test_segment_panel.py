"""The segment panel: what can be chosen, the one button, what is said when it fails, what outlives the scene."""

from __future__ import annotations

import numpy as np
import pytest

import harness
from segment_helpers import MIRRORED, OBLIQUE, finish, greyVoxels, leftovers, press, run

pytest_plugins = ("segment_fixtures",)


def test_the_volume_that_is_shown_and_the_model_used_last_are_chosen_by_themselves(aVolume, panel):
    assert panel.context.volumeNodes() == [aVolume]
    assert panel.context.modelCard().name == "Kidneys (kidneys)"
    assert panel.ui.segmentButton.enabled
    row = [panel.ui.modelTable.item(0, column).text() for column in range(5)]
    assert row == ["Kidneys (kidneys)", "Left kidney, Lesion", "MRI", "0.876", "0.0 MB"]


@pytest.mark.parametrize("without", ["volume", "model", "packages"])
def test_the_button_says_what_is_missing(scene, slicer, makePanel, makeCardFolder, engine, without):
    from TopoMAELib.model_folders import ModelList
    from TopoMAELib.volumes import addVolume

    if without != "volume":
        addVolume(greyVoxels(), OBLIQUE, "MR")
    if without != "model":
        ModelList().add(makeCardFolder())
    if without == "packages":
        engine.ok, engine.message = False, "Missing in Python 3.12.10: monai>=1.5. Press the button Install."
    panel = makePanel()
    panel.enter()
    harness.pump()
    words = {"volume": "Choose a volume for MRI.", "model": "Choose a model.", "packages": engine.message}[without]
    assert panel.ui.statusLabel.text == panel.ui.segmentButton.toolTip == words
    assert not panel.ui.segmentButton.enabled


def test_one_button_starts_and_cancels_with_progress_in_words(aVolume, panel, client):
    client.answersAtOnce = False
    press(panel)
    assert panel.ui.segmentButton.text == "Cancel"
    assert not panel.ui.progressBar.isHidden()
    (request,) = client.requests
    request.onProgress(0.25, 12.4, "segment")
    assert panel.ui.statusLabel.text == "Segmenting… about 12 s left"
    assert panel.ui.progressBar.value / panel.ui.progressBar.maximum == 0.25
    request.onProgress(None, None, "load")
    assert panel.ui.progressBar.maximum == 0  # busy
    press(panel)
    finish(panel)
    assert panel.ui.statusLabel.text == "Cancelled."
    assert panel.ui.segmentButton.text == "Segment with TopoMAE"
    assert panel.ui.segmentButton.enabled
    assert panel.context.segmentationNode() is None
    client.answersAtOnce = True
    assert run(panel) is not None  # the panel is as good as before


def test_the_result_is_chosen_updated_in_place_and_undone(aVolume, panel, scene):
    told = []
    panel.context.changed.append(lambda: told.append(panel.context.segmentationNode()))
    node = run(panel)
    assert node.GetName() == "MR head segmentation"
    assert told[-1] == node
    assert panel.ui.statusLabel.text.startswith("Done in ")
    assert not panel.ui.undoButton.enabled
    nodes, segments = scene.GetNumberOfNodes(), node.GetSegmentation().GetSegmentIDs()
    assert run(panel) == node
    assert (scene.GetNumberOfNodes(), node.GetSegmentation().GetSegmentIDs()) == (nodes, segments)
    assert panel.ui.undoButton.enabled
    panel.ui.undoButton.click()
    assert not panel.ui.undoButton.enabled


def test_the_surface_is_shown_on_demand(aVolume, panel):
    node = run(panel)
    assert node.GetClosedSurfaceInternalRepresentation("Label_4") is None
    button = panel.segmentPanel._show3DButton
    button.click()
    assert node.GetClosedSurfaceInternalRepresentation("Label_4").GetNumberOfPoints() > 0
    button.click()
    assert (
        not node.GetDisplayNode().GetVisibility3D() or node.GetClosedSurfaceInternalRepresentation("Label_4") is None
    )


def test_another_volume_does_not_overwrite_the_former_ones_result(aVolume, panel, scene):
    from TopoMAELib.volumes import addVolume

    first = run(panel)
    other = addVolume(greyVoxels(), MIRRORED, "other")
    selector = panel.inputPanel._selectors[0]
    selector.setCurrentNode(other)
    assert panel.context.segmentationNode() is None
    assert run(panel) != first
    selector.setCurrentNode(aVolume)
    assert panel.context.segmentationNode() == first  # found again


def test_probabilities_become_volumes_that_go_out_of_date(aVolume, panel, slicer):
    panel.ui.probabilitiesCheckBox.setChecked(True)
    node = run(panel)
    volume = panel.context.probabilityNode("Label_4")
    assert volume.GetName() == "MR head probability of Lesion"
    array = slicer.util.arrayFromVolume(volume)
    assert array.shape == (10, 14, 12)
    assert set(np.unique(array)) == {0.0, 1.0}
    assert run(panel) == node
    assert panel.context.probabilityNode("Label_4") == volume
    panel.ui.probabilitiesCheckBox.setChecked(False)
    run(panel)
    assert panel.context.probabilityNode("Label_4") is None
    assert slicer.mrmlScene.IsNodePresent(volume)


def test_a_failure_is_told_in_words_and_the_log_keeps_the_workers_last_words(aVolume, panel, client, slicer):
    from TopoMAELib.worker_errors import WorkerError

    client.failing = WorkerError("There is not enough memory.", "Crop the volume.")
    run(panel)
    assert panel.ui.statusLabel.text == "There is not enough memory. Crop the volume."
    assert "the worker's last words" in panel.log.text()
    assert leftovers(slicer) == []
    client.failing = None
    assert run(panel) is not None


def test_names_are_never_taken_for_html(scene, makePanel, makeCardFolder):
    import qt

    from TopoMAELib.model_folders import ModelList
    from TopoMAELib.volumes import addVolume

    ModelList().add(makeCardFolder(plan={"dataset": "<b>bold</b>", "spacing": [9.0, 9.0, 9.0]}))
    addVolume(greyVoxels(), OBLIQUE, "MR").SetName("<img src=x>")
    panel = makePanel()
    panel.enter()
    assert "<img src=x>: its voxels of" in panel.ui.misfitLabel.text
    for label in (panel.ui.misfitLabel, panel.ui.statusLabel, panel.ui.modelLabel):
        assert label.textFormat == qt.Qt.PlainText
    run(panel)
    assert "‹b>bold‹/b>" in panel.log.text()


def test_what_the_engine_warns_of_stands_beside_the_button_and_in_the_log(aVolume, panel, client):
    client.answersAtOnce = False
    press(panel)
    (request,) = client.requests
    told = ["nothing was found: no voxel belongs to any of the model's labels", "two", "three", "four", "five"]
    for text in told:
        request.onWarning(text)
    request.answer()
    finish(panel)
    done, *warnings, more = panel.ui.statusLabel.text.splitlines()
    assert done.startswith("Done in ")
    assert warnings == [f"Warning: {text}" for text in told[:3]] and more == "2 more in the log."
    assert all(f"Warning: {text}" in panel.log.text() for text in told)
    client.answersAtOnce = True
    run(panel)
    assert panel.ui.statusLabel.text.startswith("Done in ") and "Warning" not in panel.ui.statusLabel.text


def test_the_log_does_not_grow_for_ever(panel):
    for number in range(700):
        panel.log.add(f"line {number}")
    lines = panel.log.text().splitlines()
    assert len(lines) <= 500
    assert lines[-1].endswith("line 699")


def test_a_misfit_is_said_before_running_and_does_not_forbid_it(aVolume, panel, slicer):
    assert panel.ui.misfitLabel.isHidden()
    aVolume.SetSpacing(0.8, 0.9, 9.0)
    slicer.util.updateVolumeFromArray(aVolume, greyVoxels(offset=-1000).T)
    panel.parameters.Modified()
    assert not panel.ui.misfitLabel.isHidden()
    first, second = panel.ui.misfitLabel.text.splitlines()
    assert first == "Warning: MR head: values down to -1000 as in CT, but the model was trained on MRI."
    assert second.startswith("Warning: MR head: its voxels of")
    assert panel.ui.segmentButton.enabled


def test_a_whole_folder_is_run_by_the_same_button(scene, slicer, panel, aVolume):
    from TopoMAELib.volumes import addVolume

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "study")
    for name in ("a", "b"):
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(addVolume(greyVoxels(), MIRRORED, name)), folder)
    panel.ui.inputModeComboBox.setCurrentIndex(2)
    assert panel.ui.statusLabel.text == "Choose a folder of volumes."
    panel.ui.folderComboBox.setCurrentItem(folder)
    run(panel)
    names = sorted(node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
    assert names == ["a segmentation", "b segmentation"]


def test_all_frames_of_a_sequence_are_run_by_the_same_button(scene, panel, aBrowser):
    panel.ui.inputModeComboBox.setCurrentIndex(1)
    assert panel.ui.statusLabel.text == "Choose a sequence browser."
    panel.ui.sequenceBrowserSelector.setCurrentNode(aBrowser)
    assert panel.ui.segmentButton.enabled
    node = run(panel)
    assert node.GetName() == "heart segmentation"
    assert aBrowser.GetSequenceNode(node).GetNumberOfDataNodes() == 3


def test_choices_survive_saving_loading_and_closing_the_scene(aVolume, panel, scene, slicer, tmp_path, makeCardFolder):
    panel.ui.mirrorCheckBox.setChecked(True)
    panel.ui.deviceComboBox.setCurrentIndex(1)
    panel.ui.folderComboBox.setCurrentItem(addFolder(slicer, "study"))
    node = run(panel)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    scene.Clear(0)
    assert panel.context.volumeNodes() == []
    assert panel.context.segmentationNode() is None
    assert not panel.parameters.mirror
    assert panel.ui.statusLabel.text == "Choose a volume for MRI."
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    parameters = panel.parameters
    assert (parameters.mirror, parameters.device) == (True, "cpu")
    assert [volume.GetName() for volume in panel.context.volumeNodes()] == ["MR head"]
    assert panel.context.segmentationNode().GetName() == "MR head segmentation" != node
    assert hierarchyName(slicer, panel.ui.folderComboBox.currentItem()) == "study"
    again = run(panel)
    assert again.GetName() == "MR head segmentation"  # in place, in the scene that was loaded


def addFolder(slicer, name):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name)


def hierarchyName(slicer, item):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene).GetItemName(item)


def test_closing_the_scene_or_removing_the_volume_ends_the_run_without_a_trace(aVolume, panel, client, scene, slicer):
    client.answersAtOnce = False
    press(panel)
    scene.RemoveNode(aVolume)
    finish(panel)
    assert "was removed meanwhile" in panel.ui.statusLabel.text
    from TopoMAELib.volumes import addVolume

    panel.inputPanel._selectors[0].setCurrentNode(addVolume(greyVoxels(), OBLIQUE, "next"))
    press(panel)
    scene.Clear(0)
    finish(panel)
    client.requests[-1].answer()
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
    assert leftovers(slicer) == []
    assert panel.ui.segmentButton.text == "Segment with TopoMAE"


def test_a_panel_that_was_unloaded_hears_no_answer(aVolume, panel, client):
    from TopoMAELib.model_folders import ModelList

    client.answersAtOnce = False
    press(panel)
    panel.cleanup()
    client.requests[0].answer()
    harness.pump()
    assert panel.modelPanel._onListChanged not in ModelList.changed
