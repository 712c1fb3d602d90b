"""What has to be there before a run: models on the list, a Python with the packages, a module that loads fast."""

from __future__ import annotations

import sys
import time

import harness
from segment_helpers import OBLIQUE, TWO_IMAGES, greyVoxels, run

pytest_plugins = ("segment_fixtures",)


def test_a_model_of_two_images_asks_for_both_by_name(scene, makePanel, makeCardFolder, client):
    from TopoMAELib.model_folders import ModelList
    from TopoMAELib.volumes import addVolume

    ModelList().add(makeCardFolder(plan=TWO_IMAGES))
    volumes = [addVolume(greyVoxels(offset=n), OBLIQUE, name) for n, name in enumerate(("p1 FLAIR", "p1 T1"))]
    panel = makePanel()
    panel.enter()
    assert [label.text for label in panel.inputPanel._labels] == ["T1:", "FLAIR:"]
    assert panel.context.volumeNodes() == volumes[::-1]  # told apart by their names
    panel.inputPanel._selectors[1].setCurrentNode(None)
    assert panel.ui.statusLabel.text == "Choose a volume for FLAIR."
    panel.inputPanel._selectors[1].setCurrentNode(volumes[0])
    run(panel)
    assert len(client.requests[0].arguments["images"]) == 2


def test_another_model_keeps_the_volumes_that_were_chosen(aVolume, panel, makeCardFolder):
    from TopoMAELib.model_folders import ModelList

    ModelList().add(makeCardFolder("two", plan=TWO_IMAGES))
    for row in (1, 0):
        panel.ui.modelTable.selectRow(row)
        assert panel.context.volumeNodes() == [aVolume]
    assert [selector.isHidden() for selector in panel.inputPanel._selectors] == [False, True]


def test_folders_of_models_are_added_removed_and_opened(aVolume, panel, makeCardFolder, tmp_path):
    opened = []
    panel.modelPanel._openFolder = opened.append
    liver = makeCardFolder("liver", plan={"dataset": "Liver"})
    harness.answers.chooseFiles(liver)
    panel.ui.addModelButton.click()
    assert panel.context.modelCard().name == "Liver (liver)"
    panel.ui.openModelButton.click()
    assert opened == [str(liver)]
    harness.answers.chooseFiles(tmp_path)
    panel.ui.addModelButton.click()
    assert (
        harness.answers.texts()[-1]
        == f"{tmp_path} is no model; choose the folder of a model or of a finished fine-tuning run."
    )
    panel.ui.removeModelButton.click()
    assert panel.context.modelCard().name == "Kidneys (kidneys)"
    assert panel.ui.modelTable.rowCount == 1
    assert liver.is_dir()


def test_a_model_that_training_adds_appears_at_once(panel, makeCardFolder):
    from TopoMAELib.model_folders import ModelList

    ModelList().add(makeCardFolder("new", plan={"dataset": "New"}))
    assert panel.ui.modelTable.item(1, 0).text() == "New (new)"


def test_missing_packages_are_offered_and_the_row_goes_away_when_all_is_well(panel, engine, client):
    assert panel.ui.engineFrame.isHidden()
    assert client.started  # the worker warms up while the user is still choosing
    engine.ok, engine.message = False, "Missing in Python 3.12.10: monai>=1.5. Press the button Install."
    panel.enginePanel.check()
    assert not panel.ui.engineFrame.isHidden()
    assert panel.ui.engineLabel.text == engine.message
    installed = []
    panel.enginePanel._install = lambda: (installed.append(1), setattr(engine, "ok", True))
    panel.ui.installButton.click()
    assert installed
    assert panel.ui.engineFrame.isHidden()


def test_another_python_is_chosen_and_given_up_again(panel, engine, client, tmp_path, monkeypatch):
    import qt

    from TopoMAELib.interpreter import savedInterpreter

    monkeypatch.delenv("TOPOMAE_PYTHON", raising=False)
    program = tmp_path / "python"
    program.symlink_to(sys.executable)  # as in a virtual environment

    def choose(dialog):
        assert dialog.testOption(qt.QFileDialog.DontResolveSymlinks)
        dialog.selectFile(str(program))
        return True

    harness.answers.answerDialog(choose)
    engine.ok = False
    panel.ui.changePythonButton.click()
    assert savedInterpreter() == str(program)
    assert not client.started  # the worker of the former Python was ended
    assert panel.ui.installButton.isHidden()  # packages are installed into Slicer's own Python only
    assert not panel.ui.ownPythonButton.isHidden()
    engine.ok = True
    panel.ui.ownPythonButton.click()
    assert savedInterpreter() == ""


def test_the_module_loads_fast_and_imports_nothing_heavy(slicer):
    for name in [one for one in sys.modules if one.startswith(("TopoMAESegment", "TopoMAELib"))]:
        del sys.modules[name]
    before, began = set(sys.modules), time.perf_counter()
    import TopoMAESegment  # noqa: F401

    seconds = time.perf_counter() - began
    allowed = {
        "slicer",
        "qt",
        "ctk",
        "vtk",
        "vtkmodules",
        "numpy",
        "TopoMAESegment",
        "TopoMAESegmentLib",
        "TopoMAELib",
    }
    roots = {name.split(".")[0] for name in set(sys.modules) - before}
    assert roots <= allowed | set(sys.stdlib_module_names)
    assert seconds < 0.3
