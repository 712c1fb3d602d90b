"""The training panel: form, start, stop, resume, progress, errors, log; and what happens when Slicer is closed."""

from pathlib import Path

import pytest

from train_run_stand_ins import makeRun, standInInterpreter, writeJson


@pytest.fixture
def context(slicer, tmp_path):
    from TopoMAETrainLib.context import TrainContext

    interpreter = standInInterpreter(tmp_path / "engine")
    context = TrainContext(interpreterFinder=lambda: interpreter)
    context.runsRoot = str(tmp_path / "runs")
    (tmp_path / "Spleen scans").mkdir()
    context.set(dataFolder=str(tmp_path / "Spleen scans"))
    return context


@pytest.fixture
def logic(context):
    from TopoMAETrainLib.logic import TrainLogic

    logic = TrainLogic(context.interpreter)
    yield logic
    for process in logic.running():
        process.kill()


@pytest.fixture
def panel(scene, context, logic):
    panel, holder = makePanel(context, logic)
    yield panel
    panel.cleanup()
    holder.deleteLater()


def makePanel(context, logic):
    import qt

    from TopoMAETrainLib.training_panel import TrainingPanel

    holder = qt.QWidget()
    panel = TrainingPanel(qt.QVBoxLayout(holder), context, logic)
    holder.show()
    return panel, holder


def pump(condition, seconds=20.0):
    import harness

    assert harness.pump(condition, seconds=seconds), "the condition did not come true"


def steps(panel, count, pause=0.05):
    panel.ui.stepsSpinBox.setValue(count)
    panel.ui.furtherLineEdit.setText(f"pause={pause}")


def test_a_button_starts_a_training_which_is_followed_to_its_end(panel, context):
    ui = panel.ui
    assert ui.runNameLineEdit.text == "Spleen scans pretrain"
    assert (ui.startButton.enabled, ui.stopButton.enabled, ui.resumeButton.enabled) == (True, False, False)
    steps(panel, 40)
    ui.startButton.click()
    pump(lambda: panel.process.runFolder.owner is not None)
    assert (ui.startButton.enabled, ui.stopButton.enabled) == (False, True)
    assert ui.monitorGroupBox.title == "Spleen scans pretrain (pre-training)"
    assert ui.runNameLineEdit.text == "Spleen scans pretrain 2", "the next name is suggested"
    pump(lambda: "of 40" in ui.stateLabel.text and "left" in ui.stateLabel.text)
    assert 0 < ui.progressBar.value < 1000
    pump(lambda: not panel.process.running and ui.stateLabel.text.startswith("Done"))
    assert ui.stateLabel.text == "Done at step 40"
    assert ui.progressBar.value == 1000
    assert not ui.errorLabel.visible
    log = ui.logTextEdit.toPlainText()
    assert log.index("started: CPU") < log.index("step 40: loss 0.025") < log.rindex("done")
    assert Path(context.runsRoot, "Spleen scans pretrain", "console.log").is_file()


def test_stop_saves_and_resume_goes_on(panel):
    ui = panel.ui
    steps(panel, 60)
    ui.startButton.click()
    pump(lambda: panel._watcher.folder.progress.step > 3)
    ui.stopButton.click()
    assert ui.stopButton.text == "Stop at once"
    pump(lambda: ui.resumeButton.enabled)
    assert ui.stateLabel.text.startswith("Stopped at step")
    ui.resumeButton.click()
    pump(lambda: ui.stateLabel.text == "Done at step 60")
    assert "going on: CPU" in ui.logTextEdit.toPlainText()


def test_stop_at_once_asks_before_it_kills(panel):
    import harness

    panel.ui.furtherLineEdit.setText("mode=stone")
    panel.ui.startButton.click()
    pump(lambda: panel._watcher.folder.progress.step > 3)
    panel.ui.stopButton.click()
    harness.answers.confirm(False, True)
    panel.ui.stopButton.click()
    assert panel.process.running
    panel.ui.stopButton.click()
    pump(lambda: panel.ui.stateLabel.text.startswith("Interrupted at step"))
    assert all("since the last checkpoint are lost" in text for text in harness.answers.texts("confirm"))


def test_a_failure_is_shown_in_words_with_the_last_lines_of_the_process(panel):
    panel.ui.furtherLineEdit.setText("mode=stumble")
    panel.ui.startButton.click()
    pump(lambda: panel.ui.errorLabel.visible)
    text = panel.ui.errorLabel.text
    assert text.startswith(
        "Error: the training ended before it began: exit code 1: ImportError: No module named 'monai'"
    )
    assert "Traceback (most recent call last):" in text
    assert "No module named 'monai'" in panel.ui.logTextEdit.toPlainText()
    assert panel.ui.resumeButton.enabled


def test_the_log_shows_markup_in_names_as_it_is(panel, tmp_path, context):
    folder = makeRun(tmp_path / "runs" / "<b>bold</b>", "failed")
    with open(folder / "events.jsonl", "a") as log:
        log.write('{"event": "error", "time": "", "message": "<img src=x> & co", "case": "<i>7</i>"}\n')
    panel.watch(panel._logic.attach(folder))
    assert panel.ui.errorLabel.text == "Error: <i>7</i>: <img src=x> & co."
    assert "<img src=x> & co" in panel.ui.logTextEdit.toPlainText()


def test_the_form_says_what_is_missing_and_what_it_would_start(panel, context, tmp_path):
    ui, form = panel.ui, panel.form
    makeRun(tmp_path / "runs" / "first")
    (tmp_path / "runs" / "first" / "model").mkdir()
    (tmp_path / "runs" / "first" / "model" / "pretrained.safetensors").touch()
    for name, words in (("first", "already"), ("", "Give the run a name"), ("a/b", "Give the run a name")):
        ui.runNameLineEdit.setText(name)
        assert words in form.problem()
        assert not ui.startButton.enabled
        assert words in ui.hintLabel.text
    ui.runNameLineEdit.setText("second")
    ui.furtherLineEdit.setText("learning_rate 0.1")
    assert "not a setting" in form.problem()
    ui.furtherLineEdit.setText("learning_rate=0.1")
    assert form.problem() == ""

    assert not ui.initComboBox.visible
    ui.kindComboBox.setCurrentIndex(1)
    assert ui.initComboBox.visible
    assert (ui.startButton.text, ui.initComboBox.currentText) == ("Fine-tune", "Pre-training first")
    ui.stepsSpinBox.setValue(7)
    context.set(device="cpu", modalityNames=["CT"], planOverrides={"crop_size": "8,8,8", "batch_size": "1"})
    assert form.command() == [
        *("finetune", "--data", context.dataFolder, "--init", str(tmp_path / "runs" / "first"), "--device", "cpu"),
        *("--modality", "CT", "--set", "batch_size=1", "--set", "learning_rate=0.1", "--set", "steps=7"),
    ]
    ui.initComboBox.setCurrentIndex(ui.initComboBox.count - 1)
    assert "--init scratch" in " ".join(form.command())
    assert "crop_size=8,8,8" in form.command()
    context.set(dataFolder="")
    assert form.problem() == "Choose a data set first."


def test_a_new_panel_finds_the_training_that_goes_on(scene, context, logic, panel):
    steps(panel, 100000)
    panel.ui.startButton.click()
    pump(lambda: panel._watcher.folder.progress.step > 3)
    folder = panel.runPath
    panel.cleanup()
    logic.leave()

    from TopoMAETrainLib.logic import TrainLogic

    later = TrainLogic(context.interpreter)
    another, holder = makePanel(context, later)
    another.watch(later.attach(folder))
    before = another._watcher.folder.progress.step
    pump(lambda: another._watcher.folder.progress.step > before)
    assert another.process.readOnly is None
    another.ui.stopButton.click()
    pump(lambda: another.ui.stateLabel.text.startswith("Stopped"))
    another.cleanup()
    holder.deleteLater()


def test_a_run_that_another_slicer_drives_is_only_watched(panel, tmp_path):
    import subprocess
    import sys

    from TopoMAELib.process_owners import ProcessOwner

    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    owner = ProcessOwner.ofProcess(sleeper.pid)
    holder = {"pid": owner.pid, "started": owner.started, "host": owner.host, "token": "x"}
    folder = makeRun(tmp_path / "runs" / "theirs", "running")
    for name in ("lock", ".driver"):
        writeJson(folder / name, holder)
    panel.watch(panel._logic.attach(folder))
    assert f"Another Slicer (process {sleeper.pid}) drives this run" in panel.ui.stateLabel.text
    assert (panel.ui.stopButton.enabled, panel.ui.resumeButton.enabled) == (False, False)
    assert panel._logic.running() == []
    sleeper.kill()
    sleeper.wait()
    pump(lambda: panel.ui.stateLabel.text.startswith("Interrupted"))
    assert panel.ui.resumeButton.enabled


class Window:
    """Answers of the close guard on a real window."""

    def __init__(self, running):
        import qt

        from TopoMAETrainLib.closing import ClosingGuard

        self.window = qt.QMainWindow()
        self.answers, self.asked = [], []
        self.guard = ClosingGuard(running, self._ask, self.window)

    def _ask(self, running):
        self.asked.append([process.runFolder.name for process in running])
        return self.answers.pop(0)

    def close(self):
        self.window.show()
        self.window.close()
        return not self.window.visible


def test_closing_slicer_asks_about_running_trainings_and_does_what_is_answered(panel, logic):
    from TopoMAETrainLib.closing import DO_NOT_CLOSE, KEEP_RUNNING, STOP_AND_SAVE

    window = Window(logic.running)
    assert window.close()
    assert window.asked == [], "nothing runs, nothing is asked"

    steps(panel, 100000)
    panel.ui.startButton.click()
    pump(lambda: panel._watcher.folder.progress.step > 3)
    window.answers = [DO_NOT_CLOSE]
    assert not window.close()
    window.answers = [KEEP_RUNNING]
    assert window.close()
    assert panel.process.running
    assert window.close(), "a second close event of the same closing asks nothing"
    assert window.asked == [["Spleen scans pretrain"]] * 2
    window.guard.remove()

    window = Window(logic.running)
    window.answers = [STOP_AND_SAVE]
    assert window.close()
    pump(lambda: not panel.process.running)
    assert panel.process.state() == "stopped"
    window.guard.remove()


def test_slicer_asks_again_if_it_was_not_closed_after_all(panel, logic, slicer):
    from TopoMAETrainLib.closing import KEEP_RUNNING

    steps(panel, 100000)
    panel.ui.startButton.click()
    pump(lambda: panel.process.running)
    window = Window(logic.running)
    window.answers = [KEEP_RUNNING, KEEP_RUNNING]
    assert window.close()
    window.window.show()  # as after Slicer's own question was cancelled
    pump(lambda: not window.guard._answered)
    assert window.close()
    assert len(window.asked) == 2
    window.guard.remove()


def test_without_a_main_window_there_is_nothing_to_guard(slicer, monkeypatch):
    from TopoMAETrainLib.closing import ClosingGuard

    monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    guard = ClosingGuard(list)
    guard.remove()


def test_when_slicer_ends_its_window_is_gone_before_the_guard_and_before_a_wait(slicer, monkeypatch):
    from shiboken6 import delete

    from TopoMAELib.waiting import ApplicationClosed, Waiting

    window = Window(list)
    window.window.show()
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: window.window)
    waiting = Waiting()
    waiting.processEvents()
    delete(window.window)
    window.guard.remove()
    with pytest.raises(ApplicationClosed):
        waiting.processEvents()


def test_the_question_names_the_trainings_and_its_three_answers(slicer, monkeypatch):
    import qt

    from TopoMAETrainLib import closing

    class Process:
        class runFolder:
            name = "<b>run</b>"

    shown = []

    def press(number):
        def choose(box):
            shown.append((box.text, [button.text for button in box.buttons()]))
            box._pressed = next(b for b in box.buttons() if b.text == shown[-1][1][number])

        return choose

    monkeypatch.setattr(qt.QMessageBox, "clickedButton", lambda box: box._pressed, raising=False)
    answers = set()
    for number in range(3):
        monkeypatch.setattr(qt.QMessageBox, "exec_", press(number), raising=False)
        answers.add(closing.showQuestion([Process]))
    assert answers == {closing.KEEP_RUNNING, closing.STOP_AND_SAVE, closing.DO_NOT_CLOSE}
    assert "<b>run</b>" in shown[0][0]
    assert set(shown[0][1]) == {"Keep running", "Stop and save", "Do not close Slicer"}
