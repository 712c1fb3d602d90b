"""Plot charts drawn offscreen with vtkChartXY, which is also what qMRMLPlotView draws with."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import vtk

from .pictures import pixelsOf

BACKGROUND = (255, 253, 246, 255)  # of Slicer's plot views


class ChartDrawing:
    """The chart of a vtkMRMLPlotChartNode.

    Args:
        chartNode: the node; None draws nothing.
        selected: rows that are selected, by ID of the series node.
    """

    def __init__(self, chartNode: Any, selected: Mapping[str, Sequence[int]] | None = None) -> None:
        self.chart = vtk.vtkChartXY() if chartNode is not None else None
        if self.chart is None:
            return
        self.chart.GetBackgroundBrush().SetColor(*BACKGROUND)
        for index in range(chartNode.GetNumberOfPlotSeriesNodes()):
            seriesNode = chartNode.GetNthPlotSeriesNode(index)
            plot = makePlot(seriesNode) if seriesNode else None
            if plot:
                self.chart.AddPlot(plot)
                plot.SetSelection(idArray((selected or {}).get(seriesNode.GetID(), ())))
        self._setTitles(chartNode)
        self._setAxes(chartNode)

    def _setTitles(self, chartNode: Any) -> None:
        family = {"Times": vtk.VTK_TIMES, "Courier": vtk.VTK_COURIER}.get(chartNode.GetFontType(), vtk.VTK_ARIAL)
        self.chart.SetTitle((chartNode.GetTitle() or "") if chartNode.GetTitleVisibility() else "")
        self.chart.GetTitleProperties().SetFontFamily(family)
        self.chart.GetTitleProperties().SetFontSize(chartNode.GetTitleFontSize())
        self.chart.SetShowLegend(chartNode.GetLegendVisibility())
        self.chart.GetLegend().GetLabelProperties().SetFontFamily(family)

    def _setAxes(self, node: Any) -> None:
        for axis, letter in ((vtk.vtkAxis.BOTTOM, "X"), (vtk.vtkAxis.LEFT, "Y")):
            self._setAxis(self.chart.GetAxis(axis), node, letter)

    def _setAxis(self, axis: Any, node: Any, letter: str) -> None:
        def of(name: str) -> Any:
            return getattr(node, f"Get{letter}Axis{name}")()

        axis.SetTitle((of("Title") or "") if of("TitleVisibility") else "")
        axis.SetLogScale(of("LogScale"))
        axis.SetGridVisible(node.GetGridVisibility())
        axis.GetTitleProperties().SetFontSize(node.GetAxisTitleFontSize())
        axis.GetLabelProperties().SetFontSize(node.GetAxisLabelFontSize())
        if not of("RangeAuto"):
            axis.SetBehavior(vtk.vtkAxis.FIXED)
            axis.SetUnscaledRange(*of("Range"))

    def pixels(self, width: int, height: int) -> np.ndarray:
        """Draw it; (height, width, 3) uint8."""
        view = vtk.vtkContextView()
        window = view.GetRenderWindow()
        window.SetOffScreenRendering(1)
        window.SetMultiSamples(0)
        window.SetSize(width, height)
        view.GetRenderer().SetUseFXAA(True)
        view.GetRenderer().SetBackground(*(channel / 255 for channel in BACKGROUND[:3]))
        if self.chart is not None:
            view.GetScene().AddItem(self.chart)
        window.Render()
        pixels = pixelsOf(window)
        view.GetScene().ClearItems()
        window.Finalize()
        return pixels


def makePlot(series: Any) -> Any:
    """The vtkPlot of a plot series node; None where Slicer shows nothing: no table, no such column, text columns."""
    table = series.GetTableNode().GetTable() if series.GetTableNode() else None
    columns = [series.GetYColumnName()]
    if series.IsXColumnRequired():
        columns.insert(0, series.GetXColumnName())
    if table is None or not all(name and _isNumeric(table.GetColumnByName(name)) for name in columns):
        return None
    lines = series.GetPlotType() in (series.PlotTypeScatter, series.PlotTypeLine)
    plot = vtk.vtkPlotLine() if lines else vtk.vtkPlotBar()
    plot.SetWidth(series.GetLineWidth())
    plot.SetColorF(*series.GetColor())
    plot.SetOpacity(series.GetOpacity())
    plot.SetLabel(series.GetName() or columns[-1])
    plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
    plot.SetInputData(table, columns[0], columns[-1])
    if lines:
        plot.GetPen().SetLineType(_lineType(series))
        plot.SetMarkerSize(series.GetMarkerSize())
        plot.SetMarkerStyle(_markerStyle(series))
    return plot


def _isNumeric(column: Any) -> bool:
    return column is not None and column.GetDataType() not in (vtk.VTK_STRING, vtk.VTK_BIT)


def _lineType(series: Any) -> int:
    pen = vtk.vtkPen
    return {
        series.LineStyleNone: pen.NO_PEN,
        series.LineStyleSolid: pen.SOLID_LINE,
        series.LineStyleDash: pen.DASH_LINE,
        series.LineStyleDot: pen.DOT_LINE,
        series.LineStyleDashDot: pen.DASH_DOT_LINE,
    }.get(series.GetLineStyle(), pen.DASH_DOT_DOT_LINE)


def _markerStyle(series: Any) -> int:
    names = ("None", "Cross", "Plus", "Square", "Circle", "Diamond")  # numbered in this order by vtkPlotPoints
    return [getattr(series, f"MarkerStyle{name}") for name in names].index(series.GetMarkerStyle())


def idArray(indices: Iterable[int]) -> vtk.vtkIdTypeArray:
    """The indices as VTK's selections hold them."""
    array = vtk.vtkIdTypeArray()
    for index in indices:
        array.InsertNextValue(int(index))
    return array


def selectPoints(series: Any, indices: Sequence[int]) -> None:
    """Select points of a series in the plot views that show it, as a user does with the mouse.

    Args:
        series: the vtkMRMLPlotSeriesNode.
        indices: rows of its table; none ends the selection.

    Raises: ValueError if no plot view of the current layout shows the series.
    """
    import slicer

    shown = [widget for widget in slicer.app.layoutManager()._plotWidgets() if widget._shows(series)]
    if not shown:
        raise ValueError(f"No plot view shows the series {series.GetName()}.")
    for widget in shown:
        widget._select(series, indices)
