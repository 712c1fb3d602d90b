"""What the tables of the panels have in common."""

from __future__ import annotations

from collections.abc import Sequence

import qt

from TopoMAELib.harmless import asToolTip

READ_ONLY = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
EDITABLE = READ_ONLY | qt.Qt.ItemIsEditable


def setUpTable(table: object, headings: Sequence[str], stretched: int) -> None:
    """Prepare a QTableWidget.

    Args:
        table: the widget.
        headings: of the columns.
        stretched: column that takes the room that is left.
    """
    table.setColumnCount(len(headings))
    table.setHorizontalHeaderLabels(list(headings))
    table.verticalHeader().setVisible(False)
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
    header = table.horizontalHeader()
    for column in range(len(headings)):
        resize = qt.QHeaderView.Stretch if column == stretched else qt.QHeaderView.ResizeToContents
        header.setSectionResizeMode(column, resize)


def textItem(text: str, flags: int = READ_ONLY, toolTip: str = "") -> object:
    """A cell with plain text."""
    item = qt.QTableWidgetItem(text)
    item.setFlags(flags)
    if toolTip:
        item.setToolTip(asToolTip(toolTip))
    return item


def checkItem(text: str, checked: bool, flags: int = EDITABLE) -> object:
    """A cell with a check box before its text."""
    item = textItem(text, flags | qt.Qt.ItemIsUserCheckable)
    item.setCheckState(qt.Qt.Checked if checked else qt.Qt.Unchecked)
    return item


def problemItem(table: object, errors: Sequence[str], warnings: Sequence[str]) -> object:
    """A cell that tells problems, with an icon: errors first."""
    text = " ".join([*errors, *warnings])
    item = textItem(text, toolTip="\n".join([*errors, *warnings]))
    if errors or warnings:
        icon = qt.QStyle.SP_MessageBoxCritical if errors else qt.QStyle.SP_MessageBoxWarning
        item.setIcon(table.style().standardIcon(icon))
    return item
