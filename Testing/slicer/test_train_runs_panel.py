"""The list of runs: states, attach, resume, report, delete."""

import subprocess
import sys
from pathlib import Path

import pytest

from train_run_stand_ins import makeRun, standInInterpreter, writeJson


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "runs"
    makeRun(root / "a pre-training")
    folder = makeRun(root / "fine-tuning", "stopped", "finetune", init="scratch", steps=60)
    with open(folder / "metrics.csv", "a") as table:
        table.write("10,validate,dice,0.71\n20,validate,dice,0.625\n20,validate,dice/left,0.9\n")
    makeRun(root / "demo" / "killed", "running")
    (root / "photos").mkdir()
    return root


@pytest.fixture
def panel(scene, slicer, tmp_path, root):
    import qt

    from TopoMAETrainLib.context import TrainContext
    from TopoMAETrainLib.logic import TrainLogic
    from TopoMAETrainLib.runs_panel import RunsPanel
    from TopoMAETrainLib.training_panel import TrainingPanel

    interpreter = standInInterpreter(tmp_path / "engine")
    context = TrainContext(interpreterFinder=lambda: interpreter)
    context.runsRoot = str(root)
    logic = TrainLogic(context.interpreter)
    holder = qt.QWidget()
    layout = qt.QVBoxLayout(holder)
    training = TrainingPanel(layout, context, logic)
    opened = []
    panel = RunsPanel(layout, context, logic, training, openUrl=opened.append)
    panel.opened, panel.training = opened, training
    holder.show()
    panel.enter()
    yield panel
    for process in logic.running():
        process.kill()
    panel.cleanup()
    training.cleanup()
    holder.deleteLater()


def table(panel):
    rows = panel.ui.runsTable
    return [[rows.item(row, column).text() for column in range(5)] for row in range(rows.rowCount)]


def select(panel, name):
    panel.select(next(run.path for run in panel.runs if run.name == name))
    assert panel.selected.name == name


def pump(condition, seconds=20.0):
    import harness

    assert harness.pump(condition, seconds=seconds), "the condition did not come true"


def test_every_run_is_listed_with_kind_state_step_and_best_dice(panel):
    assert table(panel) == [
        ["a pre-training", "pre-training", "done", "20", ""],
        ["fine-tuning", "fine-tuning", "stopped", "20 / 40", "0.710"],
        ["killed", "pre-training", "interrupted", "20 / 40", ""],
    ]


def test_the_list_follows_the_disk_and_keeps_the_selection(panel, root):
    select(panel, "fine-tuning")
    makeRun(root / "b new one", "failed")
    writeJson(root / "a pre-training" / "status.json", {"status": "failed", "step": 20, "time": ""})
    panel.refresh()
    assert [row[0] for row in table(panel)] == ["a pre-training", "b new one", "fine-tuning", "killed"]
    assert table(panel)[0][2] == "failed"
    assert panel.selected.name == "fine-tuning"


def test_only_what_can_be_done_with_a_run_is_offered(panel, root):
    ui = panel.ui
    buttons = (ui.attachButton, ui.resumeButton, ui.reportButton, ui.folderButton, ui.deleteButton)

    def enabled():
        return [button.enabled for button in buttons]

    assert enabled() == [False] * 5
    select(panel, "a pre-training")
    assert enabled() == [True, False, True, True, True]
    select(panel, "killed")
    assert enabled() == [True, True, True, True, True]
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    from TopoMAELib.process_owners import ProcessOwner

    owner = ProcessOwner.ofProcess(sleeper.pid)
    lock = {"pid": owner.pid, "started": owner.started, "host": owner.host, "token": "x"}
    writeJson(root / "demo" / "killed" / "lock", lock)
    panel.refresh()
    assert enabled() == [True, False, True, True, False]
    sleeper.kill()
    sleeper.wait()


def test_a_run_is_attached_and_resumed_from_the_list(panel):
    select(panel, "fine-tuning")
    panel.ui.attachButton.click()
    assert panel.training.ui.stateLabel.text == "Stopped at step 20, best Dice 0.710"
    panel.ui.resumeButton.click()
    pump(lambda: panel.training.ui.stateLabel.text.startswith("Fine-tuning: step"))
    assert panel.newestRunning().name == "fine-tuning"
    pump(lambda: panel.training.ui.stateLabel.text.startswith("Done at step 60"))
    pump(lambda: table(panel)[1][2] == "done")


def test_a_run_is_deleted_only_after_confirmation(panel, root):
    import harness

    select(panel, "killed")
    panel.attach()
    harness.answers.confirm(False, True)
    panel.ui.deleteButton.click()
    assert (root / "demo" / "killed").is_dir()
    panel.ui.deleteButton.click()
    assert not (root / "demo" / "killed").exists()
    assert [row[0] for row in table(panel)] == ["a pre-training", "fine-tuning"]
    assert all("cannot be undone" in text and "killed" in text for text in harness.answers.texts("confirm"))
    assert panel.training.ui.monitorGroupBox.title == "No run"


def test_what_must_not_be_deleted_stays_and_the_panel_says_why(panel, root):
    (root / "fine-tuning" / "notes.txt").touch()
    select(panel, "fine-tuning")
    panel.ui.deleteButton.click()
    assert (root / "fine-tuning" / "settings.json").exists()
    assert "also holds notes.txt" in panel.ui.messageLabel.text


def test_a_report_that_cannot_be_written_is_explained(panel):
    select(panel, "a pre-training")
    panel.ui.reportButton.click()  # the stand-in for the engine knows no reports
    pump(lambda: not panel._reports.busy)
    assert panel.ui.messageLabel.text.startswith("The report could not be written:")
    assert panel.opened == []
    panel.ui.folderButton.click()
    assert [Path(path).name for path in panel.opened] == ["a pre-training"]


def test_another_folder_of_runs_is_remembered(panel, tmp_path):
    from TopoMAETrainLib.context import TrainContext

    makeRun(tmp_path / "elsewhere" / "c")
    panel.ui.rootPathLineEdit.setCurrentPath(str(tmp_path / "elsewhere"))
    assert [row[0] for row in table(panel)] == ["c"]
    assert TrainContext().runsRoot == str(tmp_path / "elsewhere")


def test_without_a_setting_the_runs_lie_in_the_documents_of_the_user(slicer):
    from TopoMAETrainLib.context import TrainContext

    assert Path(TrainContext().runsRoot).name == "TopoMAE"


def test_a_folder_of_runs_that_does_not_exist_is_not_taken(panel, root):
    panel.ui.rootPathLineEdit.setCurrentPath(str(root / "half typ"))
    assert "There is no folder" in panel.ui.messageLabel.text
    assert panel._context.runsRoot == str(root)
