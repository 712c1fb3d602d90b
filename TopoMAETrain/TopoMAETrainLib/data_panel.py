"""The panel that says what to train on: a folder, or what is open in the scene; with the cases and their problems."""

from __future__ import annotations

import os
from collections.abc import Callable

from slicer.i18n import tr as _

from TopoMAETrainLib.case_table import CaseTable, summary
from TopoMAETrainLib.context import TrainContext
from TopoMAETrainLib.engine_plan import splitNames
from TopoMAETrainLib.phantom_data_set import makePhantomDataSet
from TopoMAETrainLib.plan_service import READ, PlanService
from TopoMAETrainLib.scene_export import SceneDataSet
from TopoMAETrainLib.scene_panel import ScenePanel
from TopoMAETrainLib.service_progress import showProgress
from TopoMAETrainLib.ui_files import loadPanel


class DataPanel:
    """Chooses the data set of a `TrainContext` and shows what the engine found in it.

    Args:
        parentLayout: layout that the panel is put into.
        trainContext: gets the data set, names of channels, and whether bad images are left out.
        service: asks the engine; the one shared by the panels of the context by default.
        makePhantoms: makes a phantom data set and gives its folder, "" if there is none; for tests.
    """

    def __init__(
        self,
        parentLayout: object,
        trainContext: TrainContext,
        service: PlanService | None = None,
        makePhantoms: Callable[[TrainContext], str] = makePhantomDataSet,
    ) -> None:
        self._context, self._makePhantoms = trainContext, makePhantoms
        self.widget, self._ui = loadPanel("TopoMAETrainData", parentLayout)
        ui = self._ui
        self._service = service or PlanService.of(trainContext)
        self._table = CaseTable(ui.caseTable, ui.caseLabel)
        self._shown: object = None
        self._typing = False
        self.scene = ScenePanel(ui, self._onWritten)
        self._follow()
        self._showAnswer()
        ui.dataPathLineEdit.currentPathChanged.connect(self._onPathChanged)
        ui.channelsLineEdit.editingFinished.connect(self._onChannelsEdited)
        ui.leaveOutBadCheckBox.toggled.connect(self._onLeaveOutBad)
        ui.checkButton.clicked.connect(self._onCheck)
        ui.phantomsButton.clicked.connect(self._onPhantoms)
        trainContext.changed.append(self._follow)
        self._service.changed.append(self._showAnswer)

    def cleanup(self) -> None:
        """Let go of everything; the engine is stopped if it was looking at the data."""
        if self._follow in self._context.changed:
            self._context.changed.remove(self._follow)
        self.scene.cleanup()
        self._service.cleanup()

    def sceneClosing(self) -> None:
        """The scene is about to be closed; the tables follow by themselves."""

    def _onPathChanged(self, path: str) -> None:
        folder = _folderOf(path)
        if folder and not os.path.isdir(folder):
            self._ui.summaryLabel.setText(_("There is no folder {folder}.").format(folder=folder))
            folder = ""
        if folder != self._context.dataFolder:
            # What was set by hand was meant for other data.
            self._typing = True  # what is typed stays, even where it is no folder yet
            self._context.set(dataFolder=folder, planOverrides={})
            self._typing = False

    def _onChannelsEdited(self) -> None:
        self._context.set(modalityNames=splitNames(self._ui.channelsLineEdit.text))

    def _onLeaveOutBad(self, checked: bool) -> None:
        self._context.set(leaveOutBad=bool(checked))

    def _onCheck(self) -> None:
        if self._service.busy:
            self._service.cancel()
        else:
            self._service.refresh()

    def _onPhantoms(self) -> None:
        self._ui.phantomsButton.setEnabled(False)  # once is enough, also while the engine is waited for
        try:
            folder = self._makePhantoms(self._context)
        finally:
            self._ui.phantomsButton.setEnabled(True)
        if folder:
            self._context.set(dataFolder=folder, modalityNames=[], planOverrides={})

    def _onWritten(self, written: SceneDataSet) -> None:
        self._ui.channelsLineEdit.setText("")
        self._context.set(dataFolder=str(written.folder), modalityNames=[], planOverrides={})
        self._ui.dataPathLineEdit.addCurrentPathToHistory()

    def _follow(self) -> None:
        """Show what the context holds, whoever changed it."""
        ui, context = self._ui, self._context
        if not self._typing and _folderOf(ui.dataPathLineEdit.currentPath) != context.dataFolder:
            wasBlocked = ui.dataPathLineEdit.blockSignals(True)
            ui.dataPathLineEdit.setCurrentPath(context.dataFolder)
            ui.dataPathLineEdit.blockSignals(wasBlocked)
        names = ", ".join(context.modalityNames)
        if splitNames(ui.channelsLineEdit.text) != list(context.modalityNames):
            ui.channelsLineEdit.setText(names)
        ui.leaveOutBadCheckBox.setChecked(context.leaveOutBad)

    def _showAnswer(self) -> None:
        """Show what the engine is doing, and what it said."""
        ui, service = self._ui, self._service
        reading = showProgress(ui.checkProgressBar, service, (READ,))
        ui.checkButton.setText(_("Cancel") if reading else _("Check again"))
        ui.checkButton.setEnabled(bool(self._context.dataFolder) and reading == service.busy)
        ui.phantomsButton.setVisible(not self._context.dataFolder)
        answer = service.answer
        known = answer is not None
        for widget in (ui.caseTable, ui.caseLabel):
            widget.setVisible(known and bool(answer.cases))
        if not known:
            self._shown = None
            ui.summaryLabel.setText(_("Reading …") if service.busy else _("Choose a data set, or make one."))
            return
        if answer is self._shown:
            return
        self._shown = answer
        self._table.fill(answer.cases)
        parts = [summary(answer.cases, answer.plan.get("labels") or {})] if answer.cases else []
        if answer.error and not answer.settingIsWrong:
            parts.append(answer.error)
        ui.summaryLabel.setText("\n".join([*parts, *answer.warnings]))
        if answer.cases and not answer.error:
            ui.dataPathLineEdit.addCurrentPathToHistory()


def _folderOf(path: str) -> str:
    """The folder of a data set from what the user typed, which may be its dataset.json."""
    path = path.strip()
    if os.path.basename(path) == "dataset.json":
        path = os.path.dirname(path)
    return os.path.abspath(os.path.expanduser(path)) if path else ""
