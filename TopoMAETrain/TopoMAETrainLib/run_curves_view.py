"""The part of the training panel that draws curves."""

from __future__ import annotations

from slicer.i18n import tr as _

from TopoMAELib.run_folder import RunFolder
from TopoMAETrainLib.curves import CurveGroup, TrainingCurves, groupsIn


class RunCurvesView:
    """Chooses which curves of a run are drawn, and keeps the chart up to date.

    Args:
        ui: the named widgets of TopoMAETrainRun.ui.
    """

    def __init__(self, ui: object):
        self._ui = ui
        self._curves = TrainingCurves()
        self._groups: list[CurveGroup] = []
        self._folder: RunFolder | None = None
        ui.curveComboBox.currentIndexChanged.connect(self._onChosen)
        ui.showCurvesButton.clicked.connect(self._onShow)

    def setRun(self, folder: RunFolder) -> None:
        """Draw the curves of this run from now on."""
        self._folder = folder
        self.update()

    def update(self) -> None:
        """Draw what is new."""
        if self._folder is None:
            return
        curves = self._folder.curves()
        self._offer(groupsIn(curves))
        group = self._chosen()
        if group is not None:
            self._curves.update(self._folder.name, group, curves)

    def show(self) -> bool:
        """Show the chart beside the slice views; False if there is nothing to show or no main window."""
        group = self._chosen()
        if group is None or self._folder is None:
            return False
        chart = self._curves.update(self._folder.name, group, self._folder.curves())
        return chart is not None and self._curves.show(chart)

    def _offer(self, groups: list[CurveGroup]) -> None:
        """Put the groups into the combo box; what was chosen stays chosen."""
        if groups == self._groups:
            return
        combo = self._ui.curveComboBox
        before = self._chosen()
        self._groups = groups
        wasBlocked = combo.blockSignals(True)
        combo.clear()
        for group in groups:
            combo.addItem(group.title)
        if before in groups:
            combo.setCurrentIndex(groups.index(before))
        combo.blockSignals(wasBlocked)
        self._ui.showCurvesButton.setEnabled(bool(groups))
        self._ui.showCurvesButton.setToolTip(
            _("Show the chart beside the slice views.") if groups else _("The run has not logged anything yet.")
        )

    def _chosen(self) -> CurveGroup | None:
        index = self._ui.curveComboBox.currentIndex
        return self._groups[index] if 0 <= index < len(self._groups) else None

    def _onChosen(self, *_arguments: object) -> None:
        self.update()

    def _onShow(self, *_arguments: object) -> None:
        self.show()
