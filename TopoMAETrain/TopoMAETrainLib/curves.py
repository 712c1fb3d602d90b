"""Curves of a run in a chart: one group of metrics at a time, since their scales differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.layouts import showTopoMAELayout
from TopoMAELib.plots import CurveChart

Curves = Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]]
_BRANCHES = {"vit": "ViT", "unetrpp": "UNETR++"}


@dataclass(frozen=True)
class CurveGroup:
    """Metrics that are drawn together.

    Args:
        key: first part of the names of the metrics, before a slash.
        title: for the user.
        axis: of the values.
        logScale: whether the values span so many sizes that a logarithmic axis shows more.
    """

    key: str
    title: str
    axis: str
    logScale: bool = False


def curveGroups() -> list[CurveGroup]:
    """All groups, the most telling first."""
    return [
        CurveGroup("loss", _("Loss"), _("loss")),
        CurveGroup("dice", _("Validation Dice"), _("Dice")),
        CurveGroup("reconstruction", _("Reconstruction error"), _("mean squared error")),
        CurveGroup("topology", _("Topological loss"), _("loss"), logScale=True),
        CurveGroup("spatial", _("Key-point error"), _("mean squared error"), logScale=True),
        CurveGroup("consistency", _("Disagreement of the branches"), _("loss"), logScale=True),
        CurveGroup("learning_rate", _("Learning rate"), _("learning rate")),
    ]


def groupsIn(curves: Curves) -> list[CurveGroup]:
    """The groups that a run has values for."""
    keys = {_keyOf(name) for _phase, name in curves}
    return [group for group in curveGroups() if group.key in keys]


def curvesOf(group: CurveGroup, curves: Curves) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves of a group by the names that a legend shows."""
    found = {}
    for (phase, name), values in sorted(curves.items(), key=lambda item: (item[0][0] == "preview", item[0][1])):
        if _keyOf(name) == group.key:
            found[_legend(phase, name)] = values
    return found


class TrainingCurves:
    """The chart of the run that is watched; made when there is something to draw, made again after a scene closed."""

    def __init__(self):
        self._drawn: tuple | None = None

    def update(self, runName: str, group: CurveGroup, curves: Curves) -> slicer.vtkMRMLPlotChartNode | None:
        """Draw a group of curves; nothing happens if the chart shows them already. None if there are none.

        Args:
            runName: for the title.
            group: what to draw.
            curves: of the run, as `RunFolder.curves` gives them.
        """
        shown = curvesOf(group, curves)
        if not shown:
            return None
        chart = CurveChart(
            _("TopoMAE training"), title=f"{runName}: {group.title}", xTitle=_("step"), yTitle=group.axis,
            folder=_("TopoMAE curves"),
        )  # fmt: skip
        state = (runName, group.key, {name: (len(steps), float(steps[-1])) for name, (steps, _v) in shown.items()})
        if chart.chartNode is None or state != self._drawn:
            chart.update(shown, logScale=group.logScale)
            self._drawn = state
        return chart.chartNode

    def show(self, chartNode: slicer.vtkMRMLPlotChartNode) -> bool:
        """Change to the layout with a plot and show the chart there; False without a main window."""
        return showTopoMAELayout([chartNode])


def _keyOf(name: str) -> str:
    return name.partition("/")[0]


def _legend(phase: str, name: str) -> str:
    key, _slash, rest = name.partition("/")
    words = _BRANCHES.get(rest, rest) or {"loss": _("total"), "dice": _("mean")}.get(key, key)
    return _("{name} (preview)").format(name=words) if phase == "preview" else words
