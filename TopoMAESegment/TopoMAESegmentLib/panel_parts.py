"""Loading of this module's panels, and table cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import qt
import slicer

_UI_FOLDER = Path(__file__).resolve().parent.parent / "Resources" / "UI"


def loadPanel(fileName: str, parentLayout: qt.QLayout) -> tuple[qt.QWidget, object]:
    """Load a .ui file of this module and put it into a layout.

    Args:
        fileName: such as "TopoMAETopologyPanel.ui".
        parentLayout: where the widget goes.

    Returns:
        The widget, and an object whose attributes are the widgets in it.
    """
    widget = slicer.util.loadUI(str(_UI_FOLDER / fileName))
    parentLayout.addWidget(widget)
    widget.setMRMLScene(slicer.mrmlScene)
    return widget, slicer.util.childWidgetVariables(widget)


def setUpTable(table: qt.QTableWidget, headers: Sequence[str], editable: bool = False) -> None:
    """Give a table its columns; the last one takes the space that is left."""
    table.setColumnCount(len(headers))
    table.setHorizontalHeaderLabels(list(headers))
    table.horizontalHeader().setStretchLastSection(True)
    table.verticalHeader().setVisible(False)
    if not editable:
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)


def setRow(table: qt.QTableWidget, row: int, texts: Sequence[str], numbers: Sequence[int] = ()) -> None:
    """Fill a row with cells that cannot be edited.

    Args:
        table: the table.
        row: which row.
        texts: one per column.
        numbers: columns that hold numbers, to be aligned to the right.
    """
    for column, text in enumerate(texts):
        cell = qt.QTableWidgetItem(text)
        cell.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
        if column in numbers:
            cell.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        table.setItem(row, column, cell)


def fillComboBox(comboBox: qt.QComboBox, entries: Sequence[tuple[str, str]]) -> None:
    """Replace the entries of a combo box; the chosen one stays chosen if it is still there.

    Args:
        comboBox: the combo box.
        entries: text and key of each; `chosenKey` gives the key back.
    """
    before = chosenKey(comboBox)
    wasBlocked = comboBox.blockSignals(True)
    comboBox.clear()
    for text, key in entries:
        comboBox.addItem(text, key)
    index = comboBox.findData(before)
    comboBox.setCurrentIndex(index if index >= 0 else (0 if entries else -1))
    comboBox.blockSignals(wasBlocked)


def chosenKey(comboBox: qt.QComboBox) -> str:
    """Key of the chosen entry of a combo box filled by `fillComboBox`; empty if there is none."""
    key = comboBox.itemData(comboBox.currentIndex) if comboBox.currentIndex >= 0 else ""
    return str(key or "")
