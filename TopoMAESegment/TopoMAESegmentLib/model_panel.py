"""The list of models: what each segments, on which images, how well; add, remove, open in the file browser."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib.model_folders import ModelCard, ModelEntry, ModelFolderError, ModelList
from TopoMAESegmentLib.parameters import SegmentParameters
from TopoMAESegmentLib.wording import toolTipText

_LAST_MODEL = "TopoMAE/LastModel"
_LAST_FOLDER = "TopoMAE/LastModelParent"


class ModelPanel:
    """The table of models; the chosen one is kept in the parameter node."""

    def __init__(
        self,
        ui: SimpleNamespace,
        modelList: ModelList,
        showProblem: Callable[[str], None],
        chooseFolder: Callable[[str], str] | None = None,
        openFolder: Callable[[str], None] | None = None,
    ):
        """Fill the table.

        Args:
            ui: widgets of TopoMAESegment.ui by name.
            modelList: the models.
            showProblem: told in a sentence why a folder was not added.
            chooseFolder: asks the user for a folder, given where to start; returns an empty text if none.
            openFolder: shows a folder in the file browser.
        """
        self._ui, self._models, self._showProblem = ui, modelList, showProblem
        self._chooseFolder, self._openFolder = chooseFolder or _askForFolder, openFolder or _openInFileBrowser
        self._parameters: SegmentParameters | None = None
        self._entries: list[ModelEntry] = []
        self._updating = False
        table = ui.modelTable
        titles = [_("Model"), _("Labels"), _("Images"), _("Dice"), _("Size")]
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        header = table.horizontalHeader()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(1, qt.QHeaderView.Stretch)
        table.itemSelectionChanged.connect(self._onSelection)
        ui.addModelButton.clicked.connect(self._onAdd)
        ui.removeModelButton.clicked.connect(self._onRemove)
        ui.openModelButton.clicked.connect(self._onOpen)
        self._models.changed.append(self._onListChanged)
        self._fill()

    def cleanup(self) -> None:
        """Listen to the list no longer."""
        if self._onListChanged in self._models.changed:
            self._models.changed.remove(self._onListChanged)

    def setParameters(self, parameters: SegmentParameters | None) -> None:
        """Show the choice of a parameter node; one that has none gets the model used last."""
        self._parameters = parameters
        if parameters and not parameters.modelFolder:
            folders = [entry.folder for entry in self._entries if entry.card]
            last = slicer.app.userSettings().value(_LAST_MODEL) or ""
            parameters.modelFolder = last if last in folders else next(iter(folders), "")
        self.refresh()

    def card(self) -> ModelCard | None:
        """The chosen model, if it can be used."""
        entry = self._chosen()
        return entry.card if entry else None

    def refresh(self) -> None:
        """Select the row of the chosen model and describe it below."""
        if self._updating:
            return
        self._updating = True
        try:
            entry = self._chosen()
            if entry:
                self._ui.modelTable.selectRow(self._entries.index(entry))
            else:
                self._ui.modelTable.clearSelection()
            self._ui.removeModelButton.setEnabled(entry is not None)
            self._ui.openModelButton.setEnabled(entry is not None)
            self._ui.modelCollapsibleButton.setEnabled(self._parameters is not None)
            self._ui.modelLabel.setText(self._describe(entry))
        finally:
            self._updating = False

    def add(self, folder: str) -> None:
        """Add a folder to the list and choose it; a folder that is no model is told to `showProblem`."""
        try:
            card = self._models.add(folder)
        except ModelFolderError as error:
            self._showProblem(str(error))
            return
        if self._parameters:
            self._choose(card.folder)

    def _fill(self) -> None:
        self._updating = True
        try:
            self._entries = self._models.entries()
            table = self._ui.modelTable
            table.setRowCount(len(self._entries))
            for row, entry in enumerate(self._entries):
                for column, text in enumerate(_cells(entry)):
                    item = qt.QTableWidgetItem(text)
                    item.setToolTip(toolTipText(entry.problem or entry.folder))
                    table.setItem(row, column, item)
        finally:
            self._updating = False
        self.refresh()

    def _chosen(self) -> ModelEntry | None:
        folder = self._parameters.modelFolder if self._parameters else ""
        return next((entry for entry in self._entries if entry.folder == folder), None)

    def _choose(self, folder: str) -> None:
        self._parameters.modelFolder = folder
        slicer.app.userSettings().setValue(_LAST_MODEL, folder)
        self.refresh()

    def _describe(self, entry: ModelEntry | None) -> str:
        if entry is None:
            folder = self._parameters.modelFolder if self._parameters else ""
            if folder:
                return _("The model in {folder} is not on the list.").format(folder=folder)
            return _("Choose a model.") if self._entries else _("There is no model yet. Train one, or add a folder.")
        if entry.card is None:
            return entry.problem
        spacing = " × ".join(f"{mm:.3g}" for mm in entry.card.spacing)
        text = _("Works at {spacing} mm; network: {network}.").format(spacing=spacing, network=entry.card.network)
        if entry.card.trainingCases:
            text += " " + _("Learned from {n} labelled cases.").format(n=entry.card.trainingCases)
        if entry.card.missingModalities:
            text += " " + _("Does without some of its images.")
        return text

    def _onSelection(self) -> None:
        row = self._ui.modelTable.currentRow()
        if not self._updating and self._parameters and 0 <= row < len(self._entries):
            self._choose(self._entries[row].folder)

    def _onListChanged(self) -> None:
        self._fill()
        if self._parameters and self._chosen() is None:
            self._parameters.modelFolder = self._entries[0].folder if self._entries else ""
        if self._parameters:
            self._parameters.Modified()

    def _onAdd(self, *_arguments: object) -> None:
        settings = slicer.app.userSettings()
        folder = self._chooseFolder(settings.value(_LAST_FOLDER) or "")
        if folder:
            settings.setValue(_LAST_FOLDER, folder)
            self.add(folder)

    def _onRemove(self, *_arguments: object) -> None:
        entry = self._chosen()
        if entry:
            self._models.remove(entry.folder)

    def _onOpen(self, *_arguments: object) -> None:
        entry = self._chosen()
        if entry:
            self._openFolder(entry.folder)


def _cells(entry: ModelEntry) -> list[str]:
    card = entry.card
    if card is None:
        return [entry.folder, _("cannot be used"), "", "", ""]
    dice = "" if card.validationDice is None else f"{card.validationDice:.3f}"
    labels = ", ".join(label.name for label in card.labels)
    return [card.name, labels, ", ".join(card.modalities), dice, _bytes(card.sizeOnDisk)]


def _bytes(count: int) -> str:
    return _("{size} MB").format(size=f"{count / 1e6:.0f}" if count >= 1e6 else f"{count / 1e6:.1f}")


def _askForFolder(start: str) -> str:
    title = _("Folder of a model, or of a finished fine-tuning run")
    return qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, start)


def _openInFileBrowser(folder: str) -> None:
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(folder))
