"""The button, what goes on while it works, and the result."""

from __future__ import annotations

import time
from types import SimpleNamespace

import slicer
from slicer.i18n import tr as _

from TopoMAELib.harmless import plainToolTip
from TopoMAELib.segmentations import undoHistory
from TopoMAESegmentLib.context import SegmentContext
from TopoMAESegmentLib.log_view import LogView
from TopoMAESegmentLib.logic import SegmentLogic
from TopoMAESegmentLib.parameters import (
    DEVICES,
    InputMode,
    SegmentParameters,
    inputFolder,
    sceneIsBusy,
    sequenceVolumes,
)
from TopoMAESegmentLib.run_check import whatIsMissing, whatIsUnusual
from TopoMAESegmentLib.wording import phaseText, timeLeftText

_MOST_WARNINGS = 3  # beside the button
_PROGRESS_STEPS = 1000


class SegmentPanel:
    """Runs the logic with the choices of the parameter node; one button starts and cancels."""

    def __init__(self, ui: SimpleNamespace, logic: SegmentLogic, context: SegmentContext, log: LogView):
        """Args: ui: widgets of TopoMAESegment.ui by name."""
        self._ui, self._logic, self._context, self.log = ui, logic, context, log
        self._parameters: SegmentParameters | None = None
        self._task = None
        self._outcome = ""  # of the last run, until something else is chosen
        self._choice: tuple | None = None
        self._engineProblem = ""
        self._updating = False
        for text in (_("Automatic"), _("CPU"), _("GPU (CUDA)")):
            ui.deviceComboBox.addItem(text)
        self._show3DButton = slicer.qMRMLSegmentationShow3DButton()
        self._show3DButton.setObjectName("show3DButton")
        ui.resultButtonsWidget.layout().insertWidget(0, self._show3DButton)
        ui.deviceComboBox.currentIndexChanged.connect(self._onOption)
        ui.mirrorCheckBox.toggled.connect(self._onOption)
        ui.probabilitiesCheckBox.toggled.connect(self._onOption)
        ui.segmentationSelector.currentNodeIDChanged.connect(self._onSegmentation)
        ui.segmentButton.clicked.connect(self._onButton)
        ui.undoButton.clicked.connect(self._onUndo)
        ui.progressBar.setMaximum(_PROGRESS_STEPS)
        self.refresh()

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._task is not None

    def setParameters(self, parameters: SegmentParameters | None) -> None:
        """Work with another parameter node; None while there is no scene."""
        self._parameters = parameters
        self._choice = self._currentChoice()
        self.refresh()

    def setEngineProblem(self, problem: str) -> None:
        """Say why nothing can be computed, such as missing packages; empty if all is well."""
        self._engineProblem = problem
        self.refresh()

    def sceneClosing(self) -> None:
        """Stop what is running for the scene, and forget it."""
        if self._task is not None:
            self._task.cancel()
        self._outcome = ""
        undoHistory.clear()

    def cleanup(self) -> None:
        """Stop what is running; the widgets go away."""
        task, self._task, self._ui = self._task, None, None
        if task is not None:
            task.cancel()

    def refresh(self) -> None:
        """Show what the parameter node says, whether it can run, and what is unusual about it."""
        if self._ui is None or self._updating:
            return
        self._updating = True
        try:
            self._followChoice()
            parameters, card = self._parameters, self._context.modelCard()
            if parameters:
                self._showOptions(parameters)
            # A sequence has one result, in its browser, and a folder one per volume.
            self._ui.segmentationSelector.setEnabled(_mode(parameters) == InputMode.VOLUME and not self.running)
            self._ui.probabilitiesCheckBox.setEnabled(_mode(parameters) != InputMode.SEQUENCE)
            missing = self._engineProblem or whatIsMissing(parameters, card)
            unusual = [] if missing else whatIsUnusual(parameters, card)
            self._ui.misfitLabel.setText("\n".join(_("Warning: {text}").format(text=text) for text in unusual))
            self._ui.misfitLabel.setVisible(bool(unusual))
            self._showButton(missing)
            self._showResult()
        finally:
            self._updating = False

    def _showOptions(self, parameters: SegmentParameters) -> None:
        device = parameters.device if parameters.device in DEVICES else DEVICES[0]
        self._ui.deviceComboBox.setCurrentIndex(DEVICES.index(device))
        self._ui.mirrorCheckBox.setChecked(parameters.mirror)
        self._ui.probabilitiesCheckBox.setChecked(parameters.probabilities)
        self._ui.segmentationSelector.setCurrentNode(parameters.segmentation)

    def _showButton(self, missing: str) -> None:
        ui = self._ui
        if self.running:
            return
        ui.segmentButton.setText(_("Segment with TopoMAE"))
        ui.segmentButton.setEnabled(not missing)
        ui.segmentButton.setToolTip(plainToolTip(missing or _("Segment, in the background")))
        ui.progressBar.setVisible(False)
        self._say(self._outcome or missing)

    def _showResult(self) -> None:
        segmentation = self._context.segmentationNode()
        self._show3DButton.setSegmentationNode(segmentation)
        self._show3DButton.setEnabled(segmentation is not None)
        self._ui.undoButton.setEnabled(not self.running and undoHistory.available(segmentation))

    def _followChoice(self) -> None:
        """After another volume or model was chosen, do not write its segments into the result of the former one."""
        choice = self._currentChoice()
        if self.running or choice == self._choice or self._parameters is None:
            return
        self._choice, self._outcome = choice, ""
        card, nodes = self._context.modelCard(), self._context.volumeNodes()
        isComplete = _mode(self._parameters) == InputMode.VOLUME and card and nodes
        self._parameters.segmentation = self._logic.earlierResult(nodes[0], card) if isComplete else None

    def _currentChoice(self) -> tuple | None:
        parameters, card = self._parameters, self._context.modelCard()
        if parameters is None:
            return None
        volumeIDs = tuple(node and node.GetID() for node in self._context.volumeOfEachModality())
        browser = parameters.sequenceBrowser
        return (parameters.inputMode, volumeIDs, browser and browser.GetID(), inputFolder(), card and card.folder)

    def _onOption(self, *_arguments: object) -> None:
        if self._parameters is None or self._updating:
            return
        with slicer.util.NodeModify(self._parameters.parameterNode):
            self._parameters.device = DEVICES[self._ui.deviceComboBox.currentIndex]
            self._parameters.mirror = self._ui.mirrorCheckBox.checked
            self._parameters.probabilities = self._ui.probabilitiesCheckBox.checked

    def _onSegmentation(self, *_arguments: object) -> None:
        if self._parameters and not self._updating and not sceneIsBusy():
            self._parameters.segmentation = self._ui.segmentationSelector.currentNode()

    def _onUndo(self, *_arguments: object) -> None:
        if undoHistory.restore(self._context.segmentationNode()):
            self.log.add(_("The last run was undone."))
        self.refresh()
        self._context.notify()

    def _onButton(self, *_arguments: object) -> None:
        if self.running:
            self._ui.segmentButton.setEnabled(False)
            self._say(_("Cancelling…"))
            self._task.cancel()
        else:
            self._start()

    def _start(self) -> None:
        card = self._context.modelCard()
        self._began, self._outcome = time.monotonic(), ""
        self.log.add(_("Segment {input} with {model}").format(input=self._inputName(), model=card.name))
        try:
            task = self._startTask(card)
        except Exception as error:  # whatever it is, the user must read it
            self._outcome = str(error)
            self.log.add(self._outcome)
            self.refresh()
            return
        if task.state != "running":  # it ended, and was shown, before it could be kept
            return
        self._task = task
        self._ui.segmentButton.setText(_("Cancel"))
        self._ui.segmentButton.setEnabled(True)
        self._ui.segmentButton.setToolTip(_("Stop segmenting; what is done already stays"))
        self._ui.progressBar.setVisible(True)
        self._onProgress(None, None, "start")
        self.refresh()

    def _startTask(self, card: object) -> object:
        parameters, logic = self._parameters, self._logic
        callbacks = {"onProgress": self._onProgress, "onFinished": self._onFinished}
        options = {"device": parameters.device, "mirror": parameters.mirror}
        if parameters.inputMode == InputMode.SEQUENCE:
            volumeNodes = sequenceVolumes(parameters, len(card.modalities))
            return logic.segmentSequence(parameters.sequenceBrowser, card, volumeNodes, **options, **callbacks)
        options["probabilities"] = parameters.probabilities
        if parameters.inputMode == InputMode.FOLDER:
            return logic.segmentItem(inputFolder(), card, **options, **callbacks)
        nodes = self._context.volumeOfEachModality()
        return logic.segment(nodes, card, segmentationNode=parameters.segmentation, **options, **callbacks)

    def _onProgress(self, fraction: float | None, secondsLeft: float | None, phase: str) -> None:
        if self._ui is None:
            return
        isKnown = fraction is not None
        self._ui.progressBar.setMaximum(_PROGRESS_STEPS if isKnown else 0)
        self._ui.progressBar.setValue(round(fraction * _PROGRESS_STEPS) if isKnown else 0)
        words = _("{phase} {timeLeft}").format(phase=phaseText(phase), timeLeft=timeLeftText(secondsLeft))
        self._say(words.strip())

    def _onFinished(self, task: object) -> None:
        self._task = None
        if self._ui is None:
            return
        warnings = [_("Warning: {text}").format(text=warning) for warning in task.warnings]
        outcome = self._outcomeOf(task)
        for line in (*warnings, outcome):
            self.log.add(line)
        if task.state == "failed":
            self._logWorkersLastWords()
        if self._parameters and self._currentChoice() == self._choice:  # else the user has gone on to other images
            self._parameters.segmentation = _resultOf(task) or self._parameters.segmentation
        self._followChoice()
        self._outcome = "\n".join([outcome, *_firstOf(warnings)])
        self.refresh()
        self._context.notify()

    def _say(self, text: str) -> None:
        self._ui.statusLabel.setText(text)
        self._ui.statusLabel.setVisible(bool(text))

    def _inputName(self) -> str:
        parameters = self._parameters
        if parameters.inputMode == InputMode.SEQUENCE:
            return parameters.sequenceBrowser.GetName()
        if parameters.inputMode == InputMode.FOLDER:
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
            return hierarchy.GetItemName(inputFolder())
        return ", ".join(node.GetName() for node in self._context.volumeNodes())

    def _outcomeOf(self, task: object) -> str:
        if task.state == "done":
            return _("Done in {seconds} s.").format(seconds=f"{time.monotonic() - self._began:.1f}")
        hint = getattr(task.error, "hint", "")
        text = str(task.error)
        return f"{text} {hint}" if hint and hint not in text else text

    def _logWorkersLastWords(self) -> None:
        for line in list(getattr(self._logic.client, "recentLog", ()) or ())[-20:]:
            self.log.add(f"    {line}")


def _resultOf(task: object) -> slicer.vtkMRMLSegmentationNode | None:
    """The segmentation that a task made; of a batch the last one."""
    made = task.value if isinstance(task.value, list) else [task.value]
    return next((node for node in reversed(made) if node is not None), None)


def _firstOf(warnings: list[str]) -> list[str]:
    """The lines about warnings for which there is room beside the button; the log has them all."""
    more = len(warnings) - _MOST_WARNINGS
    return warnings[:_MOST_WARNINGS] + ([_("{count} more in the log.").format(count=more)] if more > 0 else [])


def _mode(parameters: SegmentParameters | None) -> InputMode:
    return parameters.inputMode if parameters else InputMode.VOLUME
