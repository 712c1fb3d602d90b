"""Charts made of MRML nodes: curves over training steps, and persistence diagrams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import slicer

from TopoMAELib.scene_nodes import fillTable, findRoleNode, removeRoleNodes, roleNode

# Okabe and Ito's colours: people with any kind of colour blindness can tell them apart.
CURVE_COLORS = tuple(
    tuple(part / 255 for part in color)
    for color in (
        (0, 114, 178),
        (213, 94, 0),
        (0, 158, 115),
        (204, 121, 167),
        (230, 159, 0),
        (86, 180, 233),
        (90, 90, 90),
    )
)
GREY = (0.55, 0.55, 0.55)
_LINES = ("Solid", "Dash", "Dot", "DashDot", "DashDotDot")  # not as many as colours: 35 curves all differ


def plotSeries(
    role: str, name: str, columns: Mapping[str, Sequence], color: Sequence[float]
) -> slicer.vtkMRMLPlotSeriesNode:
    """A plot series with a table of its own; both stay out of node selectors and the subject hierarchy.

    Args:
        role: role of the series node; its table has the role with ".table" added.
        name: what the legend says.
        columns: x column, y column, and possibly a list of str with a text for every point. A single point is
            stored twice, since VTK reports an error where a line has one point.
        color: red, green, blue, 0 to 1.

    Returns:
        The node, a line without markers; made, or found by its role and filled again.
    """
    table = roleNode("vtkMRMLTableNode", role + ".table", name, hidden=True)
    fillTable(table, {name: _twoAtLeast(values) for name, values in columns.items()})
    series = roleNode("vtkMRMLPlotSeriesNode", role, name, hidden=True)
    names = [*columns, ""]
    with slicer.util.NodeModify(series):
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(names[0])
        series.SetYColumnName(names[1])
        series.SetLabelColumnName(names[2])
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        series.SetColor(*color)
    return series


def _twoAtLeast(values: Sequence) -> Sequence:
    if len(values) != 1:
        return values
    return [*values, *values] if isinstance(values, list) else np.repeat(values, 2)


def setSeriesOfChart(chartNode: slicer.vtkMRMLPlotChartNode, series: Sequence[slicer.vtkMRMLPlotSeriesNode]) -> None:
    """Let a chart show exactly these series, in this order; nothing happens if it does so already."""
    wanted = [node.GetID() for node in series]
    shown = [chartNode.GetNthPlotSeriesNodeID(i) for i in range(chartNode.GetNumberOfPlotSeriesNodes())]
    if wanted == shown:
        return
    with slicer.util.NodeModify(chartNode):
        chartNode.RemoveAllPlotSeriesNodeIDs()
        for nodeID in wanted:
            chartNode.AddAndObservePlotSeriesNodeID(nodeID)


class CurveChart:
    """Curves over steps: one chart node, and for every curve a plot series with its table.

    Example::

        chart = CurveChart("Losses", xTitle=_("step"), yTitle=_("loss"))
        chart.update({"reconstruction": (steps, values)})
        showTopoMAELayout([chart.chartNode])
    """

    def __init__(self, name: str, title: str | None = None, xTitle: str = "", yTitle: str = "", folder: str = ""):
        """Make no node yet.

        Args:
            name: name of the chart node; charts of the same name share their nodes.
            title: title drawn above the chart; the name if not given, none if empty.
            xTitle, yTitle: what the axes show.
            folder: subject hierarchy folder of the nodes.
        """
        self.name = name
        self.title = name if title is None else title
        self.xTitle = xTitle
        self.yTitle = yTitle
        self.folder = folder
        self._role = f"curves.{name}"

    @property
    def chartNode(self) -> slicer.vtkMRMLPlotChartNode | None:
        """The chart, or None before the first update and after the scene was closed."""
        return findRoleNode(self._role)

    def update(
        self, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], logScale: bool = False
    ) -> slicer.vtkMRMLPlotChartNode:
        """Show these curves and no others.

        Args:
            curves: name of the curve to (steps, values), of the same length; values that are not finite
                are left out, and so is a curve without any.
            logScale: logarithmic y axis; values that are not positive are left out then.

        Returns:
            The chart node.
        """
        series = []
        for number, (name, (steps, values)) in enumerate(curves.items()):
            steps, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
            usable = np.isfinite(values) & (values > 0) if logScale else np.isfinite(values)
            if not usable.any():
                continue
            color = CURVE_COLORS[number % len(CURVE_COLORS)]
            columns = {"step": steps[usable], "value": values[usable]}
            node = plotSeries(f"{self._role}.{name}", name, columns, color)
            node.SetLineWidth(2)
            node.SetLineStyle(getattr(node, f"LineStyle{_LINES[number % len(_LINES)]}"))
            series.append(node)
        chart = roleNode("vtkMRMLPlotChartNode", self._role, self.name, self.folder)
        with slicer.util.NodeModify(chart):
            chart.SetTitle(self.title)
            chart.SetTitleVisibility(bool(self.title))
            chart.SetXAxisTitle(self.xTitle)
            chart.SetYAxisTitle(self.yTitle)
            chart.SetYAxisLogScale(logScale)
            chart.SetLegendVisibility(len(series) > 1)
            setSeriesOfChart(chart, series)
        return chart

    def clear(self) -> None:
        """Remove the chart with its series and tables."""
        removeRoleNodes(self._role, self.folder)
