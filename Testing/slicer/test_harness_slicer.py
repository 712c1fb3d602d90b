"""The harness: application, scene, files, the user, and `slicer.util` as scripted modules meet them."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vtk

import harness


def children(slicer, item=None):
    """Names below a subject hierarchy item, nested."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    found = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID() if item is None else item, found)
    items = [found.GetId(index) for index in range(found.GetNumberOfIds())]
    return {hierarchy.GetItemName(item): children(slicer, item) for item in items}


def hierarchyOf(slicer):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


@pytest.fixture
def volume(slicer, scene):
    return slicer.util.addVolumeFromArray(np.arange(120, dtype=np.int16).reshape(4, 5, 6), name="Volume")


@pytest.fixture
def segmentation(slicer, volume):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("a", "Anterior")
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones((4, 5, 6), np.uint8), node, "a", volume)
    return node


# ---------------------------------------------------------------------------------------- subject hierarchy


def test_nodes_and_segments_get_subject_hierarchy_items_and_lose_them(slicer, segmentation):
    hidden = slicer.vtkMRMLModelNode()
    hidden.SetHideFromEditors(1)
    slicer.mrmlScene.AddNode(hidden)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "no plugin takes it")
    segmentation.GetSegmentation().AddEmptySegment("p", "Posterior")
    segmentation.GetSegmentation().GetSegment("a").SetName("Front")
    assert children(slicer) == {"Volume": {}, "Segmentation": {"Front": {}, "Posterior": {}}}
    hierarchyOf(slicer).RemoveItem(hierarchyOf(slicer).GetItemByName("Front"))
    assert list(segmentation.GetSegmentation().GetSegmentIDs()) == ["p"]
    slicer.mrmlScene.RemoveNode(segmentation)
    assert children(slicer) == {"Volume": {}}


def test_a_saved_scene_comes_back_with_its_data_and_its_folders(slicer, segmentation, tmp_path):
    folder = hierarchyOf(slicer).CreateFolderItem(hierarchyOf(slicer).GetSceneItemID(), "Patient 1")
    for name in ("Volume", "Segmentation"):
        hierarchyOf(slicer).SetItemParent(hierarchyOf(slicer).GetItemByName(name), folder)
    before = children(slicer)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"), {})
    slicer.mrmlScene.Clear(0)
    assert children(slicer) == {}
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {})
    assert children(slicer) == before == {"Patient 1": {"Volume": {}, "Segmentation": {"Anterior": {}}}}
    read = slicer.util.getNode("Segmentation")
    assert slicer.util.arrayFromSegmentBinaryLabelmap(read, "a", slicer.util.getNode("Volume")).sum() == 120


def test_keeping_the_subject_hierarchy_over_a_scene_close_is_reported(slicer, scene):
    kept = hierarchyOf(slicer)
    slicer.mrmlScene.Clear(0)
    assert harness.errors and "subject hierarchy" in harness.errors[0]
    harness.errors.clear()
    assert hierarchyOf(slicer).GetScene() is slicer.mrmlScene
    del kept


def test_a_segmentation_can_be_undone(slicer, segmentation):
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(segmentation.GetSegmentation())
    history.SaveState()
    segmentation.GetSegmentation().RemoveSegment("a")
    assert children(slicer)["Segmentation"] == {}
    assert history.RestorePreviousState()
    assert children(slicer)["Segmentation"] == {"Anterior": {}}


def test_a_sequence_is_browsed_through_a_proxy_volume(slicer, volume):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Frames")
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    for frame in range(3):
        slicer.util.updateVolumeFromArray(volume, np.full((2, 2, 2), frame, np.int16))
        sequence.SetDataNodeAtValue(volume, str(frame))
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    for frame in (2, 0):
        browser.SetSelectedItemNumber(frame)
        assert slicer.util.arrayFromVolume(proxy).max() == frame


# ---------------------------------------------------------------------------------------- files


def ijkToRas(slicer, volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("slices", [3, -3])
def test_a_volume_is_written_and_read_with_its_geometry(slicer, volume, tmp_path, ending, slices):
    matrix = np.array([[0, 2, 0, 5], [1, 0, 0, -3], [0, 0, slices, 8], [0, 0, 0, 1.0]])
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    file = tmp_path / f"volume{ending}"
    assert slicer.util.exportNode(volume, str(file), {})
    read = slicer.util.loadVolume(str(file), {})
    assert read.GetName() == "volume" and read.GetDisplayNode() and read.GetStorageNode().GetFileName() == str(file)
    voxels = slicer.util.arrayFromVolume(volume)
    if np.linalg.det(matrix) < 0:  # Slicer reads left-handed volumes with their slices in reverse order
        voxels = voxels[::-1]
        matrix[2, 3] += matrix[2, 2] * (len(voxels) - 1)
        matrix[2, 2] *= -1
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(read), voxels)
    np.testing.assert_allclose(ijkToRas(slicer, read), matrix, atol=1e-6)
    red = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == read.GetID()


def test_segmentations_markups_tables_and_transforms_are_written_and_read(slicer, segmentation, tmp_path):
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    points.AddControlPoint(1, 2, 3, "centre")
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Table")
    slicer.util.updateTableFromArray(table, [np.array([1.0, 2.0])], ["x"])
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Transform")
    for node, ending in ((segmentation, ".seg.nrrd"), (points, ".mrk.json"), (table, ".csv"), (transform, ".h5")):
        assert slicer.util.saveNode(node, str(tmp_path / f"file{ending}"), {})
        read = slicer.util.loadNodeFromFile(str(tmp_path / f"file{ending}"), None, {})
        assert read is not node and read.GetClassName() == node.GetClassName()
    assert slicer.util.loadSegmentation(str(tmp_path / "file.seg.nrrd"), {}).GetSegmentation().GetSegment("a")
    with pytest.raises(RuntimeError, match="absent"):
        slicer.util.loadVolume(str(tmp_path / "absent.nii.gz"), {})


def test_a_dicom_folder_is_loaded_into_patient_and_study(slicer, scene, dataFolder):
    if not (dataFolder / "dicom_ok").is_dir():
        pytest.skip("no DICOM folder")
    expected = json.loads((dataFolder / "dicom_ok" / "expected.json").read_text())["T1post"]
    volumes = harness.loadDicomFolder(dataFolder / "dicom_ok")
    volume = next(node for node in volumes if node.GetName().endswith("T1post"))
    assert list(volume.GetImageData().GetDimensions()) == expected["shape_xyz"]
    assert abs(slicer.util.arrayFromVolume(volume).mean() - expected["mean"]) < 1e-3
    item = hierarchyOf(slicer).GetItemByDataNode(volume)
    study = hierarchyOf(slicer).GetItemParent(item)
    assert hierarchyOf(slicer).IsItemLevel(study, "Study")
    assert hierarchyOf(slicer).IsItemLevel(hierarchyOf(slicer).GetItemParent(study), "Patient")


# ---------------------------------------------------------------------------------------- the user


def test_messages_are_written_down_and_answered(slicer):
    slicer.util.errorDisplay("broken")
    slicer.util.infoDisplay("done")
    assert harness.answers.texts("error") == ["broken"] and harness.answers.texts() == ["broken", "done"]
    assert slicer.util.confirmYesNoDisplay("Delete?")
    harness.answers.confirm(False, True)
    assert not slicer.util.confirmYesNoDisplay("Delete?") and slicer.util.confirmOkCancelDisplay("Go on?")
    assert harness.answers.texts("confirm") == ["Delete?", "Delete?", "Go on?"]


def test_dialogs_are_answered_and_never_wait(slicer, tmp_path):
    import qt

    assert qt.QFileDialog.getExistingDirectory(None, "Folder", "") == ""
    harness.answers.chooseFiles(tmp_path)
    assert qt.QFileDialog.getExistingDirectory(None, "Folder", "") == str(tmp_path)
    dialog = qt.QDialog()
    dialog.setWindowTitle("Options")
    with pytest.raises(RuntimeError, match="Options"):
        dialog.exec_()
    harness.answers.answerDialog(lambda shown: shown is dialog)
    assert dialog.exec_() is True
    harness.answers.confirm(False)
    assert qt.QMessageBox.question(None, "", "Sure?", qt.QMessageBox.Yes | qt.QMessageBox.No) == qt.QMessageBox.No


def test_errors_in_callbacks_are_not_lost(slicer, scene):
    import qt

    tag = scene.AddObserver(scene.NodeAddedEvent, lambda caller, event: 1 / 0)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    scene.RemoveObserver(tag)
    button = qt.QPushButton()
    button.clicked.connect(lambda: undefinedName)  # noqa: F821
    button.click()
    kinds = [error.strip().splitlines()[-1].split(":")[0] for error in harness.errors]
    harness.errors.clear()
    assert kinds == ["ZeroDivisionError", "NameError"]


def test_settings_and_temporary_files_stay_in_the_harness(slicer):
    import qt

    qt.QSettings().setValue("TopoMAE/Python", "/usr/bin/python3")
    assert slicer.util.settingsValue("TopoMAE/Python", "") == "/usr/bin/python3"
    assert Path(slicer.app.userSettings().fileName()).is_relative_to(Path(slicer.app.temporaryPath).parent)
    assert Path(slicer.util.tempDirectory()).is_relative_to(slicer.app.temporaryPath)


def test_settings_of_the_test_before_are_gone(slicer):
    assert slicer.util.settingsValue("TopoMAE/Python", "none") == "none"


def test_texts_are_translated_and_a_translation_that_loses_a_placeholder_is_not_used(slicer, monkeypatch):
    from slicer.i18n import tr as _

    assert _("{n} volumes").format(n=3) == "3 volumes"
    with harness.markedLanguage():
        assert _("{n} volumes").format(n=3) == "«3 volumes»"
    monkeypatch.setattr(slicer.app, "_translator", lambda context, text: f"{context}: {{m}}")
    assert _("{n} volumes") == "{n} volumes" and _("{m} volumes") == "test_harness_slicer: {m}"


def test_installations_are_recorded_not_done(slicer, tmp_path):
    import slicer.packaging

    file = tmp_path / "requirements.txt"
    file.write_text("# what is needed\nnumpy>=1.20\nno-such-package>=3 ; python_version > '3'\n")
    needed = slicer.packaging.load_requirements(file)
    assert slicer.packaging.pip_check(needed[0]) and not slicer.packaging.pip_check(needed)
    slicer.packaging.pip_ensure(needed, constraints="c.txt", requester="TopoMAE")
    slicer.util.pip_install("-U other")
    first, second = slicer.packaging.calls
    assert first.requirements[1].startswith("no-such-package") and first.options["requester"] == "TopoMAE"
    assert second.function == "pip_install" and second.requirements == ["-U", "other"]


def test_processes_start_with_the_environment_slicer_was_started_with(slicer, monkeypatch):
    monkeypatch.setenv("PATH_OF_SLICER", "x")
    assert "PATH" in slicer.util.startupEnvironment()
    lines, codes = [], []
    command = [sys.executable, "-c", "print('hello'); raise SystemExit(3)"]
    slicer.util.launchConsoleProcess(command, blocking=False, logCallback=lines.append, completedCallback=codes.append)
    assert harness.pump(lambda: codes, seconds=20)
    assert (lines, codes) == (["hello\n"], [3]) or (lines, codes) == (["hello"], [3])


def test_closing_the_application_can_be_refused_and_is_announced(slicer):
    import qt

    class Guard(qt.QObject):
        def eventFilter(self, watched, event):
            if event.type() != qt.QEvent.Close:
                return False
            event.ignore()
            return True

    told = []
    slicer.app.aboutToQuit.connect(lambda: told.append(True))
    guard = Guard()
    slicer.util.mainWindow().installEventFilter(guard)
    assert not harness.quitApplication() and not told
    slicer.util.mainWindow().removeEventFilter(guard)
    assert harness.quitApplication() and told


# ---------------------------------------------------------------------------------------- what Python and VTK need


def test_callbacks_of_nodes_survive_garbage_collection(slicer, scene):
    told = []

    def observe():
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", "text")
        cycle = [node]
        cycle.append(cycle)
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: told.append(caller.GetName()))

    observe()
    gc.collect()
    slicer.util.getNode("text").SetName("changed")
    assert told == ["changed"]


def test_calls_that_return_nothing_cost_nothing(slicer):
    import qt

    label = qt.QLabel()
    for _ in range(30000):
        label.parent()
    assert label.parent() is None


def test_the_tests_are_started_in_the_application_with_both_modules(tmp_path):
    script = Path(__file__).parent / "run_in_application.py"
    variables = {name: value for name, value in os.environ.items() if name != "SLICER_EXECUTABLE"}
    without = subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True)
    assert without.returncode == 2 and "SLICER_EXECUTABLE" in without.stdout
    if os.name == "nt":
        pytest.skip("the stand-in of the application is a script")
    program = tmp_path / "Slicer"
    told = "print(os.environ['TOPOMAE_PYTEST_OPTIONS'], sys.argv)"
    program.write_text(f"#!{sys.executable}\nimport os, sys\n{told}\nsys.exit(3)\n")
    program.chmod(0o755)
    variables["SLICER_EXECUTABLE"] = str(program)
    run = subprocess.run([sys.executable, script, "-k", "dice"], env=variables, capture_output=True, text=True)
    assert run.returncode == 3 and run.stdout.startswith('["-k", "dice"]')
    for part in ("--no-main-window", "--testing", "TopoMAESegment", "TopoMAETrain", "run_in_application.py"):
        assert part in run.stdout
