"""Real trainings of the real engine, as tiny as can be, driven through the panels."""

import json
import os
import shutil
import signal
import subprocess

import numpy as np
import pytest

from train_run_stand_ins import REPOSITORY, engineInterpreter, pythonOfTests

SETTINGS = "preview_every=3 checkpoint_every=2 topology_budget=100000 precision=32"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    code = (
        "from topomae.data.phantoms import make_phantoms; "
        f"make_phantoms({str(folder)!r}, cases=6, labelled=2, shape=(24, 24, 16))"
    )
    subprocess.run([pythonOfTests(), "-c", code], cwd=REPOSITORY, check=True)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


class Panels:
    """Training panel and list of runs, as the module has them."""

    def __init__(self, root, data):
        import qt

        from TopoMAETrainLib.context import TrainContext
        from TopoMAETrainLib.logic import TrainLogic
        from TopoMAETrainLib.runs_panel import RunsPanel
        from TopoMAETrainLib.training_panel import TrainingPanel

        self.context = TrainContext(interpreterFinder=engineInterpreter)
        self.context.runsRoot = str(root)
        self.context.set(dataFolder=str(data), device="cpu")
        self.logic = TrainLogic(self.context.interpreter)
        self.holder = qt.QWidget()
        layout = qt.QVBoxLayout(self.holder)
        self.training = TrainingPanel(layout, self.context, self.logic)
        self.opened, self.closed = [], False
        self.runs = RunsPanel(layout, self.context, self.logic, self.training, openUrl=self.opened.append)
        self.holder.show()

    @property
    def step(self):
        return self.training._watcher.folder.progress.step

    def close(self):
        if self.closed:
            return
        self.closed = True
        self.runs.cleanup()
        self.training.cleanup()
        self.logic.leave()
        self.holder.deleteLater()


@pytest.fixture
def panels(scene, root, phantoms):
    made = []

    def make(data=phantoms):
        made.append(Panels(root, data))
        return made[-1]

    yield make
    for one in made:
        for process in one.logic.running():
            process.kill()
        one.close()


def pump(condition, seconds=90.0):
    import harness

    assert harness.pump(condition, seconds=seconds), "the condition did not come true"


def test_a_pretraining_is_started_stopped_resumed_killed_found_again_and_finished(panels, root, slicer):
    first = panels()
    ui = first.training.ui
    ui.runNameLineEdit.setText("pretrain")
    ui.stepsSpinBox.setValue(12)
    ui.furtherLineEdit.setText(SETTINGS)
    ui.startButton.click()
    pump(lambda: ui.previewButton.text == "Load step 3")
    ui.stopButton.click()
    pump(lambda: ui.stateLabel.text.startswith("Stopped at step"))
    assert 3 <= first.step < 12

    ui.previewButton.click()
    _previewIsInTheScene(slicer, root / "pretrain" / "previews", first.training.previews._scene)

    ui.resumeButton.click()
    pump(lambda: first.step > 5)
    os.kill(first.training.process.runFolder.owner.pid, signal.SIGKILL)
    pump(lambda: ui.stateLabel.text.startswith("Interrupted at step"))
    assert "SIGKILL" in ui.errorLabel.text
    assert "Resume it to go on" in ui.errorLabel.text

    ui.resumeButton.click()
    pump(lambda: first.training.process.runFolder.owner is not None)
    first.close()

    second = panels()
    second.runs.refresh()
    second.training.watch(second.logic.attach(second.runs.newestRunning().path))
    pump(lambda: second.training.ui.stateLabel.text.startswith("Done at step 12"))
    assert second.training.ui.curveComboBox.findText("Loss") == 0
    loss = second.training._watcher.folder.curves()["pretrain", "loss"][0]
    assert loss.tolist() == [10.0]
    assert (root / "pretrain" / "model" / "pretrained.safetensors").is_file()
    assert "done" in second.training.ui.logTextEdit.toPlainText()


def _previewIsInTheScene(slicer, folder, scene):
    """The same voxels at the same place as Slicer's own reader gives; key points as in the file."""
    for kind in ("input", "masked", "vit", "unetrpp"):
        read = slicer.util.loadVolume(str(folder / f"step_00000003_{kind}.nii.gz"), {"show": False})
        mine = scene.volume(kind)
        assert np.array_equal(slicer.util.arrayFromVolume(mine), slicer.util.arrayFromVolume(read))
        places = [slicer.util.arrayFromVTKMatrix(matrixOf(node)) for node in (mine, read)]
        np.testing.assert_allclose(*places, atol=1e-4)
        slicer.mrmlScene.RemoveNode(read)
        assert mine.GetStorageNode() is None, "saving the scene must not write into the run folder"
    points = json.loads((folder / "step_00000003_keypoints.json").read_text())
    for name in ("true", "vit", "unetrpp"):
        node = scene.points(name)
        np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(node), points[name], atol=1e-4)
    assert scene.points("true").GetNthControlPointLabel(0) == "centre"


def matrixOf(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_a_finetuning_from_it_gives_a_model_that_segment_offers_and_a_report(panels, root):
    from TopoMAELib.model_folders import ModelList

    if not (root / "pretrain" / "model").is_dir():
        pytest.skip("the pre-training of the test before is not there")
    one = panels()
    ui = one.training.ui
    ui.kindComboBox.setCurrentIndex(1)
    assert ui.initComboBox.currentText == "Pre-training pretrain"
    ui.runNameLineEdit.setText("finetune")
    ui.stepsSpinBox.setValue(4)
    ui.furtherLineEdit.setText("validate_every=2 precision=32")
    ui.startButton.click()
    pump(lambda: ui.stateLabel.text.startswith("Done at step 4, best Dice"))
    assert ModelList().folders() == [str((root / "finetune" / "model").resolve())]
    assert ui.initComboBox.findData(str((root / "finetune" / "model").resolve())) > 0
    one.runs.refresh()
    assert [run.name for run in one.runs.runs if run.bestDice is not None] == ["finetune"]

    one.runs.select(root / "finetune")
    one.runs.ui.reportButton.click()
    pump(lambda: one.opened)
    page = one.opened[0].read_text(encoding="utf-8")
    assert "Fine-tuning" in page
    assert "Pre-training" in page


def test_bad_data_are_explained_in_the_words_of_the_engine(panels, root, tmp_path, phantoms):
    bad = tmp_path / "bad"
    shutil.copytree(phantoms, bad)
    image = sorted((bad / "imagesTr").iterdir())[0]
    image.write_bytes(image.read_bytes()[:100])
    one = panels(bad)
    ui = one.training.ui
    ui.runNameLineEdit.setText("bad")
    ui.startButton.click()
    pump(lambda: ui.errorLabel.visible)
    assert image.name.split(".")[0] in ui.errorLabel.text
    assert one.training.process.state() == "failed"
    assert one.training.process.exitCode == 1

    one.context.set(dataFolder=str(tmp_path / "nothing here"))
    ui.runNameLineEdit.setText("absent")
    ui.startButton.click()
    pump(lambda: ui.errorLabel.visible and "nothing here" in ui.errorLabel.text)
    assert (root / "absent" / "console.log").is_file()
