"""The list of a diagram's features."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from TopoMAESegmentLib.panel_parts import setRow, setUpTable
from TopoMAESegmentLib.persistence_diagram import (
    DIMENSION_COLORS,
    ESSENTIAL,
    PersistenceDiagram,
    featureName,
    shortNumber,
)


class FeatureTable:
    """Shows the features of one diagram, longest lasting first, after the component that never disappears."""

    def __init__(self, table: qt.QTableWidget, onSelected: Callable[[int], None]):
        """Take over a table.

        Args:
            table: the widget.
            onSelected: called with the diagram's row when a person selects one, by mouse or keys.
        """
        self._table, self._onSelected = table, onSelected
        setUpTable(table, [_("Feature"), _("Birth"), _("Death"), _("Lasts")])
        table.currentCellChanged.connect(self._onCurrentCellChanged)

    def show(self, diagram: PersistenceDiagram | None) -> None:
        """List the features of a diagram; of None: nothing. Nothing is selected."""
        table = self._table
        wasBlocked = table.blockSignals(True)
        table.setRowCount(0)
        if diagram is not None:
            table.setRowCount(len(diagram) + 1)
            setRow(table, 0, [featureName(0), shortNumber(diagram.essentialValue), _("never"), "∞"], (1, 2, 3))
            lasting, brushes = diagram.persistence, [_brush(color) for color in DIMENSION_COLORS]
            table.item(0, 0).setForeground(brushes[0])
            for row in range(len(diagram)):
                texts = [
                    featureName(int(diagram.dim[row])),
                    *(shortNumber(value) for value in (diagram.birth[row], diagram.death[row], lasting[row])),
                ]
                setRow(table, row + 1, texts, (1, 2, 3))
                table.item(row + 1, 0).setForeground(brushes[int(diagram.dim[row])])
            table.setCurrentCell(-1, -1)
        table.blockSignals(wasBlocked)

    def select(self, row: int) -> None:
        """Mark a row of the diagram, without telling anybody."""
        wasBlocked = self._table.blockSignals(True)
        self._table.setCurrentCell(row - ESSENTIAL, 0)
        self._table.blockSignals(wasBlocked)
        shown = self._table.item(row - ESSENTIAL, 0)
        if shown is not None:
            self._table.scrollToItem(shown)

    def _onCurrentCellChanged(self, row: int, column: int, previousRow: int, previousColumn: int) -> None:
        if row >= 0 and row != previousRow:
            self._onSelected(row + ESSENTIAL)


def _brush(color: tuple[float, float, float]) -> qt.QBrush:
    """The colour that the points of a dimension have in the plot."""
    return qt.QBrush(qt.QColor(*(round(255 * part) for part in color)))
