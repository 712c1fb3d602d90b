"""Charts, the layout with plots, and which point of a plot is meant."""

import numpy as np
import pytest
import vtk

import topology_stand_ins  # noqa: F401 (puts the module on the path)


def seriesOf(chart):
    return [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]


def test_curves_are_one_series_each_and_their_nodes_are_used_again(scene, slicer):
    from TopoMAELib.plots import CurveChart

    curves = CurveChart("Losses", xTitle="step", yTitle="loss")
    curves.update({"reconstruction": ([1, 2, 3], [3.0, np.nan, 1.0]), "topology": ([1, 2], [0.5, 0.4])})
    first, count = seriesOf(curves.chartNode), scene.GetNumberOfNodes()
    assert [node.GetName() for node in first] == ["reconstruction", "topology"]
    assert first[0].GetTableNode().GetTable().GetNumberOfRows() == 2  # the value that is no number is left out
    assert first[0].GetColor() != first[1].GetColor()

    curves.update({"reconstruction": ([1, 2, 3, 4], [3.0, 2.0, 1.0, 0.5]), "topology": ([1, 2], [0.5, 0.4])})
    assert seriesOf(curves.chartNode) == first and scene.GetNumberOfNodes() == count
    assert first[0].GetTableNode().GetTable().GetNumberOfRows() == 4

    curves.update({"topology": ([1, 2], [0.5, 0.4])})
    assert [node.GetName() for node in seriesOf(curves.chartNode)] == ["topology"]
    curves.clear()
    assert curves.chartNode is None
    assert not slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode") and not slicer.util.getNodesByClass(
        "vtkMRMLTableNode"
    )


def test_a_chart_starts_anew_after_the_scene_was_closed(scene):
    from TopoMAELib.plots import CurveChart

    curves = CurveChart("Losses")
    curves.update({"loss": ([1, 2], [3.0, 2.0])})
    scene.Clear(0)
    assert curves.chartNode is None
    curves.update({"loss": ([1, 2], [3.0, 2.0])})
    assert len(seriesOf(curves.chartNode)) == 1


def test_the_layout_has_slices_a_3d_view_and_as_many_plots_as_charts(scene, slicer):
    from TopoMAELib.layouts import PLOT_VIEWS, showTopoMAELayout, topoMAEPlotViews
    from TopoMAELib.plots import CurveChart

    charts = [CurveChart(name).update({"a": ([1, 2], [1.0, 2.0])}) for name in ("One", "Two")]
    manager = slicer.app.layoutManager()
    for count in (1, 2, 1):
        assert showTopoMAELayout(charts[:count])
        shown = [manager.plotWidget(index).mrmlPlotViewNode() for index in range(manager.plotViewCount)]
        names = {node.GetLayoutName(): node.GetPlotChartNodeID() for node in shown}
        for name, chart in zip(PLOT_VIEWS, charts[:count], strict=False):
            assert names[name] == chart.GetID()
    assert set(manager.sliceViewNames()) >= {"Red", "Yellow", "Green"}
    assert set(topoMAEPlotViews()) <= set(PLOT_VIEWS)


def test_slices_jump_to_a_place_and_are_panned_only_if_it_would_be_outside(scene, slicer):
    from TopoMAELib.layouts import jumpSlices, showTopoMAELayout

    showTopoMAELayout()
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.SetFieldOfView(100, 100, 1)
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, 0, 0, 0, slicer.vtkMRMLSliceNode.CenteredJumpSlice)

    def middle():
        return [red.GetSliceToRAS().GetElement(row, 3) for row in range(3)]

    jumpSlices([20, 10, 33])
    assert np.allclose(middle(), [0, 0, 33])
    jumpSlices([200, 10, -7])
    assert np.allclose(middle(), [200, 10, -7])


@pytest.fixture
def drawnChart(scene):
    """A chart node with two series, and the chart as the plot view draws it."""
    from TopoMAELib.plots import plotSeries, setSeriesOfChart

    line, points = np.array([0.0, 1.0]), np.array([0.25, 0.75])
    columns = [{"x": line, "y": line}, {"x": points, "y": points[::-1]}]
    series = [plotSeries(f"test.{name}", name, one, (0, 0, 0)) for name, one in zip("ab", columns, strict=True)]
    chartNode = scene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    setSeriesOfChart(chartNode, series)
    series[1].SetMarkerStyle(series[1].MarkerStyleCircle)
    view = vtk.vtkContextView()
    view.GetRenderWindow().SetOffScreenRendering(1)
    view.GetRenderWindow().SetSize(400, 400)
    chart = vtk.vtkChartXY()
    view.GetScene().AddItem(chart)
    for one in series:
        plot = chart.AddPlot(vtk.vtkChart.LINE)
        plot.SetInputData(one.GetTableNode().GetTable(), "x", "y")
    for axis in (vtk.vtkAxis.BOTTOM, vtk.vtkAxis.LEFT):
        chart.GetAxis(axis).SetBehavior(vtk.vtkAxis.FIXED)
        chart.GetAxis(axis).SetRange(0, 1)
    view.GetRenderWindow().Render()
    yield chartNode, chart, series
    view.GetScene().ClearItems()
    view.GetRenderWindow().Finalize()


def test_a_click_near_a_point_means_that_point_and_a_click_elsewhere_means_none(drawnChart):
    from TopoMAESegmentLib.plot_picking import pointAt

    chartNode, chart, series = drawnChart
    corner = np.array(chart.GetAxis(vtk.vtkAxis.BOTTOM).GetPoint1())
    size = (
        np.array([chart.GetAxis(vtk.vtkAxis.BOTTOM).GetPoint2()[0], chart.GetAxis(vtk.vtkAxis.LEFT).GetPoint2()[1]])
        - corner
    )
    assert pointAt(chart, chartNode, corner + size * [0.75, 0.25] + [3, -4]) == (series[1].GetID(), 1)
    assert pointAt(chart, chartNode, corner + size * [0.25, 0.75]) == (series[1].GetID(), 0)
    assert pointAt(chart, chartNode, corner + size * [1.0, 1.0]) is None  # only points can be meant, not a line's ends
