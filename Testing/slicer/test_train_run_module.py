"""The whole module: its panels together, its parameter node, trainings found again at the next start."""

import sys
import time
from types import SimpleNamespace

import pytest

from train_run_stand_ins import REPOSITORY, makeRun, standInInterpreter


class Panel:
    """Stands for the data and the plan panel."""

    def __init__(self):
        self.calls = []

    def cleanup(self):
        self.calls.append("cleanup")

    def sceneClosing(self):
        self.calls.append("sceneClosing")


@pytest.fixture
def makeWidget(scene, slicer, tmp_path):
    """Makes the content of the module with a stand-in engine; each time as a newly started Slicer does."""
    import qt
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    from TopoMAETrainLib.context import TrainContext
    from TopoMAETrainLib.logic import TrainLogic
    from TopoMAETrainLib.widget import TrainWidget

    interpreter = standInInterpreter(tmp_path / "engine")

    class TopoMAETrainLogic(TrainLogic, ScriptedLoadableModuleLogic):
        def __init__(self):
            ScriptedLoadableModuleLogic.__init__(self)
            TrainLogic.__init__(self, lambda: interpreter)

    made = []
    checked = SimpleNamespace(ok=True, message="Ready.")

    def make():
        holder = qt.QWidget()
        outer = qt.QVBoxLayout(holder)

        class ui:
            pass

        for name in ("dataLayout", "planLayout", "trainingLayout", "runsLayout"):
            setattr(ui, name, qt.QVBoxLayout())
            outer.addLayout(getattr(ui, name))
        for name in ("engineFrame", "engineLabel", "pythonStateLabel"):
            setattr(ui, name, qt.QLabel(holder))
        for name in ("installButton", "interpreterButton", "changePythonButton", "ownPythonButton"):
            setattr(ui, name, qt.QPushButton(holder))
        context = TrainContext(interpreterFinder=lambda: interpreter)
        context.runsRoot = str(tmp_path / "runs")
        widget = TrainWidget(ui, TopoMAETrainLogic(), context, lambda *_: [Panel()], lambda _: checked)
        widget.holder = holder
        holder.show()
        widget.enter()
        made.append(widget)
        return widget

    make.checked = checked
    yield make
    for widget in made:
        for process in widget.logic.running():
            process.kill()
        widget.exit()
        widget.cleanup()


def pump(condition, seconds=20.0):
    import harness

    assert harness.pump(condition, seconds=seconds), "the condition did not come true"


def test_what_the_user_chose_is_kept_in_the_scene_and_comes_back_with_it(makeWidget, slicer, tmp_path):
    widget = makeWidget()
    context, ui = widget.context, widget.training.ui
    context.set(dataFolder=str(tmp_path), modalityNames=["T1", "T2"], size="base", planOverrides={"spacing": "1,1,3"})
    ui.kindComboBox.setCurrentIndex(1)
    ui.stepsSpinBox.setValue(123)
    ui.runNameLineEdit.setText("my run")
    ui.furtherLineEdit.setText("seed=5")
    file = str(tmp_path / "scene.mrml")
    assert slicer.util.saveScene(file)

    slicer.mrmlScene.Clear(0)
    assert (context.dataFolder, context.size, context.planOverrides) == ("", "small", {})
    assert (ui.kindComboBox.currentIndex, ui.stepsSpinBox.value, ui.furtherLineEdit.text) == (0, 0, "")
    assert widget.panels[0].calls == ["sceneClosing"]

    slicer.util.loadScene(file)
    assert (context.dataFolder, context.modalityNames) == (str(tmp_path), ["T1", "T2"])
    assert (context.size, context.planOverrides) == ("base", {"spacing": "1,1,3"})
    assert (ui.kindComboBox.currentIndex, ui.stepsSpinBox.value) == (1, 123)
    assert (ui.runNameLineEdit.text, ui.furtherLineEdit.text) == ("my run", "seed=5")


def test_a_training_is_found_again_at_the_next_start_of_slicer(makeWidget, tmp_path):
    first = makeWidget()
    first.context.set(dataFolder=str(tmp_path))
    first.training.ui.furtherLineEdit.setText("steps=100000")
    first.training.ui.startButton.click()
    pump(lambda: first.training._watcher.folder.progress.step > 3)
    folder = first.training.runPath
    first.logic._processes.clear()
    first.exit()
    first.cleanup()

    makeRun(tmp_path / "runs" / "z done")
    second = makeWidget()
    assert second.training.runPath == folder
    assert second.training.process.running
    assert second.runs.selected.path == folder
    second.training.ui.stopButton.click()
    pump(lambda: not second.training.process.running)

    third = makeWidget()
    assert third.training.runPath == folder, "nothing runs, so the run shown last is shown again"
    pump(lambda: third.training.ui.stateLabel.text.startswith("Stopped"))


def test_closing_the_scene_does_not_disturb_a_training(makeWidget, slicer, tmp_path):
    widget = makeWidget()
    widget.context.set(dataFolder=str(tmp_path))
    widget.training.ui.furtherLineEdit.setText("steps=150")
    widget.training.ui.startButton.click()
    pump(lambda: widget.training._watcher.folder.progress.step > 3)
    slicer.mrmlScene.Clear(0)
    pump(lambda: widget.training.ui.stateLabel.text.startswith("Done at step 150"))
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert [chart.GetName() for chart in charts] == ["TopoMAE training"]


def test_previews_go_with_the_scene_and_not_when_another_one_is_added(makeWidget, slicer, monkeypatch):
    widget, told = makeWidget(), []
    monkeypatch.setattr(widget.training.previews, "sceneClosed", lambda: told.append("closed"))
    slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.EndImportEvent)
    assert told == []
    slicer.mrmlScene.Clear(0)
    assert told == ["closed"]


def test_nothing_is_started_while_packages_are_missing_and_the_panel_says_which(makeWidget, tmp_path):
    makeWidget.checked.ok, makeWidget.checked.message = False, "Missing: torch."
    widget = makeWidget()
    widget.context.set(dataFolder=str(tmp_path))
    pump(lambda: not widget.training.ui.startButton.enabled)
    assert widget.training.ui.startButton.toolTip == "Missing: torch."
    assert widget.ui.engineFrame.visible
    makeWidget.checked.ok = True
    widget.engine.check()
    assert widget.training.ui.startButton.enabled


def test_the_module_loads_quickly_and_its_logic_answers_scripts(scene, slicer, tmp_path):
    import harness

    slicer.app.userSettings().setValue("TopoMAE/RunsRoot", str(tmp_path))
    makeRun(tmp_path / "one")
    for name in [name for name in sys.modules if name.startswith("TopoMAETrain")]:
        del sys.modules[name]
    sys.path.insert(0, str(REPOSITORY / "TopoMAETrain"))
    start = time.process_time()
    import TopoMAETrain  # noqa: F401

    assert time.process_time() - start < 0.3
    sys.path.remove(str(REPOSITORY / "TopoMAETrain"))
    try:
        harness.load("TopoMAETrain")
        logic = slicer.util.getModuleLogic("TopoMAETrain")
        assert [run.name for run in logic.runs(tmp_path)] == ["one"]
    finally:
        harness.unload("TopoMAETrain")
