"""The table in which the user says which volumes and segmentations of the scene are the cases of a data set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAETrainLib.scene_cases import SceneCase
from TopoMAETrainLib.scene_check import ERROR, Problem
from TopoMAETrainLib.tables import checkItem, problemItem, setUpTable, textItem

NAME = 0


class NodeChoice:
    """A combo box with nodes; one of them may be none.

    Args:
        nodes: to choose from.
        chosen: node that is chosen, or None.
        none: text for no node.
        onChanged: called without arguments when the user chooses.
    """

    def __init__(self, nodes: Sequence, chosen: object, none: str, onChanged: Callable[[], None]) -> None:
        self.widget = qt.QComboBox()
        self.widget.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.widget.setMinimumContentsLength(8)
        self._onChanged = onChanged
        self.widget.addItem(none, "")
        names = [node.GetName() or node.GetID() for node in nodes]
        for name, node in zip(names, nodes, strict=True):
            # The change of the text is what is listened to: every text must be its own.
            text = name if names.count(name) == 1 and name != none else f"{name} ({node.GetID()})"
            self.widget.addItem(text, node.GetID())
        self.widget.setCurrentIndex(max(0, self.widget.findData(chosen.GetID() if chosen else "")))
        self.widget.currentTextChanged.connect(self._onText)

    def node(self) -> object:
        """The chosen node; None if there is none, or it has left the scene."""
        nodeID = self.widget.currentData
        return slicer.mrmlScene.GetNodeByID(nodeID) if nodeID else None

    def _onText(self, _text: str) -> None:
        self._onChanged()


class SceneCaseTable:
    """Rows of cases: name with a check box, a volume per channel, a segmentation, problems.

    Args:
        table: QTableWidget.
        onChanged: called without arguments when the user changed something.
        onSelected: called without arguments when the user selected another row, or its problems are others.
    """

    def __init__(self, table: object, onChanged: Callable[[], None], onSelected: Callable[[], None]) -> None:
        self._table, self._onChanged, self._onSelected = table, onChanged, onSelected
        self._rows: list[tuple[list[NodeChoice], NodeChoice]] = []
        table.itemChanged.connect(self._onItemChanged)
        table.currentCellChanged.connect(self._onCurrentCell)

    def fill(
        self,
        cases: Sequence[SceneCase],
        volumes: Sequence,
        segmentations: Sequence,
        channels: Sequence[str],
        unchecked: Collection[int] = (),
    ) -> None:
        """Show cases.

        Args:
            cases: as proposed.
            volumes, segmentations: nodes to choose from.
            channels: names of the image channels.
            unchecked: rows whose check box is off.
        """
        table = self._table
        wasBlocked = table.blockSignals(True)
        table.setRowCount(0)
        headings = [name or _("Volume") for name in channels] if len(channels) > 1 else [_("Volume")]
        setUpTable(table, [_("Case"), *headings, _("Segmentation"), _("Problems")], len(channels) + 2)
        table.setRowCount(len(cases))
        self._rows = []
        for row, case in enumerate(cases):
            table.setItem(row, NAME, checkItem(case.name, row not in unchecked))
            choices = [NodeChoice(volumes, node, _("choose"), self._onChanged) for node in case.volumeNodes]
            labels = NodeChoice(segmentations, case.segmentationNode, _("none"), self._onChanged)
            for column, choice in enumerate([*choices, labels], start=1):
                table.setCellWidget(row, column, choice.widget)
            table.setItem(row, len(channels) + 2, textItem(""))
            self._rows.append((choices, labels))
        table.blockSignals(wasBlocked)

    def allCases(self) -> list[SceneCase]:
        """A case for each row, in order, also for those that are not checked."""
        return [
            SceneCase(self._table.item(row, NAME).text(), tuple(one.node() for one in volumes), labels.node())
            for row, (volumes, labels) in enumerate(self._rows)
        ]

    def cases(self) -> list[SceneCase]:
        """The cases that are checked."""
        return [case for row, case in enumerate(self.allCases()) if self._isChecked(row)]

    def mark(self, problems: Mapping[int, Sequence[Problem]]) -> None:
        """Show problems.

        Args:
            problems: of each row.
        """
        wasBlocked = self._table.blockSignals(True)
        for row in range(len(self._rows)):
            found = problems.get(row, ()) if self._isChecked(row) else ()
            errors = [problem.text for problem in found if problem.level == ERROR]
            warnings = [problem.text for problem in found if problem.level != ERROR]
            item = problemItem(self._table, errors, warnings)
            self._table.setItem(row, self._table.columnCount - 1, item)
        self._table.blockSignals(wasBlocked)
        self._onSelected()

    def selectedProblems(self) -> str:
        """What is wrong with the case of the selected row; the column of the table is often too narrow for it."""
        item = self._table.item(self._table.currentRow(), self._table.columnCount - 1)
        return item.text() if item is not None else ""

    def checkedRows(self) -> list[int]:
        """Rows of the cases that are checked."""
        return [row for row in range(len(self._rows)) if self._isChecked(row)]

    def _isChecked(self, row: int) -> bool:
        return self._table.item(row, NAME).checkState() == qt.Qt.Checked

    def _onCurrentCell(self, *_cells: int) -> None:
        self._onSelected()

    def _onItemChanged(self, _item: object) -> None:
        self._onChanged()
