"""Which point of a plot view a person means."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_AXES = (vtk.vtkAxis.BOTTOM, vtk.vtkAxis.LEFT)


def selectedPoints(seriesIDs: vtk.vtkStringArray, selections: vtk.vtkCollection) -> list[tuple[str, int]]:
    """What qMRMLPlotView.dataSelected says, as (id of the plot series node, number of the point).

    Args:
        seriesIDs: ids of the series with selected points.
        selections: numbers of the selected points, one array per series.
    """
    points = []
    for number in range(min(seriesIDs.GetNumberOfValues(), selections.GetNumberOfItems())):
        chosen = selections.GetItemAsObject(number)
        for index in range(chosen.GetNumberOfValues()):
            points.append((seriesIDs.GetValue(number), int(chosen.GetValue(index))))
    return points


def clickedPoint(
    chart: vtk.vtkChartXY, chartNode: slicer.vtkMRMLPlotChartNode, tolerance: float = 12.0
) -> tuple[str, int] | None:
    """The point that was clicked.

    A plain click on a point makes qMRMLPlotView say that the selection changed, but not where: only
    points inside a rectangle that was drawn become selected. So look what lies at the mouse.

    Args:
        chart: what the plot view draws.
        chartNode: the chart node it shows.
        tolerance: distance in pixels at which a point is still meant.

    Returns:
        (id of the plot series node, number of the point), or None if no point is near.
    """
    window = chart.GetScene().GetRenderer().GetRenderWindow() if chart.GetScene() else None
    interactor = window.GetInteractor() if window is not None else None
    if interactor is None:
        return None
    return pointAt(chart, chartNode, interactor.GetEventPosition(), tolerance)


def pointAt(
    chart: vtk.vtkChartXY, chartNode: slicer.vtkMRMLPlotChartNode, pixel: tuple[float, float], tolerance: float = 12.0
) -> tuple[str, int] | None:
    """The point of a chart nearest to a pixel; see `clickedPoint`."""
    nearest, found = tolerance, None
    for number in range(chartNode.GetNumberOfPlotSeriesNodes()):
        series = chartNode.GetNthPlotSeriesNode(number)
        if series is None or series.GetMarkerStyle() == series.MarkerStyleNone or series.GetTableNode() is None:
            continue
        table = series.GetTableNode().GetTable()
        columns = [table.GetColumnByName(name) for name in (series.GetXColumnName(), series.GetYColumnName())]
        if None in columns or table.GetNumberOfRows() == 0:
            continue
        x, y = (
            _pixels(chart.GetAxis(axis), vtk_to_numpy(column), side) - pixel[side]
            for side, (axis, column) in enumerate(zip(_AXES, columns, strict=True))
        )
        distance = np.hypot(x, y)
        if distance.min() <= nearest:
            nearest, found = float(distance.min()), (series.GetID(), int(distance.argmin()))
    return found


def _pixels(axis: vtk.vtkAxis, values: np.ndarray, side: int) -> np.ndarray:
    """Where values lie along an axis of a chart, in pixels of the view."""
    first, last = axis.GetPoint1()[side], axis.GetPoint2()[side]
    low, high = axis.GetMinimum(), axis.GetMaximum()
    return first + (values - low) / ((high - low) or 1.0) * (last - first)
