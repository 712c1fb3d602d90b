"""The table inside qMRMLSegmentsTableView."""

from collections.abc import Sequence
from typing import Any

from .pythonqt import makeQtModule

qt = makeQtModule()


def colorIcon(color: Sequence[float], size: int = 14) -> Any:
    """A square of a colour given by three numbers from 0 to 1."""
    pixmap = qt.QPixmap(size, size)
    pixmap.fill(qt.QColor.fromRgbF(*color))
    return qt.QIcon(pixmap)


def eyeIcon(opened: bool, size: int = 16) -> Any:
    """Slicer's sign of a visible or hidden segment."""
    pixmap = qt.QPixmap(size, size)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setPen(qt.QPen(qt.QColor(70, 70, 70), 1.4))
    painter.drawEllipse(1, 4, size - 3, size - 9)
    if opened:
        painter.setBrush(qt.QColor(70, 70, 70))
        painter.drawEllipse(size // 2 - 3, size // 2 - 3, 4, 4)
    else:
        painter.drawLine(2, size - 3, size - 3, 2)
    painter.end()
    return qt.QIcon(pixmap)


class SegmentsTable(qt.QTableWidget):
    """One row per segment."""

    VISIBILITY, COLOR, OPACITY, NAME = range(4)

    def __init__(self, parent: Any):
        super().__init__(0, 4, parent)
        self.setHorizontalHeaderLabels(["", "", "Opacity", "Name"])
        self.horizontalHeader().setStretchLastSection(True)
        self.horizontalHeader().setHighlightSections(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(24)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.setMinimumHeight(60)
        for column, width in ((self.VISIBILITY, 28), (self.COLOR, 28), (self.OPACITY, 60)):
            self.setColumnWidth(column, width)

    def showSegments(self, segments: list[tuple[str, Any]], display: Any) -> None:
        """Fill the table; the selected segments stay selected.

        Args:
            segments: ID and vtkSegment of each row.
            display: display node of the segmentation, or None.
        """
        selected = [self.segmentID(row) for row in self.selectedRows()]
        before = [self.segmentID(row) for row in range(self.rowCount)]
        self.blockSignals(True)
        self.setRowCount(len(segments))
        for row, (segmentID, segment) in enumerate(segments):
            visible = display is None or bool(display.GetSegmentVisibility(segmentID))
            opacity = display.GetSegmentOpacity3D(segmentID) if display is not None else 1.0
            self._setCell(row, self.VISIBILITY, "", eyeIcon(visible))
            self._setCell(row, self.COLOR, "", colorIcon(segment.GetColor()))
            self._setCell(row, self.OPACITY, f"{opacity:.2f}")
            self._setCell(row, self.NAME, segment.GetName() or segmentID)
            self.item(row, self.NAME).setData(qt.Qt.UserRole, segmentID)
        if before != [segmentID for segmentID, _ in segments]:
            self.selectSegments(tuple(selected))
        self.blockSignals(False)

    def _setCell(self, row, column, text, icon=None):
        cell = qt.QTableWidgetItem(text)
        if icon is not None:
            cell.setIcon(icon)
        self.setItem(row, column, cell)

    def showColumns(self, shown: tuple[bool, ...], header: bool) -> None:
        """Which columns are visible, and whether there is a header."""
        for column, visible in enumerate(shown):
            self.setColumnHidden(column, not visible)
        self.horizontalHeader().setVisible(header)

    def segmentID(self, row: int) -> str:
        cell = self.item(row, self.NAME)
        return (cell.data(qt.Qt.UserRole) or "") if cell is not None else ""

    def selectedRows(self) -> list[int]:
        return sorted({index.row() for index in self.selectionModel().selectedIndexes()})

    def selectSegments(self, segmentIDs: tuple[str, ...]) -> None:
        """Select the rows of these segments and no others."""
        wanted = qt.QItemSelection()
        for row in range(self.rowCount):
            if self.segmentID(row) in segmentIDs:
                left, right = self.model().index(row, 0), self.model().index(row, self.NAME)
                wanted.select(left, right)
        self.selectionModel().select(wanted, qt.QItemSelectionModel.ClearAndSelect)
