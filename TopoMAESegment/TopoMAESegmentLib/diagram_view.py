"""One diagram, or two beside each other, in the plot views; tells which feature a person selected there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import vtk

from TopoMAELib.layouts import PLOT_VIEWS, showTopoMAELayout, topoMAEPlotViews
from TopoMAESegmentLib.diagram_chart import DiagramChart
from TopoMAESegmentLib.persistence_diagram import PersistenceDiagram, valueRange
from TopoMAESegmentLib.plot_picking import clickedPoint, selectedPoints


class DiagramView:
    """Up to two diagrams with the same axes."""

    def __init__(self, onSelected: Callable[[int, int], None]):
        """Make no node yet.

        Args:
            onSelected: called with (number of the diagram, row in it) when a point of a plot was selected.
        """
        self.diagrams: list[PersistenceDiagram] = []
        self._onSelected = onSelected
        self._charts = [DiagramChart("first"), DiagramChart("second")]
        self._connected: dict[str, tuple[object, Callable]] = {}
        self._lastSelection: dict[int, list] = {}

    def show(self, diagrams: Sequence[PersistenceDiagram], titles: Sequence[str]) -> None:
        """Show diagrams, in a layout with as many plots.

        Args:
            diagrams: one or two.
            titles: one for each.
        """
        self.diagrams = list(diagrams)
        limits = valueRange(self.diagrams)
        for number, (diagram, title) in enumerate(zip(self.diagrams, titles, strict=True)):
            self._charts[number].update(diagram, title, limits, legend=number == 0)
        for chart in self._charts[len(self.diagrams) :]:
            chart.clear()
        self.showLayout()

    def showLayout(self) -> None:
        """Change to the layout with the plots, and listen to what is selected in them."""
        charts = [chart.chartNode for chart in self._charts]
        showTopoMAELayout([chart for chart in charts if chart is not None])
        self._connect()

    def charts(self) -> list[DiagramChart]:
        """The charts of the diagrams shown."""
        return self._charts[: len(self.diagrams)]

    def select(self, number: int, row: int | None) -> None:
        """Mark a feature in one diagram, and nothing in the other; see `DiagramChart.select`."""
        for index, chart in enumerate(self.charts()):
            chart.select(row if index == number else None)

    def clear(self) -> None:
        """Remove the nodes."""
        self.diagrams = []
        for chart in self._charts:
            chart.clear()

    def forget(self) -> None:
        """The scene is closed: the nodes are gone."""
        self.diagrams = []

    def cleanup(self) -> None:
        """Stop listening to the plot views."""
        for plotView, slot in self._connected.values():
            # The view may have been deleted, or the application may have cut the connection. Of a signal whose object
            # is gone, PythonQt fails without saying how, which Python tells by a SystemError.
            with contextlib.suppress(RuntimeError, ValueError, SystemError):
                plotView.dataSelected.disconnect(slot)
        self._connected = {}

    def _connect(self) -> None:
        for name, plotView in topoMAEPlotViews().items():
            known = self._connected.get(name)
            if known is not None and known[0] == plotView:
                continue
            self._placeLegend(plotView)
            slot = self._onFirstSelected if name == PLOT_VIEWS[0] else self._onSecondSelected
            plotView.dataSelected.connect(slot)
            self._connected[name] = (plotView, slot)

    @staticmethod
    def _placeLegend(plotView: object) -> None:
        """Put the legend where a diagram has no point: nothing dies before it is born."""
        if hasattr(plotView, "chart"):
            legend = plotView.chart().GetLegend()
            legend.SetHorizontalAlignment(vtk.vtkChartLegend.RIGHT)
            legend.SetVerticalAlignment(vtk.vtkChartLegend.BOTTOM)

    def _onFirstSelected(self, seriesIDs: object, selections: object) -> None:
        self._onDataSelected(0, seriesIDs, selections)

    def _onSecondSelected(self, seriesIDs: object, selections: object) -> None:
        self._onDataSelected(1, seriesIDs, selections)

    def _onDataSelected(self, number: int, seriesIDs: object, selections: object) -> None:
        if number >= len(self.diagrams):
            return
        chart = self._charts[number]
        points = selectedPoints(seriesIDs, selections)
        if not points or points == self._lastSelection.get(number):
            # A click, not a rectangle: what was selected before still is.
            plotView = self._connected[PLOT_VIEWS[number]][0]
            known = chart.chartNode is not None and hasattr(plotView, "chart")
            clicked = clickedPoint(plotView.chart(), chart.chartNode) if known else None
            rows = [chart.rowOfPoint(*clicked)] if clicked else []
        else:
            rows = [chart.rowOfPoint(*point) for point in points]
        self._lastSelection[number] = points
        rows = [row for row in rows if row is not None]
        if rows:
            # The first row lasts longest.
            self._onSelected(number, min(rows))
