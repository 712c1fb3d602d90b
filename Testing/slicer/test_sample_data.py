"""The module Sample Data offers phantoms: made by the real engine, here and now, ready to be used."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import sample_data
from segment_models import enginePython

VOLUME, DATA_SET = "TopoMAE phantom", "TopoMAE phantom data set"


@pytest.fixture(autouse=True)
def runsRoot(slicer, tmp_path, monkeypatch):
    """A folder of runs with spaces and letters that are not ASCII."""
    monkeypatch.setenv("TOPOMAE_PYTHON", enginePython())
    folder = tmp_path / "Meine Läufe ü"
    slicer.app.userSettings().setValue("TopoMAE/RunsRoot", str(folder))
    if not harness.insideApplication():  # there our modules have registered theirs once and for all
        slicer.modules.sampleDataSources = {}
    return folder


@pytest.fixture
def click(scene):
    """Loads both modules, and clicks on a button of the module Sample Data."""
    harness.load("TopoMAETrain")
    harness.load("TopoMAESegment")
    import slicer

    panel = sample_data.samplePanel()

    def press(name):
        slicer.util.findChild(panel, f"{name}PushButton").click()

    yield press
    panel.deleteLater()


@pytest.fixture
def anEngine(tmp_path, monkeypatch):
    """A function that puts a program of the test's in the engine's place."""

    def use(lines: str):
        program = tmp_path / "engine"
        program.write_text(f"#!{sys.executable}\nimport json, pathlib, sys, time\n{lines}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("TOPOMAE_PYTHON", str(program))

    if os.name == "nt":
        pytest.skip("a script is no program here")
    return use


def test_both_modules_offer_phantoms_with_pictures_once(click, slicer):
    harness.unload("TopoMAESegment")
    harness.load("TopoMAESegment")
    sources = slicer.modules.sampleDataSources["TopoMAE"]
    assert sorted(source.sampleName for source in sources) == [VOLUME, DATA_SET]
    import qt

    for source in sources:
        picture = qt.QPixmap(source.thumbnailFileName)
        assert (picture.width(), picture.height()) == (280, 260)


def test_a_phantom_is_loaded_with_its_true_segmentation(click, slicer, scene):
    click(VOLUME)
    volume = slicer.util.getNode(VOLUME)
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    content = segmentation.GetSegmentation()
    names = [content.GetSegment(one).GetName() for one in content.GetSegmentIDs()]
    assert names == ["solid organ", "hollow organ", "ring", "branching tube"]
    assert len({content.GetSegment(one).GetColor() for one in content.GetSegmentIDs()}) == 4
    grey = slicer.util.arrayFromVolume(volume)
    masks = [slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, one, volume) for one in content.GetSegmentIDs()]
    assert all(mask.any() for mask in masks)
    # The labels lie on the organs: the branching tube is the brightest, the ring the darkest.
    means = [grey[mask > 0].mean() for mask in masks]
    assert (np.argmax(means), np.argmin(means)) == (3, 2)
    import vtk

    text = vtk.reference("")
    content.GetNthSegment(0).GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text)
    assert "~SCT^85756007^Tissue~SCT^85756007^Tissue~" in str(text)
    assert volume.GetStorageNode() is None
    assert not list(Path(slicer.app.temporaryPath).glob("TopoMAE-phantom-*"))
    assert not slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode")
    assert not harness.answers.shown


def test_a_whole_data_set_is_opened_in_train_and_can_be_trained_on(click, slicer, runsRoot):
    click(DATA_SET)
    folder = runsRoot / "Phantom data set"
    assert slicer.util.moduleSelector().selectedModule == "TopoMAETrain"
    content = slicer.util.getModuleWidget("TopoMAETrain").content
    assert content.context.dataFolder == str(folder)
    assert len(list((folder / "imagesTr").iterdir())) == 24
    service = content.panels[0]._service
    assert harness.pump(lambda: service.answer is not None and not service.busy, 120)
    assert not service.answer.error, service.answer.error
    assert len(service.answer.cases) == 24
    assert 4 < sum(case.labelled for case in service.answer.cases) < 24
    before = (folder / "dataset.json").stat().st_mtime_ns
    click(DATA_SET)
    assert (folder / "dataset.json").stat().st_mtime_ns == before
    assert not harness.answers.shown


def test_the_data_panel_makes_them_where_no_data_are_chosen(click, slicer, runsRoot, anEngine):
    anEngine(
        "folder = pathlib.Path(sys.argv[sys.argv.index('--output') + 1])\n"
        "folder.mkdir(parents=True, exist_ok=True)\n"
        "(folder / 'dataset.json').write_text('{}')"
    )
    ui = slicer.util.getModuleWidget("TopoMAETrain").content.panels[0]._ui
    assert not ui.phantomsButton.isHidden()
    ui.phantomsButton.click()
    assert ui.dataPathLineEdit.currentPath == str(runsRoot / "Phantom data set")
    assert ui.phantomsButton.isHidden()


def test_a_cancelled_data_set_leaves_nothing_behind(click, slicer, runsRoot, anEngine):
    anEngine(
        "folder = pathlib.Path(sys.argv[sys.argv.index('--output') + 1])\n"
        "folder.mkdir(parents=True)\n"
        "(folder / 'half').write_text('half')\n"
        "print(json.dumps({'event': 'progress', 'phase': 'p', 'step': 6, 'of': 24}), flush=True)\n"
        "time.sleep(60)"
    )
    seen = []

    def cancel():
        (dialog,) = [one for one in qt.QApplication.topLevelWidgets() if isinstance(one, qt.QProgressDialog)]
        if dialog.value == 250:
            seen.append((dialog.labelText, (runsRoot / "Phantom data set" / "half").exists()))
            dialog.cancel()
            timer.stop()

    import qt

    timer = qt.QTimer()
    timer.timeout.connect(cancel)
    timer.start(20)
    click(DATA_SET)
    assert seen == [("Making phantoms…", True)]
    assert not (runsRoot / "Phantom data set").exists()
    assert not harness.answers.shown
    assert slicer.util.getModuleWidget("TopoMAETrain").content.context.dataFolder == ""


def test_without_the_engine_the_user_is_told_what_to_do(click, anEngine):
    anEngine("sys.exit('/usr/bin/python: No module named typer')")
    click(VOLUME)
    (text,) = harness.answers.texts("error")
    assert "not installed" in text
    assert "No module named typer" in text
    assert "Open the module TopoMAE Segment" in text


def test_other_data_in_the_folder_are_refused_and_left_alone(click, runsRoot):
    folder = runsRoot / "Phantom data set"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("{}", encoding="utf-8")
    click(DATA_SET)
    (text,) = harness.answers.texts("error")
    assert "another data set lies here" in text
    assert str(folder) in text
    assert (folder / "dataset.json").read_text(encoding="utf-8") == "{}"
