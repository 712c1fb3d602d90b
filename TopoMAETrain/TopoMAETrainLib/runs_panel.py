"""The panel that lists the runs in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib.harmless import asToolTip
from TopoMAELib.run_folder import DONE, RUNNING, NotARun, RunFolder
from TopoMAELib.run_process import RunInUse
from TopoMAETrainLib.context import TrainContext
from TopoMAETrainLib.logic import TrainLogic
from TopoMAETrainLib.report_maker import ReportMaker
from TopoMAETrainLib.training_panel import TrainingPanel
from TopoMAETrainLib.ui_files import loadPanel
from TopoMAETrainLib.words import kindWords, stateWords

_REFRESH = 3000  # milliseconds


class RunsPanel:
    """Every run with kind, state, step and Dice; attach, resume, report, delete.

    Args:
        parentLayout: layout that the panel is put into.
        context: knows the folder of runs.
        logic: finds and deletes runs.
        training: shows the run that is attached or resumed.
        reports: writes reports.
        openUrl: shows a local file or folder to the user.
    """

    def __init__(
        self,
        parentLayout: object,
        context: TrainContext,
        logic: TrainLogic,
        training: TrainingPanel,
        reports: ReportMaker | None = None,
        openUrl: Callable[[Path], None] | None = None,
    ):
        self.widget, self.ui = loadPanel("TopoMAETrainRuns", parentLayout)
        self._context, self._logic, self._training = context, logic, training
        self._reports = reports or ReportMaker(context.interpreter)
        self._open = openUrl or _openInDesktop
        self.runs: list[RunFolder] = []
        self._rows: list[tuple] = []
        self._prepareTable()
        ui = self.ui
        ui.rootPathLineEdit.setCurrentPath(context.runsRoot)
        ui.rootPathLineEdit.currentPathChanged.connect(self._onRoot)
        ui.runsTable.itemSelectionChanged.connect(self._onSelected)
        ui.runsTable.cellDoubleClicked.connect(self._onDoubleClicked)
        ui.attachButton.clicked.connect(self._onAttach)
        ui.resumeButton.clicked.connect(self._onResume)
        ui.reportButton.clicked.connect(self._onReport)
        ui.folderButton.clicked.connect(self._onFolder)
        ui.deleteButton.clicked.connect(self._onDelete)
        self._timer = qt.QTimer()
        self._timer.setInterval(_REFRESH)
        self._timer.timeout.connect(self.refresh)

    def enter(self) -> None:
        """Keep the list up to date from now on."""
        self.refresh()
        self._timer.start()

    def exit(self) -> None:
        """Leave the disk in peace while nobody looks."""
        self._timer.stop()

    def cleanup(self) -> None:
        """Stop whatever goes on."""
        self._timer.stop()
        self._reports.cancel()

    def refresh(self) -> None:
        """Look at the run folders again."""
        self.runs = self._logic.runs(self._context.runsRoot)
        rows = [self._rowOf(run) for run in self.runs]
        if rows != self._rows:
            self._fill(rows)
        self._showButtons()

    def newestRunning(self) -> RunFolder | None:
        """The run that was started last among those that are running."""
        running = [run for run in self.runs if run.state() == RUNNING]
        return max(running, key=lambda run: run.changed, default=None)

    def select(self, path: Path) -> None:
        """Select the row of a run."""
        for row, run in enumerate(self.runs):
            if run.path == path:
                self.ui.runsTable.selectRow(row)

    @property
    def selected(self) -> RunFolder | None:
        """The run whose row is selected."""
        row = self.ui.runsTable.currentRow()
        return self.runs[row] if 0 <= row < len(self.runs) and self._isSelected(row) else None

    def attach(self) -> None:
        """Follow the selected run in the training panel."""
        if self.selected is not None:
            self._training.watch(self._logic.attach(self.selected.path))

    def delete(self) -> None:
        """Delete the selected run, after the user has confirmed it."""
        run = self.selected
        if run is None:
            return
        question = _("Delete the run {name} with its checkpoints, model and report? This cannot be undone.\n{path}")
        text = question.format(name=run.name, path=run.path)
        if not slicer.util.confirmYesNoDisplay(text, textFormat=qt.Qt.PlainText):
            return
        try:
            self._logic.deleteRun(run.path)
        except (NotARun, RunInUse) as error:
            self._tell(str(error))
        except OSError as error:
            self._tell(_("The run {name} could not be deleted: {error}").format(name=run.name, error=error))
        else:
            self._tell("")
            self._training.forget(run.path)
        self.refresh()

    def makeReport(self) -> None:
        """Write the report of the selected run and open it."""
        run = self.selected
        if run is None:
            return
        try:
            self._reports.make(run, self._onReportMade)
        except RuntimeError as error:
            self._tell(str(error))
            return
        self._tell(_("Writing the report of {name} …").format(name=run.name))

    def _prepareTable(self) -> None:
        table = self.ui.runsTable
        headings = [_("Run"), _("Kind"), _("State"), _("Step"), _("Dice"), _("Last change")]
        table.setColumnCount(len(headings))
        table.setHorizontalHeaderLabels(headings)
        table.setWordWrap(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in range(1, len(headings)):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)

    def _rowOf(self, run: RunFolder) -> tuple:
        run.newEvents()
        state = run.state()
        unfinished = run.progress.of and state != DONE
        step = f"{run.step} / {run.progress.of}" if unfinished else str(run.step)
        dice = run.bestDice
        return (
            str(run.path),
            run.name,
            kindWords(run.kind),
            stateWords(state),
            step,
            "" if dice is None else f"{dice:.3f}",
            _timeWords(run.changed),
        )

    def _fill(self, rows: list[tuple]) -> None:
        """Show rows; the run that was selected stays selected."""
        table = self.ui.runsTable
        selected = self._rows[table.currentRow()][0] if 0 <= table.currentRow() < len(self._rows) else ""
        self._rows = rows
        wasBlocked = table.blockSignals(True)
        table.setRowCount(len(rows))
        for row, (path, *texts) in enumerate(rows):
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(asToolTip(path))
                table.setItem(row, column, item)
        table.clearSelection()
        table.setCurrentCell(-1, -1)
        for row, (path, *_texts) in enumerate(rows):
            if path == selected:
                table.selectRow(row)
        table.blockSignals(wasBlocked)

    def _isSelected(self, row: int) -> bool:
        item = self.ui.runsTable.item(row, 0)
        return item is not None and item.isSelected()

    def _showButtons(self) -> None:
        ui, run = self.ui, self.selected
        state = run.state() if run is not None else ""
        ui.attachButton.setEnabled(run is not None)
        ui.resumeButton.setEnabled(run is not None and state not in (RUNNING, DONE) and not self._busy())
        ui.reportButton.setEnabled(run is not None and bool(run.settings) and not self._reports.busy)
        ui.folderButton.setEnabled(run is not None)
        ui.deleteButton.setEnabled(run is not None and state != RUNNING)
        ui.deleteButton.setToolTip(
            _("A running run cannot be deleted; stop it first.")
            if state == RUNNING
            else _("Delete this run folder with its checkpoints and model.")
        )

    def _busy(self) -> bool:
        process = self._training.process
        return process is not None and process.running

    def _tell(self, text: str) -> None:
        self.ui.messageLabel.setText(text)
        self.ui.messageLabel.setVisible(bool(text))

    def _onRoot(self, path: str) -> None:
        if path and not os.path.isdir(path):  # perhaps half typed
            self._tell(_("There is no folder {path}.").format(path=path))
            return
        self._tell("")
        self._context.runsRoot = path
        self._context.notify()
        self.refresh()

    def _onSelected(self, *_arguments: object) -> None:
        self._tell("")
        self._showButtons()

    def _onDoubleClicked(self, *_arguments: object) -> None:
        self.attach()

    def _onAttach(self, *_arguments: object) -> None:
        self.attach()

    def _onResume(self, *_arguments: object) -> None:
        if self.selected is not None:
            self._training.resume(self.selected.path)

    def _onReport(self, *_arguments: object) -> None:
        self.makeReport()

    def _onReportMade(self, path: Path | None, problem: str) -> None:
        self._tell(problem)
        self._showButtons()
        if path is not None:
            self._open(path)

    def _onFolder(self, *_arguments: object) -> None:
        if self.selected is not None:
            self._open(self.selected.path)

    def _onDelete(self, *_arguments: object) -> None:
        self.delete()


def _timeWords(seconds: float) -> str:
    """A moment: the time if it is today, else the date."""
    if not seconds:
        return ""
    moment = datetime.fromtimestamp(seconds)
    return moment.strftime("%H:%M" if moment.date() == datetime.now().date() else "%Y-%m-%d")


def _openInDesktop(path: Path) -> None:
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
