"""Stand-ins of the widgets of the Markups module: list of control points, buttons to place them."""

from typing import Any

import vtk

from .node_combo_box import qMRMLNodeComboBox
from .pythonqt import makeQtModule
from .scene_widgets import qSlicerWidget
from .stand_in import standIn, stored

qt = makeQtModule()


@standIn
class qSlicerMarkupsPlaceWidget(qSlicerWidget):
    """Buttons to place and delete control points of one markups node."""

    activeMarkupsPlaceModeChanged = qt.Signal(bool)

    ShowPlaceMultipleMarkupsOption, HidePlaceMultipleMarkupsOption = 0, 1
    ForcePlaceSingleMarkup, ForcePlaceMultipleMarkups = 2, 3

    buttonsVisible = stored(bool, "buttonsVisible", True, "_show")
    deleteAllControlPointsOptionVisible = stored(bool, "deleteAllControlPointsOptionVisible", True)
    unsetLastControlPointOptionVisible = stored(bool, "unsetLastControlPointOptionVisible", False)
    unsetAllControlPointsOptionVisible = stored(bool, "unsetAllControlPointsOptionVisible", False)
    placeMultipleMarkups = stored(int, "placeMultipleMarkups", 0)
    placeModePersistency = stored(bool, "placeModePersistency", False)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._node: Any = None
        self._placing = False
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._place, self._delete = qt.QToolButton(self), qt.QToolButton(self)
        self._place.setText("⊕")
        self._place.setCheckable(True)
        self._place.toggled.connect(self.setPlaceModeEnabled)
        self._delete.setText("✕")
        self._delete.clicked.connect(self.deleteLastPoint)
        row.addWidget(self._place)
        row.addWidget(self._delete)
        self._show()

    def _show(self):
        for button in (self._place, self._delete):
            button.setVisible(self.buttonsVisible)
            button.setEnabled(self._node is not None)

    def currentNode(self):
        return self._node

    currentMarkupsNode = currentNode

    def setCurrentNode(self, node):
        self._node = node
        self._show()

    def setPlaceModeEnabled(self, enabled):
        if enabled != self._placing and (self._node is not None or not enabled):
            self._placing = enabled
            self._place.setChecked(enabled)
            self.activeMarkupsPlaceModeChanged.emit(enabled)

    placeModeEnabled = qt.Property(bool, lambda self: self._placing, setPlaceModeEnabled)

    def placeButton(self):
        return self._place

    def deleteButton(self):
        return self._delete

    def deleteLastPoint(self):
        if self._node is not None and self._node.GetNumberOfControlPoints():
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self):
        if self._node is not None:
            self._node.RemoveAllControlPoints()


@standIn
class qSlicerSimpleMarkupsWidget(qSlicerWidget):
    """Chooses a point list and shows its control points."""

    markupsNodeChanged = qt.Signal()
    markupsFiducialNodeChanged = qt.Signal()
    currentMarkupsControlPointSelectionChanged = qt.Signal(int)
    activeMarkupsPlaceModeChanged = qt.Signal(bool)
    updateFinished = qt.Signal()

    enterPlaceModeOnNodeChange = stored(bool, "enterPlaceModeOnNodeChange", True)
    jumpToSliceEnabled = stored(bool, "jumpToSliceEnabled", False)
    nodeSelectorVisible = stored(bool, "nodeSelectorVisible", True, "_show")
    optionsVisible = stored(bool, "optionsVisible", True, "_show")
    viewGroup = stored(int, "viewGroup", -1)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._selector = qMRMLNodeComboBox(self)
        self._selector.nodeTypes = ["vtkMRMLMarkupsFiducialNode"]
        self._selector.noneEnabled = True
        self._selector.currentNodeChanged.connect(self._onNode)
        self._placeWidget = qSlicerMarkupsPlaceWidget(self)
        self._placeWidget.activeMarkupsPlaceModeChanged.connect(self.activeMarkupsPlaceModeChanged)
        self._table = qt.QTableWidget(0, 4, self)
        self._table.setHorizontalHeaderLabels(["Label", "R", "A", "S"])
        self._table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self._table.currentCellChanged.connect(self._onCurrentCell)
        row = qt.QHBoxLayout()
        row.addWidget(self._selector, 1)
        row.addWidget(self._placeWidget)
        column = qt.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self._table)

    def _sceneReplaced(self, before, scene):
        super()._sceneReplaced(before, scene)
        self._selector.setMRMLScene(scene)
        self._placeWidget.setMRMLScene(scene)

    def _show(self):
        self._selector.setVisible(self.nodeSelectorVisible)
        self._placeWidget.setVisible(self.optionsVisible)

    def _onNode(self, node):
        events = ()
        if node is not None:
            points = (node.PointAddedEvent, node.PointRemovedEvent, node.PointModifiedEvent)
            events = (*points, vtk.vtkCommand.ModifiedEvent)
        self._observe(node, events, self._onPoints)
        self._placeWidget.setCurrentNode(node)
        self._onPoints()
        self.markupsNodeChanged.emit()
        self.markupsFiducialNodeChanged.emit()

    def _onPoints(self, *_):
        node = self.currentNode()
        self._table.setRowCount(node.GetNumberOfControlPoints() if node is not None else 0)
        for row in range(self._table.rowCount):
            position = [f"{value:.3f}" for value in node.GetNthControlPointPositionWorld(row)]
            for column, text in enumerate([node.GetNthControlPointLabel(row), *position]):
                self._table.setItem(row, column, qt.QTableWidgetItem(text))
        self.updateFinished.emit()

    def _onCurrentCell(self, row, _column, _rowBefore, _columnBefore):
        self.currentMarkupsControlPointSelectionChanged.emit(row)

    def currentNode(self):
        return self._selector.currentNode()

    def setCurrentNode(self, node):
        self._selector.setCurrentNode(node)

    def setNodeBaseName(self, name):
        self._selector.baseName = name

    def tableWidget(self):
        return self._table

    def markupsPlaceWidget(self):
        return self._placeWidget

    def markupsSelectorComboBox(self):
        return self._selector

    def highlightNthControlPoint(self, index):
        self._table.selectRow(index)
