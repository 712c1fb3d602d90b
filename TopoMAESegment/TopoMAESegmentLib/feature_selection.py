"""Selecting a feature, in the table or in a plot, and what follows from it in the views."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import slicer
from slicer.i18n import tr as _

from TopoMAESegmentLib.diagram_view import DiagramView
from TopoMAESegmentLib.feature_table import FeatureTable
from TopoMAESegmentLib.feature_view import FeatureView
from TopoMAESegmentLib.panel_parts import chosenKey, fillComboBox
from TopoMAESegmentLib.persistence_diagram import DIMENSION_COLORS, ESSENTIAL


class FeatureSelection:
    """Keeps table, plots, slice views and outline together.

    Attributes:
        selected: (number of the diagram, row in it), or None.
    """

    def __init__(self, ui: object, logic: object, view: DiagramView):
        """Take over the widgets.

        Args:
            ui: widgets of the topology panel.
            logic: `TopologyLogic`.
            view: the plots.
        """
        self.ui, self._logic, self._view = ui, logic, view
        self.selected: tuple[int, int] | None = None
        self.featureView = FeatureView()
        self.table = FeatureTable(ui.featureTable, self._onRowSelected)
        self._task, self._volumeID = None, ""
        places = ((_("its voxels"), ""), (_("where it appears"), "birth"), (_("where it disappears"), "death"))
        fillComboBox(ui.jumpComboBox, places)
        ui.jumpComboBox.currentIndexChanged.connect(self._onOptionChanged)
        ui.outlineCheckBox.toggled.connect(self._onOptionChanged)
        ui.tableComboBox.currentIndexChanged.connect(self._onTableChanged)
        self._showTableChoice([])

    def show(self, titles: Sequence[str], volumeNode: slicer.vtkMRMLVolumeNode | None) -> None:
        """List the features of the diagrams that the plots show now, none of them selected.

        Args:
            titles: of the diagrams.
            volumeNode: that they are of.
        """
        self._cancel()
        self.selected = None
        self._volumeID = volumeNode.GetID() if volumeNode is not None else ""
        self.featureView.clear()
        self._showTableChoice(titles)
        self._onTableChanged()

    def select(self, number: int, row: int) -> None:
        """Select a feature: mark it in plot and table, go there, outline it if that is wanted.

        Args:
            number: of the diagram.
            row: in it, or `ESSENTIAL`.
        """
        if number >= len(self._view.diagrams):
            return
        self._cancel()
        self.selected = (number, row)
        if self._tableNumber() != number:
            self.ui.tableComboBox.setCurrentIndex(number)
        self.table.select(row)
        diagram = self._view.diagrams[number]
        self._view.select(number, row)
        self.featureView.showPoints(diagram, row, chosenKey(self.ui.jumpComboBox))
        if self.ui.outlineCheckBox.checked and row != ESSENTIAL:
            self._startOutline(number, row)

    def clear(self) -> None:
        """Forget the diagrams and remove the nodes."""
        self.forget()
        self.featureView.clear()

    def forget(self) -> None:
        """Forget the diagrams."""
        self._cancel()
        self.selected = None
        self._showTableChoice([])
        self.table.show(None)

    sceneClosing = forget

    def cleanup(self) -> None:
        """The panel goes away."""
        self._cancel()
        self.selected = None

    def _startOutline(self, number: int, row: int) -> None:
        try:
            self._task = self._logic.featureMask(
                self._view.diagrams[number],
                row,
                waitForCompletion=False,
                onFinished=partial(self._onMask, number, row),
            )
        except (ValueError, RuntimeError, OSError) as error:
            self.ui.diagramStatusLabel.setText(str(error))

    def _onMask(self, number: int, row: int, task: object) -> None:
        if self.selected != (number, row):
            return
        if task.state == "failed":
            self.ui.diagramStatusLabel.setText(str(task.error))
        if task.state != "done":
            return
        diagram = self._view.diagrams[number]
        mask, affine = task.value
        color = DIMENSION_COLORS[int(diagram.dim[row])]
        volumeNode = slicer.mrmlScene.GetNodeByID(self._volumeID) if self._volumeID else None
        self.featureView.showOutline(mask, affine, diagram.featureText(row), color, volumeNode)
        self.ui.diagramStatusLabel.setText("")

    def _cancel(self) -> None:
        if self._task is not None and self._task.state == "running":
            self._task.cancel()
        self._task = None

    def _showTableChoice(self, titles: Sequence[str]) -> None:
        fillComboBox(self.ui.tableComboBox, [(title, str(number)) for number, title in enumerate(titles)])
        for widget in (self.ui.tableLabel, self.ui.tableComboBox):
            widget.setVisible(len(titles) > 1)

    def _tableNumber(self) -> int:
        return max(0, self.ui.tableComboBox.currentIndex)

    def _onTableChanged(self, index: int = 0) -> None:
        number = self._tableNumber()
        self.table.show(self._view.diagrams[number] if number < len(self._view.diagrams) else None)

    def _onRowSelected(self, row: int) -> None:
        self.select(self._tableNumber(), row)

    def _onOptionChanged(self, value: object = None) -> None:
        if self.selected is not None:
            self.select(*self.selected)
