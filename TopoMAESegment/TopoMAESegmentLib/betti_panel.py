"""Betti numbers beside the segments, and a way through the islands and holes that should not be there."""

from __future__ import annotations

from dataclasses import replace

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib.layouts import jumpSlices
from TopoMAELib.scene_nodes import fillTable, removeRoleNodes, roleNode
from TopoMAESegmentLib.diagram_chart import FOLDER
from TopoMAESegmentLib.feature_view import FeatureView
from TopoMAESegmentLib.panel_parts import setRow, setUpTable
from TopoMAESegmentLib.run_control import RunControl
from TopoMAESegmentLib.segment_topology import SegmentTopology, setExpectedNumbers

ROLE = "topology.betti"
EXPECTED_COLUMN = 4
VERDICT_COLUMN = 5
_FINDING_COLOR = (0.8, 0.47, 0.65)


class BettiPanel:
    """The lower half of the topology panel.

    Attributes:
        topologies: what was counted last, one per row of the table.
    """

    def __init__(self, ui: object, logic: object, segmentContext: object, featureView: FeatureView):
        """Take over the widgets.

        Args:
            ui: widgets of the topology panel.
            logic: `TopologyLogic`.
            segmentContext: tells the segmentation.
            featureView: shows a finding.
        """
        self.topologies: list[SegmentTopology] = []
        self.ui, self._logic, self._context, self._featureView = ui, logic, segmentContext, featureView
        self._nodeID, self._observed, self._current = "", None, -1
        self.run = RunControl(ui.bettiButton, ui.bettiProgressBar, ui.bettiStatusLabel, self._start)
        headers = (_("Segment"), _("Components"), _("Tunnels"), _("Cavities"), _("Expected"), _("Verdict"))
        setUpTable(ui.bettiTable, headers, editable=True)
        ui.bettiTable.resizeColumnsToContents()
        ui.bettiTable.itemChanged.connect(self._onItemChanged)
        ui.bettiTable.cellClicked.connect(self._onCellClicked)
        ui.previousFindingButton.clicked.connect(self._onPrevious)
        ui.nextFindingButton.clicked.connect(self._onNext)

    def showFinding(self, number: int) -> None:
        """Go to one of the islands and holes that should not be there.

        Args:
            number: counted over all segments; beyond the last one comes the first again.
        """
        offending = self._offending()
        if not offending:
            self.ui.findingLabel.setText(_("All segments are as expected."))
            return
        self._current = number % len(offending)
        topology, finding = offending[self._current]
        text = f"{topology.name}: {finding.text()}"
        self._featureView.clearOutline()
        self._featureView.showMarkers([finding.position], [text], _FINDING_COLOR)
        jumpSlices(finding.position)
        place = _("{number} of {count}").format(number=self._current + 1, count=len(offending))
        self.ui.findingLabel.setText(f"{place}: {text}")

    def sceneClosing(self) -> None:
        """Forget what was counted."""
        self.run.cancel()
        self.clear()

    def clear(self) -> None:
        """Empty the table and remove its node."""
        self._stopObserving()
        self.topologies, self._nodeID, self._current = [], "", -1
        self.ui.bettiTable.setRowCount(0)
        self.ui.findingLabel.setText("")
        self._updateButtons()
        self.run.say("")
        removeRoleNodes(ROLE, FOLDER)

    def cleanup(self) -> None:
        """The panel goes away."""
        self.run.cleanup()
        self._stopObserving()

    def _start(self) -> object:
        node = self._context.segmentationNode()
        self._nodeID = node.GetID() if node is not None else ""
        return self._logic.bettiNumbers(node, waitForCompletion=False, onFinished=self._onFinished)

    def _onFinished(self, task: object) -> None:
        if not self.run.finish(task):
            return
        self.topologies, self._current = task.value, -1
        self._fill()
        self._stopObserving()
        node = slicer.mrmlScene.GetNodeByID(self._nodeID)
        if node is not None:
            event = slicer.vtkSegmentation.SourceRepresentationModified
            self._observed = (node, node.AddObserver(event, self._onSegmentationModified))

    def _fill(self) -> None:
        table = self.ui.bettiTable
        wasBlocked = table.blockSignals(True)
        table.setRowCount(len(self.topologies))
        for row, topology in enumerate(self.topologies):
            setRow(table, row, [topology.name, *(str(number) for number in topology.numbers), "", ""], (1, 2, 3))
            cell = table.item(row, EXPECTED_COLUMN)
            cell.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsEditable)
            cell.setToolTip(_("Components, tunnels and cavities that this segment should have; double-click to edit"))
            self._judge(row)
        table.resizeColumnsToContents()
        table.blockSignals(wasBlocked)
        self._updateButtons()
        self._fillNode()

    def _judge(self, row: int) -> None:
        """Show what is expected of a segment and the verdict, in the cells that are there."""
        table, topology = self.ui.bettiTable, self.topologies[row]
        wasBlocked = table.blockSignals(True)
        table.item(row, EXPECTED_COLUMN).setText(" ".join(str(number) for number in topology.expected))
        verdict = table.item(row, VERDICT_COLUMN)
        verdict.setText(f"⚠ {topology.verdict()}" if topology.differs else topology.verdict())
        font = table.font
        font.setBold(topology.differs)
        verdict.setFont(font)
        table.blockSignals(wasBlocked)

    def _fillNode(self) -> None:
        columns = {_("Segment"): [topology.name for topology in self.topologies]}
        for number, name in enumerate((_("Components"), _("Tunnels"), _("Cavities"))):
            columns[name] = [str(topology.numbers[number]) for topology in self.topologies]
        columns[_("Verdict")] = [topology.verdict() for topology in self.topologies]
        fillTable(roleNode("vtkMRMLTableNode", ROLE, _("TopoMAE Betti numbers"), FOLDER), columns)

    def _offending(self) -> list:
        return [(topology, finding) for topology in self.topologies for finding in topology.offending()]

    def _updateButtons(self) -> None:
        enabled = bool(self._offending())
        self.ui.previousFindingButton.setEnabled(enabled)
        self.ui.nextFindingButton.setEnabled(enabled)

    def _onPrevious(self, checked: bool = False) -> None:
        self.showFinding(self._current - 1 if self._current >= 0 else -1)

    def _onNext(self, checked: bool = False) -> None:
        self.showFinding(self._current + 1)

    def _onCellClicked(self, row: int, column: int) -> None:
        if column == EXPECTED_COLUMN or row >= len(self.topologies):
            return
        before = sum(len(topology.offending()) for topology in self.topologies[:row])
        if self.topologies[row].offending():
            self.showFinding(before)
        else:
            self.ui.findingLabel.setText("")

    def _onItemChanged(self, item: qt.QTableWidgetItem) -> None:
        row = item.row()
        node = slicer.mrmlScene.GetNodeByID(self._nodeID) if self._nodeID else None
        if item.column() != EXPECTED_COLUMN or row >= len(self.topologies) or node is None:
            return
        segment = node.GetSegmentation().GetSegment(self.topologies[row].segmentID)
        try:
            if segment is not None:
                self.topologies[row] = replace(self.topologies[row], expected=setExpectedNumbers(segment, item.text()))
            self.run.say("")
        except ValueError as error:
            self.run.say(str(error))
        # The cell that was edited must stay: Qt is not done with it.
        self._judge(row)
        self._current = -1
        self._updateButtons()
        self._fillNode()

    def _onSegmentationModified(self, caller: object, event: object) -> None:
        self.run.say(_("The segmentation has changed since; count again."))

    def _stopObserving(self) -> None:
        if self._observed is not None:
            node, tag = self._observed
            node.RemoveObserver(tag)
        self._observed = None
