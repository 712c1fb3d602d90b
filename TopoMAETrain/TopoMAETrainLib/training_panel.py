"""The panel that starts a training and shows the one that is watched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from TopoMAELib.harmless import plainToolTip
from TopoMAELib.run_folder import DONE, RUNNING, STOPPED
from TopoMAELib.run_process import RunInUse, RunProcess, drivenElsewhere
from TopoMAELib.run_records import readJson
from TopoMAETrainLib.context import TrainContext
from TopoMAETrainLib.logic import TrainLogic
from TopoMAETrainLib.run_curves_view import RunCurvesView
from TopoMAETrainLib.run_preview_view import RunPreviewView
from TopoMAETrainLib.run_watcher import RunWatcher
from TopoMAETrainLib.training_form import TrainingForm
from TopoMAETrainLib.ui_files import loadPanel
from TopoMAETrainLib.words import eventLine, kindWords, progressWords, stateWords


class TrainingPanel:
    """Start, stop and resume; progress, error, curves, previews and log of one run.

    Args:
        parentLayout: layout that the panel is put into.
        context: data, plan and folder of runs.
        logic: starts and finds trainings.
        onRunsChanged: called without arguments when a run was started or has ended.
        onFormChanged: called without arguments when the user changed the form.
    """

    def __init__(
        self,
        parentLayout: object,
        context: TrainContext,
        logic: TrainLogic,
        onRunsChanged: Callable[[], None] = lambda: None,
        onFormChanged: Callable[[], None] = lambda: None,
    ):
        self.widget, self.ui = loadPanel("TopoMAETrainRun", parentLayout)
        self._context, self._logic = context, logic
        self._onRunsChanged, self._onFormChanged = onRunsChanged, onFormChanged
        self._watcher: RunWatcher | None = None
        self._engineProblem = ""
        self.form = TrainingForm(self.ui, context, logic.finishedModels.models, self._onForm)
        self.curves = RunCurvesView(self.ui)
        self.previews = RunPreviewView(self.ui)
        self.ui.startButton.clicked.connect(self._onStart)
        self.ui.stopButton.clicked.connect(self._onStop)
        self.ui.resumeButton.clicked.connect(self._onResume)
        context.changed.append(self._onContext)
        self._showButtons()

    @property
    def process(self) -> RunProcess | None:
        """The training that is watched."""
        return self._watcher.process if self._watcher is not None else None

    @property
    def runPath(self) -> Path | None:
        """Folder of the run that is watched."""
        return self._watcher.folder.path if self._watcher is not None else None

    @property
    def problem(self) -> str:
        """Why no training can be started now; "" if one can."""
        return self._engineProblem or self.form.problem()

    def setEngineProblem(self, text: str) -> None:
        """Say why the engine cannot run; "" if it can."""
        self._engineProblem = text
        self._onForm()

    def start(self) -> None:
        """Start the training that the form describes."""
        problem = self.problem
        if problem:
            self._hint(problem)
            return
        self._launch(lambda: self._logic.start(self.form.command(), self.form.runFolder))

    def resume(self, runFolder: str | Path) -> None:
        """Go on with a run."""
        self._launch(lambda: self._logic.resume(runFolder))

    def watch(self, process: RunProcess) -> None:
        """Follow a training from now on; the one watched before goes on unwatched."""
        if self._watcher is not None:
            self._watcher.stop()
            if self._watcher.process is not process:
                self._watcher.process.leaveSeat()
        self.ui.logTextEdit.setPlainText("")
        self._watcher = RunWatcher(process, self._onNews, self._onFinished)
        folder = self._watcher.folder
        modalities = readJson(folder.path / "plan.json").get("modalities")
        self.curves.setRun(folder)
        self.previews.setRun(folder, [str(name) for name in modalities] if isinstance(modalities, list) else [])
        self._watcher.start()

    def forget(self, runFolder: Path) -> None:
        """Show no run any more if this one, which was deleted, was shown."""
        if self.runPath == runFolder:
            self._watcher.stop()
            self._watcher = None
            self._showRun()

    def stop(self) -> None:
        """Ask the watched training to stop; a second time, ask the user whether to end it at once."""
        process = self.process
        if process is None or not process.running:
            return
        try:
            if not process.stopping:
                process.stop()
            elif slicer.util.confirmYesNoDisplay(
                _("End the training at once? The steps since the last checkpoint are lost.")
            ):
                process.kill()
        except (RunInUse, OSError) as error:
            self._hint(str(error))
        self._showRun()

    def sceneClosed(self) -> None:
        """Chart and preview volumes are gone with the scene; the chart is drawn again."""
        self.previews.sceneClosed()
        self.curves.update()

    def cleanup(self) -> None:
        """Look at nothing any more; the training goes on."""
        if self._onContext in self._context.changed:
            self._context.changed.remove(self._onContext)
        if self._watcher is not None:
            self._watcher.stop()

    def _launch(self, launch: Callable[[], RunProcess]) -> None:
        self._hint("")
        try:
            process = launch()
        except (RunInUse, OSError, ValueError, RuntimeError) as error:
            logging.warning(f"TopoMAETrain: the training could not be started: {error}")
            self._hint(_("The training could not be started. {error}").format(error=error))
            return
        self.watch(process)
        self.form.refresh()
        self._onRunsChanged()

    def _onNews(self, events: list[dict], lines: list[str]) -> None:
        for text in [line for event in events if (line := eventLine(event))] + lines:
            self.ui.logTextEdit.appendPlainText(text)
        if any(event.get("event") == "metric" for event in events):
            self.curves.update()
        if any(event.get("event") == "preview" for event in events):
            self.previews.update()
        self._showRun()

    def _onFinished(self) -> None:
        folder = self._watcher.folder
        added = self._logic.finishedModels.offer(folder)
        self.curves.update()
        self.previews.update()
        self._showRun()
        if added:
            self.ui.logTextEdit.appendPlainText(_("The module TopoMAE Segment offers the model now."))
        self.form.refresh()
        self._onRunsChanged()

    def _showRun(self) -> None:
        """State, progress and error of the watched run."""
        ui = self.ui
        process = self.process
        if process is None:
            ui.monitorGroupBox.setTitle(_("No run"))
            ui.stateLabel.setText("")
            ui.errorLabel.setVisible(False)
            ui.progressBar.setMaximum(100)
            ui.progressBar.setValue(0)
            self._showButtons()
            return
        folder = self._watcher.folder
        state = process.state()
        ui.monitorGroupBox.setTitle(
            _("{name} ({kind})").format(name=folder.name, kind=kindWords(folder.kind)).replace("&", "&&")
        )
        ui.stateLabel.setText(self._stateText(state))
        self._showProgress(state)
        failure = process.failure() if state not in (RUNNING, DONE, STOPPED) else None
        ui.errorLabel.setVisible(failure is not None)
        if failure is not None:
            text = _("Error: {failure}").format(failure=failure)
            ui.errorLabel.setText("\n".join([text, *failure.lastLines]))
        self._showButtons()

    def _stateText(self, state: str) -> str:
        process, folder = self.process, self._watcher.folder
        if state == RUNNING:
            words = progressWords(folder.progress)
            if process.stopping:
                words = _("stopping after this step ({progress})").format(progress=words)
            if process.readOnly is not None:
                words = f"{words}\n{drivenElsewhere(process.readOnly)}"
            return words[:1].upper() + words[1:]
        text = _("{state} at step {step}").format(state=stateWords(state), step=folder.step)
        dice = folder.bestDice
        if dice is not None:
            text = _("{text}, best Dice {dice:.3f}").format(text=text, dice=dice)
        return text[:1].upper() + text[1:]

    def _showProgress(self, state: str) -> None:
        bar, progress = self.ui.progressBar, self._watcher.folder.progress
        phase = progress.main or progress.side
        fraction = 1.0 if state == DONE else phase.fraction if phase is not None else None
        busy = fraction is None and state == RUNNING
        bar.setMaximum(0 if busy else 1000)
        if not busy:
            bar.setValue(round(1000 * (fraction or 0.0)))

    def _showButtons(self) -> None:
        ui, process = self.ui, self.process
        running = process is not None and process.running
        mine = process is not None and process.readOnly is None
        problem = self.problem
        ui.startButton.setEnabled(not running and not problem)
        if running:
            problem = _("A training is running here. Stop it first.")
        ui.startButton.setToolTip(plainToolTip(problem or _("Start in the background.")))
        ui.stopButton.setEnabled(running and mine)
        ui.stopButton.setText(_("Stop at once") if running and process.stopping else _("Stop"))
        ui.resumeButton.setEnabled(process is not None and not running and mine and process.state() != DONE)

    def _hint(self, text: str) -> None:
        self.ui.hintLabel.setText(text)

    def _onForm(self) -> None:
        self._hint(self.form.problem() if self._context.dataFolder else "")
        self._showButtons()
        self._onFormChanged()

    def _onContext(self) -> None:
        self.form.refresh()
        self._onForm()

    def _onStart(self, *_arguments: object) -> None:
        self.start()

    def _onStop(self, *_arguments: object) -> None:
        self.stop()

    def _onResume(self, *_arguments: object) -> None:
        if self.runPath is not None:
            self.resume(self.runPath)
