"""What is to be segmented: one volume per modality of the model, a sequence browser, or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAESegmentLib.parameters import (
    InputMode,
    SegmentParameters,
    inputFolder,
    inputVolumes,
    sceneIsBusy,
    setInputFolder,
    setInputVolume,
)
from TopoMAESegmentLib.probabilities import isProbability
from TopoMAESegmentLib.volume_groups import inModelOrder
from TopoMAESegmentLib.wording import toolTipText

_MODES = (InputMode.VOLUME, InputMode.SEQUENCE, InputMode.FOLDER)


class InputPanel:
    """Keeps the input widgets and the parameter node in step.

    The number of volume selectors and their labels are those of the model's modalities.
    """

    def __init__(self, ui: SimpleNamespace):
        """Args: ui: widgets of TopoMAESegment.ui by name."""
        self._ui = ui
        self._parameters: SegmentParameters | None = None
        self._modalities: tuple[str, ...] = ()
        self._mayLack = False
        self._selectors: list = []
        self._labels: list = []
        self._updating = False
        texts = (_("Volume"), _("All frames of a sequence"), _("All volumes of a folder"))
        for text in texts:
            ui.inputModeComboBox.addItem(text)
        ui.inputModeComboBox.currentIndexChanged.connect(self._onMode)
        ui.sequenceBrowserSelector.currentNodeIDChanged.connect(self._onBrowser)
        ui.folderComboBox.currentItemChanged.connect(self._onFolder)
        self.setModalities((_("Volume"),))

    def setParameters(self, parameters: SegmentParameters | None) -> None:
        """Show the choices of a parameter node; None while there is no scene."""
        self._parameters = parameters
        self.refresh()

    def cleanup(self) -> None:
        """Let go of the scene."""
        for selector in self._selectors:
            selector.setMRMLScene(None)

    def setModalities(self, names: Sequence[str], mayLack: bool = False) -> None:
        """Offer one selector for each of the model's images.

        Args:
            names: of the images.
            mayLack: whether the model does without some of them.
        """
        if (tuple(names), mayLack) == (self._modalities, self._mayLack):
            return
        self._modalities, self._mayLack = tuple(names), mayLack
        while len(self._selectors) < len(self._modalities):
            self._addSelector()
        for label, selector, name in zip(self._labels, self._selectors, self._modalities, strict=False):
            label.setText(_("{modality}:").format(modality=name))
            selector.noneDisplay = _("Not available") if mayLack else _("Choose a volume")
            selector.setToolTip(_("The model sees this volume as {modality}").format(modality=toolTipText(name)))
        self.refresh()

    def chooseByItself(self) -> None:
        """Fill in what is obvious, where nothing is chosen yet: the volume shown, or the only ones there are."""
        if self._parameters is None or any(inputVolumes(self._parameters, len(self._modalities))):
            return
        candidates = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if _isImage(node)]
        if len(self._modalities) == 1:
            shownID = slicer.app.applicationLogic().GetSelectionNode().GetActiveVolumeID()
            chosen = [node for node in candidates if node.GetID() == shownID] or candidates[:1]
        else:
            chosen = inModelOrder(candidates, self._modalities)
        if len(chosen) == len(self._modalities):
            for place, node in enumerate(chosen):
                setInputVolume(self._parameters, place, node)

    def refresh(self) -> None:
        """Show what the parameter node says."""
        if self._updating:
            return
        self._updating = True
        try:
            mode = self._parameters.inputMode if self._parameters else InputMode.VOLUME
            self._ui.inputModeComboBox.setCurrentIndex(_MODES.index(mode))
            for widget in (self._ui.sequenceBrowserLabel, self._ui.sequenceBrowserSelector):
                widget.setVisible(mode == InputMode.SEQUENCE)
            for widget in (self._ui.folderLabel, self._ui.folderComboBox):
                widget.setVisible(mode == InputMode.FOLDER)
            # The images of a sequence are chosen only where there are several to be told apart.
            choosesImages = mode == InputMode.VOLUME or (mode == InputMode.SEQUENCE and len(self._modalities) > 1)
            for place, row in enumerate(zip(self._labels, self._selectors, strict=True)):
                for widget in row:
                    widget.setVisible(choosesImages and place < len(self._modalities))
            self._ui.inputCollapsibleButton.setEnabled(self._parameters is not None)
            if self._parameters:
                for selector, node in zip(
                    self._selectors, inputVolumes(self._parameters, len(self._selectors)), strict=False
                ):
                    selector.setCurrentNode(node)
                self._ui.sequenceBrowserSelector.setCurrentNode(self._parameters.sequenceBrowser)
                self._ui.folderComboBox.setCurrentItem(inputFolder())
        finally:
            self._updating = False

    def _addSelector(self) -> None:
        """One more row. Rows that another model does not need are hidden, never deleted."""
        selector = _makeSelector(len(self._selectors))
        selector.currentNodeIDChanged.connect(self._onVolume)
        label = qt.QLabel()
        label.setTextFormat(qt.Qt.PlainText)
        self._ui.inputCollapsibleButton.layout().addRow(label, selector)
        self._labels.append(label)
        self._selectors.append(selector)

    def _onMode(self, *_arguments: object) -> None:
        if self._isUsersChoice():
            self._parameters.inputMode = _MODES[self._ui.inputModeComboBox.currentIndex]

    def _onBrowser(self, *_arguments: object) -> None:
        if self._isUsersChoice():
            self._parameters.sequenceBrowser = self._ui.sequenceBrowserSelector.currentNode()

    def _onFolder(self, *_arguments: object) -> None:
        if self._isUsersChoice():
            setInputFolder(self._parameters, self._ui.folderComboBox.currentItem())

    def _onVolume(self, *_arguments: object) -> None:
        if self._isUsersChoice():
            for place, selector in enumerate(self._selectors):
                setInputVolume(self._parameters, place, selector.currentNode())

    def _isUsersChoice(self) -> bool:
        return self._parameters is not None and not self._updating and not sceneIsBusy()


def _makeSelector(place: int) -> slicer.qMRMLNodeComboBox:
    selector = slicer.qMRMLNodeComboBox()
    selector.setObjectName(f"volumeSelector{place}")
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.showChildNodeTypes = False  # no label maps
    selector.noneEnabled = True
    selector.noneDisplay = _("Choose a volume")
    selector.addEnabled = False
    selector.removeEnabled = False
    selector.setMRMLScene(slicer.mrmlScene)
    return selector


def _isImage(node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    return (
        node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors() and not isProbability(node)
    )
