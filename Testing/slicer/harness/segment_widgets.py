"""Stand-ins of the widgets of the Segmentations module: table of segments, segment selector, show in 3-D."""

from typing import Any

import slicer
import vtk

from .ctk_widgets import ctkMenuButton
from .node_combo_box import qMRMLNodeComboBox
from .pythonqt import makeQtModule
from .scene_widgets import Observer, qMRMLWidget
from .segments_table import SegmentsTable, colorIcon
from .stand_in import standIn, stored

qt = makeQtModule()


class SegmentationHolder(Observer):
    """Mixed into widgets that show one segmentation node and follow its segments."""

    def segmentationNode(self) -> Any:
        return self.__dict__.get("_segmentationNode")

    def setSegmentationNode(self, node: Any) -> None:
        self._segmentationNode = node
        kind = slicer.vtkSegmentation
        self._observe(
            node,
            (
                kind.SegmentAdded,
                kind.SegmentRemoved,
                kind.SegmentModified,
                kind.SegmentsOrderModified,
                kind.ContainedRepresentationNamesModified,
                slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent,
                vtk.vtkCommand.ModifiedEvent,
            ),
            self._onSegmentation,
        )
        scene = node.GetScene() if node is not None else None
        self._observe(scene, (slicer.vtkMRMLScene.NodeRemovedEvent,), self._onNodeRemoved)
        self._showSegments()

    def _onNodeRemoved(self, *_):
        node = self.segmentationNode()
        if node is not None and node.GetScene() is None:
            self.setSegmentationNode(None)

    def _onSegmentation(self, *_):
        self._showSegments()

    def _segments(self) -> list[tuple[str, Any]]:
        node = self.segmentationNode()
        segmentation = node.GetSegmentation() if node is not None else None
        count = segmentation.GetNumberOfSegments() if segmentation is not None else 0
        return [(segmentation.GetNthSegmentID(index), segmentation.GetNthSegment(index)) for index in range(count)]


@standIn
class qMRMLSegmentsTableView(SegmentationHolder, qMRMLWidget):
    """The segments with visibility, colour, opacity and name."""

    selectionChanged = qt.Signal(object, object)
    segmentAboutToBeModified = qt.Signal(str)

    selectionMode = stored(int, "selectionMode", 3, "_showSegments")
    headerVisible = stored(bool, "headerVisible", True, "_showSegments")
    visibilityColumnVisible = stored(bool, "visibilityColumnVisible", True, "_showSegments")
    colorColumnVisible = stored(bool, "colorColumnVisible", True, "_showSegments")
    opacityColumnVisible = stored(bool, "opacityColumnVisible", True, "_showSegments")
    statusColumnVisible = stored(bool, "statusColumnVisible", False)
    layerColumnVisible = stored(bool, "layerColumnVisible", False)
    readOnly = stored(bool, "readOnly", False)
    filterBarVisible = stored(bool, "filterBarVisible", False)
    textFilter = stored(str, "textFilter", "", "_showSegments")
    jumpToSelectedSegmentEnabled = stored(bool, "jumpToSelectedSegmentEnabled", False)
    segmentCount = qt.Property(int, lambda self: len(self._shownSegments()))

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._hidden: tuple[str, ...] = ()
        self._table = SegmentsTable(self)
        self._table.itemSelectionChanged.connect(self._onSelection)
        self._table.cellClicked.connect(self._onClicked)
        column = qt.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._table)
        self._showSegments()

    def _shownSegments(self):
        wanted = self.textFilter.lower()
        named = [entry for entry in self._segments() if wanted in (entry[1].GetName() or "").lower()]
        return [entry for entry in named if entry[0] not in self._hidden]

    def _showSegments(self):
        node = self.segmentationNode()
        self._table.showSegments(self._shownSegments(), node.GetDisplayNode() if node is not None else None)
        shown = (self.visibilityColumnVisible, self.colorColumnVisible, self.opacityColumnVisible, True)
        self._table.showColumns(shown, self.headerVisible)
        self._table.setSelectionMode(qt.QAbstractItemView.SelectionMode(self.selectionMode))

    def _onSelection(self):
        self.selectionChanged.emit(qt.QItemSelection(), qt.QItemSelection())

    def _onClicked(self, row, column):
        node = self.segmentationNode()
        if column == SegmentsTable.VISIBILITY and not self.readOnly and node.GetDisplayNode() is not None:
            display, segmentID = node.GetDisplayNode(), self.segmentIDForRow(row)
            display.SetSegmentVisibility(segmentID, not display.GetSegmentVisibility(segmentID))

    def tableWidget(self):
        return self._table

    def selectedSegmentIDs(self):
        return tuple(self._table.segmentID(row) for row in self._table.selectedRows())

    def setSelectedSegmentIDs(self, segmentIDs):
        self._table.selectSegments(tuple(segmentIDs))

    def clearSelection(self):
        self._table.clearSelection()

    def displayedSegmentIDs(self):
        return tuple(segmentID for segmentID, _ in self._shownSegments())

    def hideSegments(self):
        return self._hidden

    def setHideSegments(self, segmentIDs):
        self._hidden = tuple(segmentIDs)
        self._showSegments()

    def segmentIDForRow(self, row):
        return self._table.segmentID(row)

    def rowForSegmentID(self, segmentID):
        displayed = self.displayedSegmentIDs()
        return displayed.index(segmentID) if segmentID in displayed else -1


@standIn
class qMRMLSegmentSelectorWidget(SegmentationHolder, qMRMLWidget):
    """Chooses a segmentation node and one of its segments."""

    currentNodeChanged = qt.Signal(object)
    currentSegmentChanged = qt.Signal(str)

    noneEnabled = stored(bool, "noneEnabled", False, "_showSegments")
    segmentationNodeSelectorVisible = stored(bool, "segmentationNodeSelectorVisible", True, "_showSegments")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._segmentID, self._filling = "", False
        self._nodes = qMRMLNodeComboBox(self)
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._nodes.addEnabled = False
        self._nodes.currentNodeChanged.connect(self._onNode)
        self._combo = qt.QComboBox(self)
        self._combo.currentIndexChanged.connect(self._onIndex)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._nodes)
        row.addWidget(self._combo)

    def _sceneReplaced(self, before, scene):
        super()._sceneReplaced(before, scene)
        self._nodes.setMRMLScene(scene)

    def _onNode(self, node):
        self.setSegmentationNode(node)
        self.currentNodeChanged.emit(node)

    def currentNode(self):
        return self._nodes.currentNode()

    def currentNodeID(self):
        return self._nodes.currentNodeID

    def setCurrentNode(self, node):
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, nodeID):
        self._nodes.setCurrentNodeID(nodeID)

    def currentSegmentID(self):
        return self._segmentID

    def setCurrentSegmentID(self, segmentID):
        self._choose(segmentID if segmentID in [found for found, _ in self._segments()] else "")

    def _showSegments(self):
        self._nodes.noneEnabled = self.noneEnabled
        self._nodes.setVisible(self.segmentationNodeSelectorVisible)
        segments = self._segments()
        self._filling = True
        self._combo.clear()
        for segmentID, segment in segments:
            self._combo.addItem(colorIcon(segment.GetColor()), segment.GetName() or segmentID, segmentID)
        self._filling = False
        ids = [segmentID for segmentID, _ in segments]
        self._choose(self._segmentID if self._segmentID in ids else (ids[0] if ids else ""))

    def _onIndex(self, index):
        if not self._filling:
            self._choose(self._combo.itemData(index) if index >= 0 else "")

    def _choose(self, segmentID):
        self._filling = True
        self._combo.setCurrentIndex(self._combo.findData(segmentID))
        self._filling = False
        if segmentID != self._segmentID:
            self._segmentID = segmentID
            self.currentSegmentChanged.emit(segmentID)


@standIn
class qMRMLSegmentationShow3DButton(SegmentationHolder, ctkMenuButton):
    """Makes closed surfaces and shows them in 3-D while it is checked; it has no scene, in C++ either."""

    locked = stored(bool, "locked", False, "_showSegments")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self.setText("Show 3D")
        self.setCheckable(True)
        self.setEnabled(False)
        self.toggled.connect(self._onToggled)

    def _showSegments(self):
        node = self.segmentationNode()
        surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        self.setEnabled(node is not None and not self.locked and bool(self._segments()))
        self.blockSignals(True)
        self.setChecked(node is not None and node.GetSegmentation().ContainsRepresentation(surface))
        self.blockSignals(False)

    def _onToggled(self, checked):
        node = self.segmentationNode()
        if node is None:
            return
        surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        if checked:
            made = node.GetSegmentation().CreateRepresentation(surface)
            if made and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(surface)
        else:
            node.GetSegmentation().RemoveRepresentation(surface)
