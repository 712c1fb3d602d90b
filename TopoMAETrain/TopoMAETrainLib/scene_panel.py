"""The part of the data panel that makes a data set from the scene."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from TopoMAETrainLib.engine_plan import splitNames
from TopoMAETrainLib.scene_case_table import SceneCaseTable
from TopoMAETrainLib.scene_cases import SceneCase, proposeCases, proposeVolume, sceneSegmentations, sceneVolumes
from TopoMAETrainLib.scene_check import ERROR, checkVolumes
from TopoMAETrainLib.scene_export import SceneDataSet, SceneExportCancelled, SceneExportError, exportScene
from TopoMAETrainLib.scene_files import FolderError
from TopoMAETrainLib.scene_label_table import SceneLabelTable
from TopoMAETrainLib.scene_labels import countSegments, proposeLabels
from TopoMAETrainLib.scene_modality import proposeChannels
from TopoMAETrainLib.scene_names import fileName, uniqueNames


class ScenePanel(VTKObservationMixin):
    """Proposes cases and labels from what is open, lets the user correct them, and writes them.

    Args:
        ui: the named widgets of TopoMAETrainData.ui.
        onWritten: called with a `SceneDataSet`.
        export: writes the data set; for tests.
    """

    def __init__(self, ui: object, onWritten: Callable[[SceneDataSet], None], export: Callable = exportScene) -> None:
        super().__init__()
        self._ui, self._onWritten, self._export = ui, onWritten, export
        self._writing = self._stopping = False
        self._known: set[str] = set()  # segmentations that the user has seen
        self._caseTable = SceneCaseTable(ui.sceneCaseTable, self._onCasesChanged, self._showCases)
        self._labelTable = SceneLabelTable(ui.sceneLabelTable, self._onEdited)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(200)  # a whole scene is loaded node by node
        self._timer.timeout.connect(self._onSceneSettled)
        ui.sceneProgressBar.setVisible(False)
        ui.sceneChannelsLineEdit.editingFinished.connect(self._onChannelsEdited)
        ui.sceneRefreshButton.clicked.connect(self.propose)
        ui.sceneNameLineEdit.textChanged.connect(self._onEdited)
        ui.sceneParentPathLineEdit.currentPathChanged.connect(self._onEdited)
        ui.laterLabelWinsCheckBox.toggled.connect(self._onEdited)
        ui.labelUpButton.clicked.connect(self._onUp)
        ui.labelDownButton.clicked.connect(self._onDown)
        ui.sceneWriteButton.clicked.connect(self._onWrite)
        ui.sceneCollapsibleButton.contentsCollapsed.connect(self._onCollapsed)
        for event in (slicer.mrmlScene.NodeAddedEvent, slicer.mrmlScene.NodeRemovedEvent):
            self.addObserver(slicer.mrmlScene, event, self._onSceneChanged)
        if not ui.sceneParentPathLineEdit.currentPath:
            documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
            ui.sceneParentPathLineEdit.setCurrentPath(documents or os.path.expanduser("~"))
        ui.sceneNameLineEdit.setText(_("My data set"))
        self.propose()

    @property
    def channels(self) -> list[str]:
        """Names of the image channels, at least one."""
        return splitNames(self._ui.sceneChannelsLineEdit.text) or [self._ui.sceneChannelsLineEdit.placeholderText]

    @property
    def folder(self) -> Path | None:
        """The folder to make; None if it has no name yet."""
        parent, name = self._ui.sceneParentPathLineEdit.currentPath, self._ui.sceneNameLineEdit.text.strip()
        return Path(parent) / fileName(name) if parent.strip() and name else None

    def propose(self) -> None:
        """Forget what the user changed, and propose cases and labels from what is in the scene."""
        volumes = sceneVolumes()
        self._ui.sceneChannelsLineEdit.setPlaceholderText(proposeChannels(volumes))
        segmentations = sceneSegmentations()
        self._known = {node.GetID() for node in segmentations}
        self._show(proposeCases(volumes, segmentations, self.channels))
        self._fillLabels(keep=False)

    def cleanup(self) -> None:
        """Follow the scene no longer."""
        self._stopping = True
        self._timer.stop()
        self.removeObservers()

    def write(self) -> SceneDataSet | None:
        """Write what the tables say; None if that was refused or stopped, which the panel tells then."""
        folder = self.folder
        if self._writing or folder is None:
            return None
        self._fillLabels(keep=True)  # segments may have been added or renamed
        self._setWriting(True)
        try:
            written = self._export(
                folder,
                self._caseTable.cases(),
                self._labelTable.labels(),
                modalities=self.channels,
                name=self._ui.sceneNameLineEdit.text.strip(),
                laterLabelWins=self._ui.laterLabelWinsCheckBox.checked,
                onProgress=self._onProgress,
            )
        except SceneExportError as error:
            self._mark(error.problems)
            self._tell(_("Nothing was written. {reason}").format(reason=error))
            return None
        except (SceneExportCancelled, FolderError, ValueError, OSError) as error:
            self._tell(str(error))
            return None
        finally:
            self._setWriting(False)
        self._mark(written.problems)
        text = _("Written to {folder}; cases: {count}.")
        self._tell(text.format(count=written.cases, folder=written.folder))
        self._onWritten(written)
        return written

    def _show(self, cases: list[SceneCase], unchecked: Collection[int] = ()) -> None:
        self._caseTable.fill(cases, sceneVolumes(), sceneSegmentations(), self.channels, unchecked)
        self._onCasesChanged()

    def _onCasesChanged(self) -> None:
        self._fillLabels(keep=True)
        self._checkVolumes()
        self._onEdited()

    def _checkVolumes(self) -> None:
        """Mark what can be told without looking at voxels."""
        channels = self.channels
        cases = enumerate(self._caseTable.allCases())
        self._caseTable.mark({row: checkVolumes(case, channels) for row, case in cases})

    def _fillLabels(self, keep: bool) -> None:
        cases = self._caseTable.cases()
        labels = proposeLabels(cases, self._labelTable.labels() if keep else ())
        self._labelTable.fill(labels, countSegments(cases), sum(case.segmentationNode is not None for case in cases))

    def _mark(self, problems: dict) -> None:
        """Show problems by the names that the export gave to the cases of the checked rows."""
        cases, rows = self._caseTable.allCases(), self._caseTable.checkedRows()
        names = uniqueNames(fileName(cases[row].name) for row in rows)
        self._caseTable.mark({row: problems.get(name, ()) for row, name in zip(rows, names, strict=True)})

    def _showCases(self) -> None:
        """How many cases there are, and the problems of the selected one."""
        cases = self._caseTable.cases()
        labelled = sum(case.segmentationNode is not None for case in cases)
        text = _("Cases: {count}, with a segmentation: {labelled}.")
        lines = [text.format(count=len(cases), labelled=labelled), self._caseTable.selectedProblems()]
        self._ui.sceneCaseLabel.setText("\n".join(line for line in lines if line))

    def _onEdited(self, *_values: object) -> None:
        """Say whether there is something to write."""
        cases, folder = self._caseTable.cases(), self.folder
        self._showCases()
        problem = ""
        if not cases:
            problem = _("There is nothing to write: load volumes, or check cases.")
        elif folder is None:
            problem = _("Choose a folder and a name for the data set.")
        elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            problem = _("There is a folder {folder} already; choose another name.").format(folder=folder)
        elif any(one.level == ERROR for case in cases for one in checkVolumes(case, self.channels)):
            problem = _("Some cases have problems, see the table; correct or uncheck them.")
        self._ui.sceneWriteButton.setEnabled(self._writing or not problem)
        if not self._writing:
            self._tell(problem)

    def _onWrite(self) -> None:
        if self._writing:
            self._stopping = True
        else:
            self.write()

    def _onProgress(self, done: int, of: int) -> bool:
        self._ui.sceneProgressBar.setMaximum(max(1, of))
        self._ui.sceneProgressBar.setValue(done)
        slicer.app.processEvents()
        return not self._stopping

    def _setWriting(self, writing: bool) -> None:
        self._writing, self._stopping = writing, False
        ui = self._ui
        ui.sceneProgressBar.setVisible(writing)
        ui.sceneWriteButton.setText(_("Cancel") if writing else _("Write data set"))
        ui.sceneWriteButton.setEnabled(True)
        for widget in (ui.sceneCaseTable, ui.sceneLabelTable, ui.sceneRefreshButton, ui.sceneChannelsLineEdit):
            widget.setEnabled(not writing)

    def _onChannelsEdited(self) -> None:
        if self._ui.sceneCaseTable.columnCount != len(self.channels) + 3:
            self.propose()
        else:
            self._checkVolumes()

    def _onUp(self) -> None:
        self._move(-1)

    def _onDown(self) -> None:
        self._move(1)

    def _move(self, by: int) -> None:
        labels, row = self._labelTable.labels(), self._labelTable.selectedRow()
        if 0 <= row < len(labels) and 0 <= row + by < len(labels):
            labels.insert(row + by, labels.pop(row))
            cases = self._caseTable.cases()
            labelled = sum(case.segmentationNode is not None for case in cases)
            self._labelTable.fill(labels, countSegments(cases), labelled)
            self._labelTable.select(row + by)

    def _onSceneChanged(self, *_details: object) -> None:
        self._timer.start()

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self._onSceneSettled()

    def _onSceneSettled(self) -> None:
        """Nodes came or went: propose anew, but keep the cases that the user sees if their nodes are still there."""
        if self._writing or self._ui.sceneCollapsibleButton.collapsed:
            return
        volumes, segmentations = sceneVolumes(), sceneSegmentations()
        checked = self._caseTable.checkedRows()
        rows = enumerate(self._caseTable.allCases())
        kept = [(row, case) for row, case in rows if all(node in volumes for node in case.volumeNodes)]
        unchecked = [place for place, (row, _case) in enumerate(kept) if row not in checked]
        new = [node for node in segmentations if node.GetID() not in self._known]
        self._known = {node.GetID() for node in segmentations}
        cases = [_withSegmentation(case, new, volumes) for _row, case in kept]
        used = {node.GetID() for case in cases for node in case.volumeNodes}
        fresh = [node for node in volumes if node.GetID() not in used]
        self._show([*cases, *proposeCases(fresh, segmentations, self.channels)], unchecked)

    def _tell(self, message: str) -> None:
        self._ui.sceneMessageLabel.setText(message)


def _withSegmentation(case: SceneCase, segmentationNodes: Sequence, volumeNodes: Sequence) -> SceneCase:
    """The case with a segmentation that was just drawn on it, if it had none."""
    if case.segmentationNode is not None:
        return case
    drawn = (node for node in segmentationNodes if proposeVolume(node, volumeNodes) in case.volumeNodes)
    return replace(case, segmentationNode=next(drawn, None))
