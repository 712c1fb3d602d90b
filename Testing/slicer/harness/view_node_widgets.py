"""Stand-ins of the widgets that show a table node or a plot view node."""

from typing import Any

import vtk

from .pythonqt import makeQtModule
from .scene_widgets import SceneHolder
from .stand_in import standIn, stored

qt = makeQtModule()


@standIn
class qMRMLTableView(SceneHolder, qt.QTableView):
    """Shows a table node."""

    mrmlSceneChanged = qt.Signal(object)
    selectionChanged = qt.Signal()

    transposed = stored(bool, "transposed", False, "_onModified")
    firstRowLocked = stored(bool, "firstRowLocked", False)
    firstColumnLocked = stored(bool, "firstColumnLocked", False)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._node: Any = None
        self._viewNode: Any = None
        self._model = qt.QStandardItemModel(self)
        self.setModel(self._model)

    def _sceneReplaced(self, before, scene):
        self.mrmlSceneChanged.emit(scene)

    def mrmlTableViewNode(self):
        return self._viewNode

    def setMRMLTableViewNode(self, node):
        self._viewNode = node
        self._observe(node, (vtk.vtkCommand.ModifiedEvent,), self._onViewNode)
        self._onViewNode()

    def _onViewNode(self, *_):
        self.setMRMLTableNode(self._viewNode.GetTableNode() if self._viewNode is not None else None)

    def mrmlTableNode(self):
        return self._node

    def setMRMLTableNode(self, node):
        self._node = node
        self._observe(node, (vtk.vtkCommand.ModifiedEvent,), self._onModified)
        self._onModified()

    def _onModified(self, *_):
        table = (self._node.GetTable() if self._node is not None else None) or vtk.vtkTable()
        names = [table.GetColumnName(index) or "" for index in range(table.GetNumberOfColumns())]
        rows = range(table.GetNumberOfRows())
        cells = [[table.GetValue(row, column).ToString() for column in range(len(names))] for row in rows]
        self._model.clear()
        if self.transposed:
            cells, names = [list(column) for column in zip(*cells, strict=True)], []
        else:
            self._model.setHorizontalHeaderLabels(names)
        for row in cells:
            self._model.appendRow([qt.QStandardItem(text) for text in row])


class qMRMLPlotView(SceneHolder, qt.QWidget):
    """The canvas of a plot; the layout of the harness paints the chart of its view node on it."""

    mrmlSceneChanged = qt.Signal(object)
    dataSelected = qt.Signal(object, object)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._node: Any = None

    def _sceneReplaced(self, before, scene):
        self.mrmlSceneChanged.emit(scene)

    def mrmlPlotViewNode(self):
        return self._node

    def setMRMLPlotViewNode(self, node):
        self._node = node

    def fitToContent(self):
        self.update()

    def RemovePlotSelections(self):
        self.dataSelected.emit(vtk.vtkStringArray(), vtk.vtkCollection())


class qMRMLPlotWidget(SceneHolder, qt.QWidget):
    """A plot view in a widget of its own."""

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._view = qMRMLPlotView(self)
        column = qt.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._view)

    def _sceneReplaced(self, before, scene):
        self._view.setMRMLScene(scene)

    def plotView(self):
        return self._view

    def mrmlPlotViewNode(self):
        return self._view.mrmlPlotViewNode()

    def setMRMLPlotViewNode(self, node):
        self._view.setMRMLPlotViewNode(node)
