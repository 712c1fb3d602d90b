"""The data panel: from the scene or a folder to a checked data set, on real MRML and with the real engine."""

import shutil
from pathlib import Path

import pytest

import harness
from train_data_scenes import addSegmentation, addVolume, realCase
from train_data_stand_ins import StandInEngine, aCase, texts, useModuleFolders

SEGMENTS = {1: "Anterior", 2: "Posterior"}


@pytest.fixture
def makePanel(scene):
    """A function that makes a data panel; it is cleaned up after the test."""
    useModuleFolders()
    import qt

    from TopoMAETrainLib.context import TrainContext
    from TopoMAETrainLib.data_panel import DataPanel
    from TopoMAETrainLib.plan_service import PlanService

    made = []

    def make(engine=None):
        place = qt.QWidget()
        context = TrainContext()
        service = PlanService(context, engine) if engine else None
        panel = DataPanel(qt.QVBoxLayout(place), context, service)
        made.append((place, panel))
        return panel

    yield make
    for place, panel in made:
        panel.cleanup()
        place.deleteLater()


def open_(panel):
    """Open the part for the scene, and let it see the nodes."""
    panel._ui.sceneCollapsibleButton.collapsed = False
    harness.pump(lambda: not panel.scene._timer.active, 2)


def test_what_is_open_becomes_the_data_set_and_the_engine_finds_nothing_wrong(makePanel, dataFolder, tmp_path):
    panel = makePanel()
    image, labels, affine = realCase(dataFolder, 0)
    volume = addVolume(image, affine, "Fall ä 1")
    addSegmentation(labels, affine, "Segmentation", SEGMENTS, volume)
    addVolume(image[::-1], affine, "患者 2")
    open_(panel)
    ui = panel._ui
    assert [texts(ui.sceneCaseTable, row)[0] for row in range(2)] == ["Fall_a_1", "患者_2"]
    assert ui.sceneCaseTable.cellWidget(0, 2).currentText == "Segmentation"
    assert ui.sceneCaseTable.cellWidget(1, 2).currentText == "none"
    assert texts(ui.sceneLabelTable, 0) == ["Anterior", "1", "Anterior", "1 of 1"]

    project = tmp_path / "Mein Projekt ü"
    project.mkdir()
    ui.sceneParentPathLineEdit.setCurrentPath(str(project))
    ui.sceneNameLineEdit.setText("My first set")
    assert ui.sceneWriteButton.enabled
    ui.sceneWriteButton.click()
    assert Path(panel._context.dataFolder) == project / "My_first_set"
    assert harness.pump(lambda: panel._service.answer is not None, 120)
    assert panel._service.answer.error == ""
    assert texts(ui.caseTable, 0)[:4] == ["Fall_a_1", "yes", "35 × 51 × 35", "1 × 1 × 1"]
    assert texts(ui.caseTable, 1)[:2] == ["患者_2", "–"]
    assert ui.summaryLabel.text == "Cases: 2, labelled: 1. Labels: 1 Anterior, 2 Posterior."


def test_the_tables_follow_the_scene_and_keep_what_the_user_decided(makePanel, slicer, dataFolder):
    import qt

    panel = makePanel()
    image, labels, affine = realCase(dataFolder, 0)
    for name in ("a", "b"):
        addVolume(image, affine, name)
    open_(panel)
    table = panel._ui.sceneCaseTable
    table.item(0, 0).setText("renamed")
    table.item(1, 0).setCheckState(qt.Qt.Unchecked)
    drawn = addSegmentation(labels, affine, "drawn later", SEGMENTS, slicer.util.getNode("a"))
    addVolume(image, affine, "c")
    open_(panel)
    assert [texts(table, row)[0] for row in range(3)] == ["renamed", "b", "c"]
    assert [case.name for case in panel.scene._caseTable.cases()] == ["renamed", "c"]
    assert panel.scene._caseTable.cases()[0].segmentationNode is drawn

    panel._ui.sceneLabelTable.item(1, 0).setText("Body")
    panel._ui.sceneLabelTable.item(0, 0).setCheckState(qt.Qt.Unchecked)
    assert [texts(panel._ui.sceneLabelTable, row)[1] for row in range(2)] == ["–", "1"]
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("b"))
    open_(panel)
    assert [texts(table, row)[0] for row in range(2)] == ["renamed", "c"]
    assert [label.name for label in panel.scene._labelTable.labels() if label.used] == ["Body"]
    slicer.mrmlScene.Clear(0)
    open_(panel)
    assert table.rowCount == 0
    assert not panel._ui.sceneWriteButton.enabled


def test_problems_are_marked_at_their_case_and_nothing_is_written(makePanel, dataFolder, tmp_path):
    panel = makePanel()
    image, labels, affine = realCase(dataFolder, 0)
    volume = addVolume(image, affine, "scan")
    far = affine.copy()
    far[0, 3] += 500
    addSegmentation(labels, far, "elsewhere", SEGMENTS, volume)
    addVolume(image, affine, "fine")
    open_(panel)
    ui = panel._ui
    ui.sceneParentPathLineEdit.setCurrentPath(str(tmp_path))
    ui.sceneWriteButton.click()
    assert ui.sceneMessageLabel.text.startswith("Nothing was written. scan: elsewhere lies outside scan")
    assert "lies outside" in texts(ui.sceneCaseTable, 0)[3]
    assert not ui.sceneCaseTable.item(0, 3).icon().isNull()
    assert texts(ui.sceneCaseTable, 1)[3] == ""
    ui.sceneCaseTable.setCurrentCell(0, 0)
    assert ui.sceneCaseLabel.text.endswith("choose the volume it was drawn on.")
    assert not list(tmp_path.iterdir())
    assert panel._context.dataFolder == ""


def test_several_channels_give_several_columns_and_a_missing_volume_is_told_before_writing(makePanel, dataFolder):
    panel = makePanel()
    image, _, affine = realCase(dataFolder, 0)
    for name in ("Miller FLAIR", "Miller T1", "Smith T1"):
        addVolume(image, affine, name)
    open_(panel)
    ui = panel._ui
    ui.sceneChannelsLineEdit.setText("FLAIR, T1")
    panel.scene._onChannelsEdited()
    assert ui.sceneCaseTable.columnCount == 5
    assert [texts(ui.sceneCaseTable, row)[0] for row in range(2)] == ["Miller", "Smith"]
    assert "no volume for FLAIR" in texts(ui.sceneCaseTable, 1)[4]
    assert not ui.sceneWriteButton.enabled
    choice = ui.sceneCaseTable.cellWidget(1, 1)
    choice.setCurrentIndex(choice.findText("Smith T1"))
    assert "two channels" in texts(ui.sceneCaseTable, 1)[4]
    choice.setCurrentIndex(choice.findText("Miller FLAIR"))
    assert texts(ui.sceneCaseTable, 1)[4] == ""
    assert ui.sceneWriteButton.enabled


def test_a_folder_is_read_when_it_is_chosen_and_its_problems_are_marked(makePanel, tmp_path):
    engine = StandInEngine()
    panel = makePanel(engine)
    ui = panel._ui
    ui.dataPathLineEdit.setCurrentPath(str(tmp_path / "nowhere"))
    assert "There is no folder" in ui.summaryLabel.text
    (tmp_path / "dataset.json").write_text("{}")
    ui.dataPathLineEdit.setCurrentPath(str(tmp_path / "dataset.json"))
    assert panel._context.dataFolder == str(tmp_path)
    assert harness.pump(lambda: engine.questions, 5)
    engine.onProgress("check data", 0.25, 12.0)
    assert ui.checkProgressBar.format == "Reading the data: 12 s left"
    assert ui.checkProgressBar.value == 250
    bad, odd = ("cannot be read. Export it again.",), ("unlike <b>the others</b>",)
    engine.answer(
        cases=[aCase("a"), aCase("b", errors=bad, shape=None), aCase("c", False, warnings=odd)], plan={"x": 1}
    )
    assert texts(ui.caseTable, 1) == ["b", "yes", "–", "–", bad[0]]
    assert [ui.caseTable.item(row, 4).icon().isNull() for row in range(3)] == [True, False, False]
    assert "&lt;b&gt;" in ui.caseTable.item(2, 4).toolTip()
    assert "Cannot be used: 1" in ui.summaryLabel.text
    ui.caseTable.setCurrentCell(2, 0)
    assert ui.caseLabel.text == odd[0]

    ui.channelsLineEdit.setText("CT")
    panel._onChannelsEdited()
    assert harness.pump(lambda: len(engine.questions) == 2, 5)
    assert engine.questions[1].modalityNames == ("CT",)
    ui.checkButton.click()
    assert engine.cancelled == 1
    assert not panel._service.busy
    assert ui.caseTable.rowCount == 3


def test_a_folder_that_is_no_data_set_is_told_in_the_words_of_the_engine(makePanel, tmp_path):
    panel = makePanel()
    panel._ui.dataPathLineEdit.setCurrentPath(str(tmp_path))
    assert harness.pump(lambda: panel._service.answer is not None, 120)
    assert "no images found" in panel._ui.summaryLabel.text
    assert str(tmp_path) in panel._ui.summaryLabel.text


def test_an_interpreter_that_cannot_be_started_is_told(makePanel, tmp_path, monkeypatch):
    monkeypatch.setenv("TOPOMAE_PYTHON", str(tmp_path / "no python"))
    panel = makePanel()
    panel._ui.dataPathLineEdit.setCurrentPath(str(tmp_path))
    assert harness.pump(lambda: panel._service.answer is not None, 30)
    assert "could not be started" in panel._ui.summaryLabel.text
    folder = panel._service._folder
    panel.cleanup()
    assert not folder.exists()


def test_a_damaged_real_file_is_marked(makePanel, dataFolder, tmp_path):
    broken = dataFolder / "broken" / "c06_truncated_gz"
    if not broken.is_dir():
        pytest.skip("no broken volumes here")
    shutil.copytree(broken, tmp_path / "set")
    panel = makePanel()
    panel._ui.dataPathLineEdit.setCurrentPath(str(tmp_path / "set"))
    assert harness.pump(lambda: panel._service.answer is not None, 120)
    assert not panel._ui.caseTable.item(0, 4).icon().isNull()
    assert "truncated" in texts(panel._ui.caseTable, 0)[4] or "ends" in texts(panel._ui.caseTable, 0)[4]


def test_folders_are_chosen_where_folders_are_meant(makePanel, slicer):
    import ctk

    ui = slicer.util.childWidgetVariables(makePanel().widget)
    for field in (ui.dataPathLineEdit, ui.sceneParentPathLineEdit):
        assert field.filters & ctk.ctkPathLineEdit.Dirs
        assert not field.filters & ctk.ctkPathLineEdit.Files, "with it, the button opens a dialog for files"
