"""The nodes of one persistence diagram: a table, a plot series for every dimension, and the chart."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.plots import GREY, plotSeries, setSeriesOfChart
from TopoMAELib.scene_nodes import fillTable, findRoleNode, removeRoleNodes, roleNode
from TopoMAESegmentLib.persistence_diagram import (
    DIMENSION_COLORS,
    ESSENTIAL,
    PersistenceDiagram,
    dimensionName,
    featureName,
)

FOLDER = "TopoMAE topology"
ROLE = "topology.diagram."
# Components, loops, voids: they differ by more than their colour.
_MARKERS = (("Circle", 7), ("Square", 7), ("Diamond", 9))


class DiagramChart:
    """Shows a diagram; the same nodes are filled again at every update."""

    def __init__(self, key: str):
        """Make no node yet; charts with the same key share their nodes."""
        self._role = ROLE + key
        self._diagram: PersistenceDiagram | None = None

    @property
    def chartNode(self) -> slicer.vtkMRMLPlotChartNode | None:
        """The chart, or None before the first update and after the scene was closed."""
        return findRoleNode(self._role, "vtkMRMLPlotChartNode")

    @property
    def tableNode(self) -> slicer.vtkMRMLTableNode | None:
        """The table of all features shown, to be looked at and saved."""
        return findRoleNode(self._role + ".features", "vtkMRMLTableNode")

    def update(
        self, diagram: PersistenceDiagram, title: str, valueRange: tuple[float, float], legend: bool = True
    ) -> slicer.vtkMRMLPlotChartNode:
        """Show a diagram, with no feature selected.

        Args:
            diagram: the diagram.
            title: drawn above the chart; names the nodes.
            valueRange: intensities that the points lie between.
            legend: say what the colours mean.
        """
        self._diagram = diagram
        low, high = valueRange
        # A little inside, so that the point on this line is not cut off.
        inset = 0.03 * (high - low)
        self._never = never = low + inset if diagram.superlevel else high - inset
        # One line for both: along the diagonal, then back along the line of what never disappears.
        start = high if diagram.superlevel else low
        line = {"birth": np.array([start, never, start]), "death": np.array([start, never, never])}
        frame = plotSeries(self._role + ".frame", _("diagonal and infinity"), line, GREY)
        chart = roleNode("vtkMRMLPlotChartNode", self._role, title, FOLDER)
        with slicer.util.NodeModify(chart):
            chart.SetTitle(title)
            chart.SetXAxisTitle(_("birth (intensity)"))
            chart.SetYAxisTitle(_("death (intensity)"))
            chart.SetLegendVisibility(legend)
            chart.SetLegendFontSize(11)
            chart.SetTitleFontSize(16)
            chart.SetXAxisRangeAuto(False)
            chart.SetYAxisRangeAuto(False)
            # Room for the legend beside the points, where nothing can lie.
            chart.SetXAxisRange(low, high + 0.4 * (high - low))
            chart.SetYAxisRange(low, high)
            self._series = [
                frame,
                *(self._dimensionSeries(dimension) for dimension in range(3) if (diagram.dim == dimension).any()),
                self._essentialSeries(never),
            ]
            setSeriesOfChart(chart, self._series)
        self._fillTable(title)
        return chart

    def select(self, row: int | None) -> None:
        """Mark one feature in the chart, or none."""
        chart = self.chartNode
        if chart is None or self._diagram is None:
            return
        if row is None:
            setSeriesOfChart(chart, self._series)
            return
        if row == ESSENTIAL:
            birth, death = self._diagram.essentialValue, self._never
        else:
            birth, death = self._diagram.birth[row], self._diagram.death[row]
        point = {"birth": np.array([birth]), "death": np.array([death])}
        ring = plotSeries(self._role + ".selected", _("selected"), point, (0.1, 0.1, 0.1))
        with slicer.util.NodeModify(ring):
            ring.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
            ring.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
            ring.SetMarkerSize(17)
            ring.SetOpacity(0.45)
        # First, so that the point itself is drawn over it.
        setSeriesOfChart(chart, [ring, *self._series])

    def rowOfPoint(self, seriesID: str, point: int) -> int | None:
        """Row of the diagram that a point of a plot series stands for; None for lines."""
        series = slicer.mrmlScene.GetNodeByID(seriesID)
        if self._diagram is None or series is None:
            return None
        if findRoleNode(self._role + ".essential", "vtkMRMLPlotSeriesNode") is series:
            return ESSENTIAL
        for dimension in range(3):
            if findRoleNode(f"{self._role}.{dimension}", "vtkMRMLPlotSeriesNode") is series:
                rows = np.flatnonzero(self._diagram.dim == dimension)
                return int(rows[min(point, len(rows) - 1)]) if point >= 0 and len(rows) else None
        return None

    def clear(self) -> None:
        """Remove the nodes."""
        self._diagram = None
        removeRoleNodes(self._role, FOLDER)

    def _dimensionSeries(self, dimension: int) -> slicer.vtkMRMLPlotSeriesNode:
        diagram = self._diagram
        rows = np.flatnonzero(diagram.dim == dimension)
        columns = {
            "birth": diagram.birth[rows],
            "death": diagram.death[rows],
            "what": [positionText(diagram.deathPosition[row]) for row in rows],
        }
        series = plotSeries(
            f"{self._role}.{dimension}", dimensionName(dimension), columns, DIMENSION_COLORS[dimension]
        )
        self._asPoints(series, *_MARKERS[dimension])
        return series

    def _essentialSeries(self, never: float) -> slicer.vtkMRMLPlotSeriesNode:
        diagram = self._diagram
        columns = {
            "birth": np.array([diagram.essentialValue]),
            "death": np.array([never]),
            "what": [positionText(diagram.essentialPosition)],
        }
        series = plotSeries(self._role + ".essential", _("never disappears"), columns, DIMENSION_COLORS[0])
        self._asPoints(series, "Plus", 13)
        return series

    @staticmethod
    def _asPoints(series: slicer.vtkMRMLPlotSeriesNode, marker: str, size: float) -> None:
        with slicer.util.NodeModify(series):
            series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
            series.SetMarkerStyle(getattr(series, f"MarkerStyle{marker}"))
            series.SetMarkerSize(size)

    def _fillTable(self, title: str) -> None:
        diagram = self._diagram
        positions = {
            f"{name} {axis}": position[:, number]
            for name, position in (("birth", diagram.birthPosition), ("death", diagram.deathPosition))
            for number, axis in enumerate("RAS")
        }
        table = roleNode("vtkMRMLTableNode", self._role + ".features", title, FOLDER)
        columns = {"feature": [featureName(int(dimension)) for dimension in diagram.dim]}
        columns.update({"birth": diagram.birth, "death": diagram.death, "lasts": diagram.persistence, **positions})
        fillTable(table, columns)


def positionText(position: np.ndarray) -> str:
    """A RAS position for people: "R 12.0, A -3.5, S 40.2"."""
    return ", ".join(f"{axis} {value:.1f}" for axis, value in zip("RAS", position, strict=True))
