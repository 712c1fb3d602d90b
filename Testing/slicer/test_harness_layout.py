"""The harness: layouts, views that are really drawn, charts, and pictures of the whole window."""

import numpy as np
import pytest

import harness
from harness.charts import ChartDrawing
from harness.pictures import pixelsOf

LAYOUT = """
<layout type="horizontal" split="true">
 <item splitSize="700"><view class="vtkMRMLSliceNode" singletontag="Red">
  <property name="orientation" action="default">Axial</property></view></item>
 <item splitSize="300"><layout type="vertical">
  <item><view class="vtkMRMLViewNode" singletontag="1"/></item>
  <item><view class="vtkMRMLPlotViewNode" singletontag="PlotView1"/></item>
 </layout></item>
</layout>"""


@pytest.fixture
def layoutManager(slicer, scene):
    return slicer.app.layoutManager()


@pytest.fixture
def ball(slicer, scene):
    """A bright ball of radius 8 mm at (5, 10, 15) mm in a dark volume."""
    k, j, i = np.mgrid[:40, :40, :40] - 20
    inside = i**2 + j**2 + k**2 <= 64
    node = slicer.util.addVolumeFromArray((200 * inside).astype(np.int16), name="Ball")
    node.SetOrigin(-15, -10, -5)
    node.GetDisplayNode().SetAutoWindowLevel(0)
    node.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


@pytest.fixture
def ballSegmentation(slicer, ball):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Ball segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ball)
    node.GetSegmentation().AddEmptySegment("ball", "ball", (1.0, 0.0, 0.0))
    inside = (slicer.util.arrayFromVolume(ball) > 0).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, node, "ball", ball)
    node.CreateClosedSurfaceRepresentation()
    return node


@pytest.fixture
def chart(slicer, scene):
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Pairs")
    slicer.util.updateTableFromArray(table, [np.array([0.0, 1, 2]), np.array([1.0, 3, 2])], ["birth", "death"])
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "Loops")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("birth")
    series.SetYColumnName("death")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetLineStyle(series.LineStyleNone)
    series.SetMarkerStyle(series.MarkerStyleSquare)
    series.SetMarkerSize(15)
    series.SetColor(0, 1, 0)
    node = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Diagram")
    node.AddAndObservePlotSeriesNodeID(series.GetID())
    return node


def share(pixels, color, tolerance=60):
    """Part of the pixels that has about this colour."""
    return float((np.abs(pixels.astype(int) - color).max(axis=2) < tolerance).mean())


def test_a_layout_described_in_xml_makes_its_views_and_lets_go_of_the_others(slicer, layoutManager):
    assert layoutManager.sliceViewNames() == ("Red", "Green", "Yellow") and layoutManager.threeDViewCount == 1
    node, told = layoutManager.layoutLogic().GetLayoutNode(), []
    layoutManager.layoutChanged.connect(told.append)
    node.AddLayoutDescription(5001, LAYOUT)
    layoutManager.setLayout(5001)
    layoutManager.layoutChanged.disconnect(told.append)
    assert told == [5001] and layoutManager.layout == 5001
    visible = {widget.mrmlViewNode().GetLayoutName() for widget in layoutManager._visible()}
    assert visible == {"Red", "1", "PlotView1"} and layoutManager.plotViewCount >= 1
    assert layoutManager.sliceWidget("Green") is not None, "views that are not shown stay"
    assert layoutManager.sliceWidget("Blue") is None and layoutManager.plotWidget(7) is None


def test_slice_views_show_the_volume_where_it_is(slicer, layoutManager, ball):
    for name, center in (("Red", 15), ("Green", 10), ("Yellow", -5)):  # sagittal offsets grow to the left
        logic = layoutManager.sliceWidget(name).sliceLogic()
        bright = []
        for offset in (center, center + 6, center + 10):
            logic.SetSliceOffset(offset)
            bright.append(share(layoutManager.sliceWidget(name)._pixels(200, 200), (200, 200, 200)))
        assert bright[0] > bright[1] > 0 == bright[2]


def test_jumping_to_a_place_moves_all_slices(slicer, layoutManager, ball):
    slicer.modules.markups.logic().JumpSlicesToLocation(5, 10, 15, True)
    offsets = [layoutManager.sliceWidget(name).sliceLogic().GetSliceOffset() for name in ("Yellow", "Green", "Red")]
    assert offsets == pytest.approx([-5, 10, 15])


def test_segmentations_and_markups_are_drawn_in_slices_and_in_3d(slicer, layoutManager, ballSegmentation):
    red, space = layoutManager.sliceWidget("Red"), layoutManager.threeDWidget(0)
    red.sliceLogic().SetSliceOffset(15)
    layoutManager.resetThreeDViews()
    assert share(red._pixels(200, 200), (220, 100, 100), 50) > 0.05
    assert share(space._pixels(200, 200), (200, 0, 0), 100) > 0.01
    ballSegmentation.GetDisplayNode().SetVisibility(False)
    assert share(red._pixels(200, 200), (220, 100, 100), 50) == 0
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    points.AddControlPoint(5, 10, 15, "centre")
    points.GetDisplayNode().SetSelectedColor(0, 1, 0)
    assert share(red._pixels(200, 200), (0, 255, 0)) > 0 and share(space._pixels(200, 200), (0, 200, 0), 100) > 0


def test_views_give_their_nodes_windows_and_displayable_managers(slicer, layoutManager, ball):
    red, space = layoutManager.sliceWidget("Red"), layoutManager.threeDWidget(0)
    assert red.sliceView().mrmlSliceNode() is red.mrmlSliceNode() is red.sliceLogic().GetSliceNode()
    assert space.threeDView().mrmlViewNode() is space.mrmlViewNode()
    slicer.util.forceRenderAllViews()
    assert pixelsOf(red.sliceView().renderWindow()).max() > 0
    manager = space.threeDView().displayableManagerByClassName("vtkMRMLMarkupsDisplayableManager")
    assert manager.IsA("vtkMRMLMarkupsDisplayableManager")
    assert slicer.app.applicationLogic().GetSliceLogicByLayoutName("Red") is red.sliceLogic()
    assert space.threeDView().cameraNode().IsA("vtkMRMLCameraNode")


def test_views_survive_closing_and_reading_a_scene(slicer, layoutManager, ball, tmp_path):
    layoutManager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"), {})
    red = layoutManager.sliceWidget("Red")
    slicer.mrmlScene.Clear(0)
    assert share(red._pixels(100, 100), (0, 0, 0)) > 0.9
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {})
    assert layoutManager.sliceWidget("Red") is red and red.mrmlSliceNode().GetScene() is slicer.mrmlScene
    background = red.mrmlSliceCompositeNode().GetBackgroundVolumeID()
    assert slicer.mrmlScene.GetNodeByID(background).GetName() == "Ball"
    assert layoutManager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView


def test_charts_are_drawn_with_their_series(slicer, scene, chart):
    pixels = ChartDrawing(chart).pixels(300, 200)
    assert pixels.shape == (200, 300, 3) and share(pixels, (0, 255, 0)) > 0.005
    assert ChartDrawing(None).pixels(30, 20).min() > 200, "a view without a chart is empty"
    series = chart.GetNthPlotSeriesNode(0)
    series.SetYColumnName("absent")
    assert share(ChartDrawing(chart).pixels(300, 200), (0, 255, 0)) == 0, "Slicer shows no series without its column"


def test_points_selected_in_a_chart_are_told_to_the_plot_view(slicer, layoutManager, chart):
    series, told = chart.GetNthPlotSeriesNode(0), []
    with pytest.raises(ValueError, match="Loops"):
        harness.selectPoints(series, [1])
    layoutManager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    # Views of other layouts stay, so that the visible one need not be the first.
    plot = next(one for one in layoutManager._visible() if one.mrmlViewNode().IsA("vtkMRMLPlotViewNode"))
    view = plot.plotView()

    def onSelected(seriesIDs, selections):
        for index in range(seriesIDs.GetNumberOfValues()):
            selected = selections.GetItemAsObject(index)
            rows = [selected.GetValue(row) for row in range(selected.GetNumberOfValues())]
            told.append((seriesIDs.GetValue(index), rows))

    view.dataSelected.connect(onSelected)
    before = plot._pixels(200, 200)
    harness.selectPoints(series, [2, 0])
    assert (plot._pixels(200, 200) != before).any(), "selected points look different"
    harness.selectPoints(series, [])
    assert (plot._pixels(200, 200) == before).all()
    view.dataSelected.disconnect(onSelected)
    assert told == [(series.GetID(), [2, 0])]


def test_the_picture_of_the_window_has_the_panel_beside_the_views(slicer, layoutManager, ballSegmentation, tmp_path):
    import qt

    panel = slicer.qMRMLWidget()
    column = qt.QVBoxLayout(panel)
    label = qt.QLabel("Segment")
    label.setStyleSheet("background-color: rgb(0, 0, 255)")
    column.addWidget(label)
    slicer.modules.markups.logic().JumpSlicesToLocation(5, 10, 15, True)
    layoutManager.resetThreeDViews()
    path = harness.screenshot(panel, tmp_path / "pictures" / "window.png", size=(900, 600), panelWidth=300)
    image = qt.QImage(str(path)).convertToFormat(qt.QImage.Format_RGB888)
    assert (image.width(), image.height()) == (900, 600)
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(600, 900, 3)
    assert share(pixels[:, :300], (0, 0, 255)) > 0.5 and share(pixels[:, 310:], (0, 0, 255)) == 0
    assert share(pixels[:, 310:], (220, 100, 100), 50) > 0.01, "the segmentation in the slices"
