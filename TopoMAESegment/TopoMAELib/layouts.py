"""A layout of our own: slices, 3-D and one or two plots; and bringing a place into the slice views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

# Numbers of built-in layouts are below 100; other extensions choose small round ones.
ONE_PLOT_LAYOUT = 24061
TWO_PLOTS_LAYOUT = 24062
PLOT_VIEWS = ("TopoMAE1", "TopoMAE2")

_SLICE_VIEWS = (
    ("Red", "Axial", "R", "#F34A33"),
    ("Yellow", "Sagittal", "Y", "#EDD54C"),
    ("Green", "Coronal", "G", "#6EB04B"),
)


def _view(className: str, tag: str, **properties: str) -> str:
    inside = "".join(
        f'<property name="{name}" action="default">{value}</property>' for name, value in properties.items()
    )
    return f'<item><view class="{className}" singletontag="{tag}">{inside}</view></item>'


def layoutDescription(plots: int) -> str:
    """XML of the layout: 3-D view and plots above, the three slice views below.

    Args:
        plots: number of plot views beside each other, 1 or 2.
    """
    slices = "".join(
        _view("vtkMRMLSliceNode", tag, orientation=orientation, viewlabel=label, viewcolor=color)
        for tag, orientation, label, color in _SLICE_VIEWS
    )
    above = _view("vtkMRMLViewNode", "1", viewlabel="1") + "".join(
        _view("vtkMRMLPlotViewNode", tag, viewlabel=str(number))
        for number, tag in enumerate(PLOT_VIEWS[:plots], start=1)
    )
    return (
        '<layout type="vertical" split="true">'
        f'<item><layout type="horizontal">{above}</layout></item>'
        f'<item><layout type="horizontal">{slices}</layout></item>'
        "</layout>"
    )


def registerLayouts() -> slicer.vtkMRMLLayoutNode | None:
    """Tell the layout manager about our layouts, once per scene's layout node; None without a main window."""
    layoutManager = slicer.app.layoutManager()
    if layoutManager is None:
        return None
    layoutNode = layoutManager.layoutLogic().GetLayoutNode()
    for number, plots in ((ONE_PLOT_LAYOUT, 1), (TWO_PLOTS_LAYOUT, 2)):
        if not layoutNode.IsLayoutDescription(number):
            layoutNode.AddLayoutDescription(number, layoutDescription(plots))
    return layoutNode


def showTopoMAELayout(chartNodes: Sequence[slicer.vtkMRMLPlotChartNode] = ()) -> bool:
    """Change to the layout with slices, 3-D and as many plots as there are charts (at least one).

    Args:
        chartNodes: charts for the plot views, at most two.

    Returns:
        False if there is no main window, so that nothing can be shown.
    """
    layoutNode = registerLayouts()
    if layoutNode is None:
        return False
    wanted = TWO_PLOTS_LAYOUT if len(chartNodes) > 1 else ONE_PLOT_LAYOUT
    layoutManager = slicer.app.layoutManager()
    if layoutManager.layout != wanted:
        layoutManager.setLayout(wanted)
    for tag, chartNode in zip(PLOT_VIEWS, chartNodes, strict=False):
        viewNode = slicer.mrmlScene.GetSingletonNode(tag, "vtkMRMLPlotViewNode")
        if viewNode is not None:
            # Else a chart shown by another module would replace ours here, too.
            viewNode.SetDoPropagatePlotChartSelection(False)
            viewNode.SetPlotChartNodeID(chartNode.GetID())
    return True


def topoMAEPlotViews() -> dict:
    """Plot views of our layouts that exist now: name in `PLOT_VIEWS` to qMRMLPlotView."""
    layoutManager = slicer.app.layoutManager()
    views = {}
    for index in range(layoutManager.plotViewCount if layoutManager is not None else 0):
        plotWidget = layoutManager.plotWidget(index)
        viewNode = plotWidget.mrmlPlotViewNode()
        if viewNode is not None and viewNode.GetLayoutName() in PLOT_VIEWS:
            views[viewNode.GetLayoutName()] = plotWidget.plotView()
    return views


def jumpSlices(position: Sequence[float]) -> None:
    """Bring a place into every slice view; a view is panned only if the place would be outside of it.

    Args:
        position: RAS position in mm.
    """
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        toXY = np.linalg.inv(slicer.util.arrayFromVTKMatrix(sliceNode.GetXYToRAS()))
        x, y = (toXY @ [*position, 1.0])[:2]
        width, height = sliceNode.GetDimensions()[:2]
        if 0 <= x < width and 0 <= y < height:
            sliceNode.JumpSliceByOffsetting(*position)
        else:
            sliceNode.JumpSliceByCentering(*position)
