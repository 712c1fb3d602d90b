"""The plan as a table: what was chosen and why, with values to change and to give back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
from slicer.i18n import tr as _

from TopoMAETrainLib.plan_words import EDITABLE_FIELDS, SHOWN_FIELDS, assigned, fieldHelp, fieldWords, valueWords
from TopoMAETrainLib.tables import EDITABLE, READ_ONLY, setUpTable, textItem

FIELD, VALUE, RESET, REASON = range(4)
WIDEST_VALUE = 170  # pixels; longer values, such as the names of many labels, go on in another line


class ResetButton:
    """An arrow in a row that gives the value back to the planner.

    Args:
        field: of the plan.
        onReset: called with the field.
    """

    def __init__(self, field: str, onReset: Callable[[str], None]) -> None:
        self._field, self._onReset = field, onReset
        self.widget = qt.QToolButton()
        self.widget.setText("↺")
        self.widget.setAutoRaise(True)
        self.widget.setToolTip(_("Let the planner choose this value."))
        self.widget.clicked.connect(self._onClicked)

    def _onClicked(self) -> None:
        self._onReset(self._field)


class PlanTable:
    """Rows of fields: name, value, arrow to reset it, reason.

    Args:
        table: QTableWidget.
        onEdited: called with (field, value as for `--set`, "" to let the planner choose).
    """

    def __init__(self, table: object, onEdited: Callable[[str, str], None]) -> None:
        self._table, self._onEdited = table, onEdited
        self._buttons: list[ResetButton] = []
        self._texts: dict[str, str] = {}
        setUpTable(table, (_("Field"), _("Value"), "", _("Reason")), REASON)
        table.horizontalHeader().setSectionResizeMode(VALUE, qt.QHeaderView.Interactive)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.setEditTriggers(qt.QAbstractItemView.DoubleClicked | qt.QAbstractItemView.EditKeyPressed)
        table.cellChanged.connect(self._onCellChanged)

    def fill(self, plan: Mapping, overrides: Mapping[str, str], rejected: tuple[str, str, str] | None) -> None:
        """Show a plan.

        Args:
            plan: content of plan.json.
            overrides: fields set by hand.
            rejected: field, value and reason of an edit that the engine refused, or None.
        """
        table = self._table
        wasBlocked = table.blockSignals(True)
        fields = [field for field in SHOWN_FIELDS if field in plan]
        table.setRowCount(0)
        table.setRowCount(len(fields))
        self._buttons, self._texts = [], {}
        for row, field in enumerate(fields):
            text = valueWords(field, plan[field])
            self._texts[field] = text
            wrong = rejected is not None and rejected[0] == field
            shown = rejected[1] if wrong else text
            value = textItem(shown, EDITABLE if field in EDITABLE_FIELDS else READ_ONLY, fieldHelp(field))
            if wrong:
                value.setIcon(table.style().standardIcon(qt.QStyle.SP_MessageBoxCritical))
            elif field in overrides:
                font = value.font()
                font.setBold(True)
                value.setFont(font)
            table.setItem(row, FIELD, textItem(fieldWords(field), READ_ONLY, fieldHelp(field)))
            table.setItem(row, VALUE, value)
            table.setItem(row, RESET, textItem("", qt.Qt.ItemIsEnabled))
            reason = str((plan.get("reasons") or {}).get(field, _("read from the data set")))
            table.setItem(row, REASON, textItem(reason, READ_ONLY, reason))
            if field in overrides or wrong:
                button = ResetButton(field, self._onReset)
                self._buttons.append(button)
                table.setCellWidget(row, RESET, button.widget)
        table.resizeColumnToContents(VALUE)
        table.setColumnWidth(VALUE, min(table.columnWidth(VALUE), WIDEST_VALUE))  # else no room for reasons is left
        table.blockSignals(wasBlocked)

    def _fieldOf(self, row: int) -> str:
        return list(self._texts)[row]

    def _onCellChanged(self, row: int, column: int) -> None:
        if column != VALUE:
            return
        field = self._fieldOf(row)
        text = self._table.item(row, VALUE).text()
        if text.strip() != self._texts[field]:
            self._onEdited(field, assigned(field, text))

    def _onReset(self, field: str) -> None:
        self._onEdited(field, "")
