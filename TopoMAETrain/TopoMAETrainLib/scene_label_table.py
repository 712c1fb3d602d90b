"""The table in which the user says which segments become which labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

from TopoMAETrainLib.scene_labels import SceneLabel, SegmentCount, numberedLabels
from TopoMAETrainLib.scene_names import words
from TopoMAETrainLib.tables import EDITABLE, READ_ONLY, checkItem, setUpTable, textItem

NAME, VALUE, SEGMENTS, CASES = range(4)


class SceneLabelTable:
    """A row per name of a segment: name of its label with a check box, value, segments, number of cases.

    Args:
        table: QTableWidget.
        onChanged: called without arguments when the user changed something.
    """

    def __init__(self, table: object, onChanged: Callable[[], None]) -> None:
        self._table, self._onChanged = table, onChanged
        self._segments: list[tuple[str, ...]] = []
        setUpTable(table, (_("Label"), _("Value"), _("Segments"), _("Cases")), SEGMENTS)
        table.itemChanged.connect(self._onItemChanged)

    def fill(self, labels: Sequence[SceneLabel], counts: Sequence[SegmentCount], cases: int) -> None:
        """Show labels.

        Args:
            labels: in the order of their values.
            counts: how often each segment was found.
            cases: number of cases with a segmentation.
        """
        table = self._table
        wasBlocked = table.blockSignals(True)
        found = {words(count.name): count.cases for count in counts}
        self._segments = [label.segmentNames for label in labels]
        table.setRowCount(len(labels))
        for row, label in enumerate(labels):
            most = max((found.get(words(name), 0) for name in label.segmentNames), default=0)
            table.setItem(row, NAME, checkItem(label.name, label.used, EDITABLE))
            table.setItem(
                row, SEGMENTS, textItem(", ".join(label.segmentNames), READ_ONLY, ", ".join(label.segmentNames))
            )
            table.setItem(row, CASES, textItem(_("{count} of {cases}").format(count=most, cases=cases)))
        self._number()
        table.blockSignals(wasBlocked)

    def labels(self) -> list[SceneLabel]:
        """What the user has decided, one label per row."""
        return [
            SceneLabel(
                self._table.item(row, NAME).text(), segments, self._table.item(row, NAME).checkState() == qt.Qt.Checked
            )
            for row, segments in enumerate(self._segments)
        ]

    def selectedRow(self) -> int:
        """The row that is selected, -1 if none is."""
        return self._table.currentRow()

    def select(self, row: int) -> None:
        """Select a row."""
        self._table.setCurrentCell(row, NAME)

    def _number(self) -> None:
        """Show the value that each row becomes."""
        numbered = numberedLabels(self.labels())
        for row, label in enumerate(self.labels()):
            values = [value for value, one in numbered.items() if label.used and words(one.name) == words(label.name)]
            self._table.setItem(row, VALUE, textItem(str(values[0]) if values else "–"))

    def _onItemChanged(self, _item: object) -> None:
        wasBlocked = self._table.blockSignals(True)
        self._number()
        self._table.blockSignals(wasBlocked)
        self._onChanged()
