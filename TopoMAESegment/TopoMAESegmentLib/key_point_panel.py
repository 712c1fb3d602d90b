"""The key-point panel: where a pre-trained model believes a crop lies, and where it really lies."""

from __future__ import annotations

from functools import partial

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib.layouts import jumpSlices
from TopoMAELib.scene_nodes import removeRoleNodes, roleNode
from TopoMAELib.volumes import volumeArrayAndAffine
from TopoMAESegmentLib.key_point_logic import KeyPoints
from TopoMAESegmentLib.key_point_view import FOLDER, ROLE, TRUE_COLOR, KeyPointView
from TopoMAESegmentLib.panel_parts import chosenKey, fillComboBox, loadPanel, setRow, setUpTable
from TopoMAESegmentLib.pretrained_choice import PretrainedChoice
from TopoMAESegmentLib.reconstruction import BRANCHES, branchName
from TopoMAESegmentLib.roi_box import placeBoxInVolume, showAsFrame
from TopoMAESegmentLib.run_control import RunControl

BOX_ROLE = ROLE + "crop"
_SIZE_UNKNOWN = 40.0


class KeyPointPanel:
    """Ties the widgets of TopoMAEKeyPointPanel.ui to a `KeyPointLogic`.

    Attributes:
        points: what is shown, or None.
    """

    def __init__(self, parentLayout: qt.QLayout, logic: object, segmentContext: object):
        """Load the panel.

        Args:
            parentLayout: where it goes.
            logic: `KeyPointLogic`, or anything with its methods.
            segmentContext: tells volumes and model; `changed` is its list of callbacks.
        """
        self.widget, self.ui = loadPanel("TopoMAEKeyPointPanel.ui", parentLayout)
        self._logic, self._context = logic, segmentContext
        self.points: KeyPoints | None = None
        self.view = KeyPointView()
        self.pretrained = PretrainedChoice(self.ui.keyPretrainedPathLineEdit, segmentContext)
        self.run = RunControl(
            self.ui.predictButton, self.ui.keyPointProgressBar, self.ui.keyPointStatusLabel, self._start
        )
        self._observed, self._usedBoxID, self._again = None, "", False
        self._sizeTask = None
        # Not from within the node's own event: the box may be moved by what follows.
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(50)
        self._timer.timeout.connect(self._onBoxMoved)
        self._setUp()
        segmentContext.changed.append(self.update)

    def update(self) -> None:
        """Follow what is chosen in the rest of the module."""
        self.pretrained.suggest()

    def clear(self) -> None:
        """Remove everything that this panel put into the scene."""
        self._stop()
        self.view.clear()
        self._forget()
        removeRoleNodes(ROLE, FOLDER)

    def sceneClosing(self) -> None:
        """The scene is about to be closed: give up what runs, forget the nodes."""
        self._stop()
        self._observe(None)
        self._forget()

    def cleanup(self) -> None:
        """The panel goes away."""
        self._stop()
        self.run.cleanup()
        self._observe(None)
        if self.update in self._context.changed:
            self._context.changed.remove(self.update)

    def placeBox(self) -> slicer.vtkMRMLMarkupsROINode:
        """Put a box into the middle of the first volume; it gets the crop's size as soon as the model has told it.

        Raises:
            ValueError: there is no volume, it cannot be used, or no pre-training run is chosen.
        """
        array, affine = volumeArrayAndAffine(self._volumes()[0])
        roiNode = self.ui.cropSelector.currentNode()
        if roiNode is None:
            roiNode = roleNode("vtkMRMLMarkupsROINode", BOX_ROLE, _("TopoMAE crop box"), FOLDER)
            showAsFrame(roiNode, TRUE_COLOR)
        placeBoxInVolume(roiNode, affine, array.shape, _SIZE_UNKNOWN)
        self.ui.cropSelector.setCurrentNode(roiNode)
        self._sizeTask = self._logic.cropSize(
            self.pretrained.folder(), waitForCompletion=False, onFinished=partial(self._onCropSize, roiNode.GetID())
        )
        return roiNode

    def _setUp(self) -> None:
        ui = self.ui
        fillComboBox(ui.keyBranchComboBox, [(branchName(branch), branch) for branch in BRANCHES])
        headers = [_("Point"), *(_("{branch} error (mm)").format(branch=branchName(branch)) for branch in BRANCHES)]
        setUpTable(ui.keyPointTable, headers)
        ui.keyPointSummaryLabel.setTextFormat(qt.Qt.PlainText)
        ui.keyBranchComboBox.currentIndexChanged.connect(self._onBranchChanged)
        ui.keyPointTable.currentCellChanged.connect(self._onCurrentCellChanged)
        ui.cropSelector.currentNodeChanged.connect(self._onBoxChosen)
        ui.placeCropButton.clicked.connect(self._onPlaceBox)
        ui.clearKeyPointsButton.clicked.connect(self._onClear)
        self._observe(ui.cropSelector.currentNode())

    def _volumes(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        volumes = self._context.volumeNodes()
        if not volumes:
            raise ValueError(_("Choose the input volumes in the upper part of the module first."))
        return volumes

    def _start(self) -> object:
        roiNode = self.ui.cropSelector.currentNode()
        self._usedBoxID = roiNode.GetID() if roiNode is not None else ""
        return self._logic.keyPoints(
            self._volumes(),
            self.pretrained.folder(),
            roiNode,
            waitForCompletion=False,
            onProgress=self.run.onProgress,
            onFinished=self._onFinished,
        )

    def _onFinished(self, task: object) -> None:
        done = self.run.finish(task)
        if self._again:
            # The box was moved meanwhile: what has just come is of the place before.
            self._again = False
            self._timer.start()
        elif done:
            self.points = task.value
            if self._usedBoxID:
                self.view.placeBox(self.points, slicer.mrmlScene.GetNodeByID(self._usedBoxID))
            self._show()

    def _onCropSize(self, roiID: str, task: object) -> None:
        roiNode = slicer.mrmlScene.GetNodeByID(roiID)
        if task.state == "done" and roiNode is not None:
            roiNode.SetSize(*task.value["size"])
        elif task.state == "failed":
            self.run.say(str(task.error))

    def _show(self) -> None:
        points, ui = self.points, self.ui
        self.view.show(points, chosenKey(ui.keyBranchComboBox))
        table = ui.keyPointTable
        wasBlocked = table.blockSignals(True)
        table.setRowCount(len(points.names) + 1)
        for row, name in enumerate(points.names):
            setRow(table, row, [name, *(f"{points.errors[branch][row]:.1f}" for branch in BRANCHES)], (1, 2))
        means = [f"{np.mean(points.errors[branch]):.1f}" for branch in BRANCHES]
        setRow(table, len(points.names), [_("mean"), *means], (1, 2))
        table.resizeColumnsToContents()
        table.blockSignals(wasBlocked)
        ui.keyPointSummaryLabel.setText(summary(points))

    def _forget(self) -> None:
        self.points = None
        self.ui.keyPointTable.setRowCount(0)
        self.ui.keyPointSummaryLabel.setText("")
        self.run.say("")

    def _stop(self) -> None:
        self._again = False
        self._timer.stop()
        self.run.cancel()
        if self._sizeTask is not None:
            self._sizeTask.cancel()

    def _observe(self, roiNode: slicer.vtkMRMLMarkupsROINode | None) -> None:
        if self._observed is not None:
            self._observed[0].RemoveObserver(self._observed[1])
        self._observed = None
        if roiNode is not None:
            # At the end of a drag; while it is dragged every pixel would be a request.
            event = slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent
            self._observed = (roiNode, roiNode.AddObserver(event, self._onInteractionEnded))

    def _onInteractionEnded(self, caller: object, event: object) -> None:
        if self.ui.autoUpdateCheckBox.checked:
            self._timer.start()

    def _onBoxMoved(self) -> None:
        if self.run.running:
            self._again = True
            self.run.cancel()
        else:
            self.run.run()

    def _onBoxChosen(self, node: object = None) -> None:
        # Not the argument: the signal has a second form, which gives a bool.
        self._observe(self.ui.cropSelector.currentNode())

    def _onBranchChanged(self, index: int = 0) -> None:
        if self.points is not None:
            self._show()

    def _onCurrentCellChanged(self, row: int, column: int, previousRow: int, previousColumn: int) -> None:
        if self.points is not None and 0 <= row < len(self.points.names) and row != previousRow:
            jumpSlices(self.points.predicted[chosenKey(self.ui.keyBranchComboBox)][row])

    def _onPlaceBox(self, checked: bool = False) -> None:
        try:
            self.placeBox()
        except (ValueError, RuntimeError, OSError) as error:
            self.run.say(str(error))

    def _onClear(self, checked: bool = False) -> None:
        self.clear()


def summary(points: KeyPoints) -> str:
    """What the numbers mean, in words."""
    size = " × ".join(f"{value:.0f}" for value in points.size)
    text = _("The crop measures {size} mm.").format(size=size)
    if not all(points.informative):
        axes = ", ".join(str(number + 1) for number, known in enumerate(points.informative) if not known)
        text += " " + _("Along axis {axes} it is as long as the volume, so that there is nothing to predict.").format(
            axes=axes
        )
    return text
