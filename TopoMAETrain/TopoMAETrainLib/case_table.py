"""The cases of a data set as a table, problems marked."""

from __future__ import annotations

from collections.abc import Sequence

from slicer.i18n import tr as _

from TopoMAETrainLib.engine_plan import CaseFound
from TopoMAETrainLib.tables import READ_ONLY, problemItem, setUpTable, textItem

NAME, LABEL, SHAPE, SPACING, PROBLEMS = range(5)


class CaseTable:
    """Shows cases; the problems of the selected one are told in full below.

    Args:
        table: QTableWidget.
        label: QLabel for the problems of the selected case.
    """

    def __init__(self, table: object, label: object) -> None:
        self._table, self._label = table, label
        self._cases: dict[str, CaseFound] = {}
        headings = (_("Case"), _("Label"), _("Voxels"), _("Spacing (mm)"), _("Problems"))
        setUpTable(table, headings, PROBLEMS)
        table.currentCellChanged.connect(self._onSelected)

    def fill(self, cases: Sequence[CaseFound]) -> None:
        """Show these cases instead of those before."""
        table = self._table
        self._cases = {case.name: case for case in cases}
        wasBlocked = table.blockSignals(True)
        table.setSortingEnabled(False)  # rows would move while they are filled
        table.setRowCount(len(cases))
        for row, case in enumerate(cases):
            table.setItem(row, NAME, textItem(case.name, READ_ONLY, case.name))
            table.setItem(row, LABEL, textItem(_("yes") if case.labelled else "–"))
            table.setItem(row, SHAPE, textItem(_by(case.shape)))
            table.setItem(row, SPACING, textItem(_by(case.spacing)))
            table.setItem(row, PROBLEMS, problemItem(table, case.errors, case.warnings))
        table.setSortingEnabled(True)
        table.blockSignals(wasBlocked)
        self._label.setText("")

    def _onSelected(self, row: int, *_others: int) -> None:
        item = self._table.item(row, NAME)
        case = self._cases.get(item.text()) if item is not None else None
        found = (*case.errors, *case.warnings) if case else ()
        self._label.setText("\n".join(found))


def summary(cases: Sequence[CaseFound], labels: dict[str, str]) -> str:
    """How many cases there are, what is labelled, and what is wrong.

    Args:
        cases: of the data set.
        labels: label value, as text, to name.
    """
    labelled = sum(case.labelled for case in cases)
    parts = [_("Cases: {count}, labelled: {labelled}.").format(count=len(cases), labelled=labelled)]
    if labels:
        names = ", ".join(f"{value} {name}" for value, name in labels.items())
        parts.append(_("Labels: {names}.").format(names=names))
    bad = sum(bool(case.errors) for case in cases)
    odd = sum(bool(case.warnings) and not case.errors for case in cases)
    if bad:
        text = _("Cannot be used: {count}; correct them, or take them out of the data set.")
        parts.append(text.format(count=bad))
    if odd:
        parts.append(_("With warnings: {count}.").format(count=odd))
    return " ".join(parts)


def _by(values: Sequence[float] | None) -> str:
    return "–" if values is None else " × ".join(f"{value:g}" for value in values)
