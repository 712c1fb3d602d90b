"""The topology panel: persistence diagrams, what their points are in the image, and Betti numbers."""

from __future__ import annotations

from dataclasses import replace

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib.scene_nodes import removeRoleNodes, roleNode
from TopoMAELib.volumes import volumeArrayAndAffine
from TopoMAESegmentLib.betti_panel import BettiPanel
from TopoMAESegmentLib.diagram_chart import FOLDER
from TopoMAESegmentLib.diagram_sources import (
    IMAGE,
    PROBABILITY,
    RECONSTRUCTION,
    DiagramChoice,
    diagramsOf,
    startDiagram,
    volumeOf,
)
from TopoMAESegmentLib.diagram_view import DiagramView
from TopoMAESegmentLib.feature_selection import FeatureSelection
from TopoMAESegmentLib.panel_parts import chosenKey, fillComboBox, loadPanel
from TopoMAESegmentLib.pretrained_choice import PretrainedChoice
from TopoMAESegmentLib.reconstruction import BRANCHES, Reconstruction, branchName
from TopoMAESegmentLib.reconstruction_view import ReconstructionView
from TopoMAESegmentLib.roi_box import placeBoxInVolume, showAsFrame
from TopoMAESegmentLib.run_control import RunControl

BOX_ROLE = "topology.box"


class TopologyPanel:
    """Ties the widgets of TopoMAETopologyPanel.ui to a `TopologyLogic`."""

    def __init__(self, parentLayout: qt.QLayout, logic: object, segmentContext: object):
        """Load the panel.

        Args:
            parentLayout: where it goes.
            logic: `TopologyLogic`, or anything with its methods.
            segmentContext: tells volumes, segmentation, probability maps and model; calls what is in `changed`.
        """
        self.widget, self.ui = loadPanel("TopoMAETopologyPanel.ui", parentLayout)
        self._logic, self._context = logic, segmentContext
        self._value, self._name, self._volumeID = None, "", ""
        self.view = DiagramView(self._onPointSelected)
        self.selection = FeatureSelection(self.ui, logic, self.view)
        self.reconstructionView = ReconstructionView()
        self.betti = BettiPanel(self.ui, logic, segmentContext, self.selection.featureView)
        self.pretrained = PretrainedChoice(self.ui.pretrainedPathLineEdit, segmentContext)
        self.run = RunControl(
            self.ui.showDiagramButton, self.ui.diagramProgressBar, self.ui.diagramStatusLabel, self._start
        )
        self._setUp()
        segmentContext.changed.append(self.update)
        self.update()

    def update(self) -> None:
        """Follow what is chosen in the rest of the module."""
        volumes = self._context.volumeNodes()
        if volumes and self.ui.volumeSelector.currentNode() is None:
            self.ui.volumeSelector.setCurrentNode(volumes[0])
        segmentation = self._context.segmentationNode()
        segments = segmentation.GetSegmentation() if segmentation is not None else None
        entries = [(segments.GetSegment(one).GetName(), one) for one in segments.GetSegmentIDs()] if segments else []
        fillComboBox(self.ui.segmentComboBox, entries)
        self.pretrained.suggest()

    def clear(self) -> None:
        """Remove everything that this panel put into the scene."""
        self.run.cancel()
        self._forgetDiagrams()
        self.reconstructionView.clear()
        self.selection.clear()
        self.view.clear()
        self.betti.clear()
        removeRoleNodes("topology.", FOLDER)

    def sceneClosing(self) -> None:
        """The scene is about to be closed: give up what runs, forget the nodes."""
        self.run.cancel()
        self.selection.sceneClosing()
        self.betti.sceneClosing()
        self.view.forget()
        self._forgetDiagrams()

    def cleanup(self) -> None:
        """The panel goes away."""
        self.run.cleanup()
        self.selection.cleanup()
        self.betti.cleanup()
        self.view.cleanup()
        if self.update in self._context.changed:
            self._context.changed.remove(self.update)

    def choice(self) -> DiagramChoice:
        """What is chosen in the widgets."""
        return DiagramChoice(
            source=chosenKey(self.ui.sourceComboBox),
            roiNode=self.ui.roiSelector.currentNode(),
            volumeNode=self.ui.volumeSelector.currentNode(),
            segmentID=chosenKey(self.ui.segmentComboBox),
            hiddenPart=self.ui.hiddenSpinBox.value / 100,
        )

    def _setUp(self) -> None:
        ui = self.ui
        sources = (
            (_("the image"), IMAGE),
            (_("the image and its reconstruction"), RECONSTRUCTION),
            (_("the probability of a segment"), PROBABILITY),
        )
        fillComboBox(ui.sourceComboBox, sources)
        fillComboBox(ui.branchComboBox, [(branchName(branch), branch) for branch in BRANCHES])
        overlays = ((_("nothing"), ""), (_("reconstruction"), "reconstructed"), (_("what the networks see"), "masked"))
        fillComboBox(ui.overlayComboBox, overlays)
        for label in (ui.diagramSummaryLabel, ui.findingLabel):
            label.setTextFormat(qt.Qt.PlainText)
        ui.sourceComboBox.currentIndexChanged.connect(self._onSourceChanged)
        ui.branchComboBox.currentIndexChanged.connect(self._onBranchChanged)
        ui.overlayComboBox.currentIndexChanged.connect(self._onOverlayChanged)
        ui.placeBoxButton.clicked.connect(self._onPlaceBox)
        ui.showLayoutButton.clicked.connect(self._onShowLayout)
        ui.clearTopologyButton.clicked.connect(self._onClear)
        self._onSourceChanged()

    def _start(self) -> object:
        choice = self.choice()
        volumeNode = volumeOf(choice, self._context)
        if choice.source == RECONSTRUCTION:
            choice = replace(choice, pretrained=self.pretrained.folder())
        self._volumeID, self._name = volumeNode.GetID(), volumeNode.GetName()
        if choice.source == PROBABILITY:
            self._name = self.ui.segmentComboBox.currentText
        return startDiagram(self._logic, choice, self._context, self.run.onProgress, self._onFinished)

    def _onFinished(self, task: object) -> None:
        if self.run.finish(task):
            self._value = task.value
            self._show()

    def _show(self) -> None:
        branch = chosenKey(self.ui.branchComboBox)
        diagrams, titles, summary = diagramsOf(self._value, self._name, branch)
        self.ui.diagramSummaryLabel.setText(summary)
        self.view.show(diagrams, titles)
        self.selection.show(titles, slicer.mrmlScene.GetNodeByID(self._volumeID))
        if isinstance(self._value, Reconstruction):
            self.reconstructionView.show(self._value, branch)
            self._onOverlayChanged()
        else:
            self.reconstructionView.clear()

    def _forgetDiagrams(self) -> None:
        self._value = None
        self.ui.diagramSummaryLabel.setText("")
        self.run.say("")

    def _onPointSelected(self, number: int, row: int) -> None:
        self.selection.select(number, row)

    def _onSourceChanged(self, index: int = 0) -> None:
        source = chosenKey(self.ui.sourceComboBox)
        shownFor = {
            IMAGE: ("volumeLabel", "volumeSelector"),
            PROBABILITY: ("segmentLabel", "segmentComboBox"),
            RECONSTRUCTION: (
                *("pretrainedLabel", "pretrainedPathLineEdit", "hiddenLabel", "hiddenSpinBox"),
                *("branchLabel", "branchComboBox", "overlayLabel", "overlayComboBox"),
            ),
        }
        for which, names in shownFor.items():
            for name in names:
                getattr(self.ui, name).setVisible(which == source)

    def _onBranchChanged(self, index: int = 0) -> None:
        if isinstance(self._value, Reconstruction):
            self._show()

    def _onOverlayChanged(self, index: int = 0) -> None:
        if isinstance(self._value, Reconstruction):
            self.reconstructionView.overlay(chosenKey(self.ui.overlayComboBox))

    def _onPlaceBox(self, checked: bool = False) -> None:
        try:
            volumeNode = volumeOf(self.choice(), self._context)
            array, affine = volumeArrayAndAffine(volumeNode)
        except ValueError as error:
            self.run.say(str(error))
            return
        roiNode = self.ui.roiSelector.currentNode()
        if roiNode is None:
            roiNode = roleNode("vtkMRMLMarkupsROINode", BOX_ROLE, _("TopoMAE box"), FOLDER)
            showAsFrame(roiNode)
        placeBoxInVolume(roiNode, affine, array.shape)
        self.ui.roiSelector.setCurrentNode(roiNode)

    def _onShowLayout(self, checked: bool = False) -> None:
        self.view.showLayout()

    def _onClear(self, checked: bool = False) -> None:
        self.clear()
