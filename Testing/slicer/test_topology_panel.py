"""The topology panel: from a choice to a request, from an answer to nodes, from a point to a place."""

import numpy as np
import pytest

import harness
from topology_stand_ins import FEATURES, Client, Context, answerDiagram, answerReconstruction, sent


@pytest.fixture
def volume(scene):
    from TopoMAELib.volumes import addVolume

    affine = np.array([[-1.5, 0, 0, 40], [0, 0, 2, -10], [0, 1, 0, 5], [0, 0, 0, 1]], float)
    return addVolume(np.arange(1000, dtype=np.int16).reshape(10, 10, 10), affine, "Head")


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def context(volume):
    return Context([volume])


@pytest.fixture
def panel(client, context, slicer):
    import qt

    from TopoMAELib.exchange import Exchange
    from TopoMAESegmentLib.topology_logic import TopologyLogic
    from TopoMAESegmentLib.topology_panel import TopologyPanel

    parent = qt.QWidget()
    parent.setLayout(qt.QVBoxLayout())
    panel = TopologyPanel(parent.layout(), TopologyLogic(client, Exchange), context)
    panel.parentWidget = parent
    yield panel
    panel.cleanup()
    panel.widget.setMRMLScene(None)


@pytest.fixture
def shown(panel, client):
    """The panel with a diagram of the image."""
    panel.ui.showDiagramButton.click()
    answerDiagram(client.last)
    return panel


def choose(comboBox, key):
    comboBox.setCurrentIndex(comboBox.findData(key))


def series(chart):
    return {
        chart.GetNthPlotSeriesNode(number).GetName(): chart.GetNthPlotSeriesNode(number)
        for number in range(chart.GetNumberOfPlotSeriesNodes())
    }


def world(volume, voxel):
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return (slicer.util.arrayFromVTKMatrix(matrix) @ [*voxel, 1])[:3]


def sliceOffsetsAt(position):
    """Whether every slice view of the layout goes through a place."""
    import slicer

    manager = slicer.app.layoutManager()
    nodes = [manager.sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow", "Green")]
    planes = [slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()) for node in nodes]
    return all(abs(plane[:3, 2] @ (np.asarray(position) - plane[:3, 3])) < 1e-3 for plane in planes)


def test_the_diagram_of_an_image_is_a_table_and_one_series_per_dimension(shown, client, volume):
    assert client.last.arguments["superlevel"] is False and client.last.arguments["dims"] == [0, 1, 2]
    chart = shown.view.charts()[0].chartNode
    nodes, names = series(chart), ("components", "loops", "voids")
    # One feature is stored twice, see plotSeries.
    assert [nodes[name].GetTableNode().GetTable().GetNumberOfRows() for name in names] == [2, 2, 2]
    assert len({nodes[name].GetColor() for name in names}) == 3
    frame = nodes["diagonal and infinity"].GetTableNode().GetTable()
    assert [frame.GetValue(row, 0).ToDouble() == frame.GetValue(row, 1).ToDouble() for row in range(2)] == [True, True]
    essential = nodes["never disappears"].GetTableNode().GetTable()
    assert essential.GetValue(0, 0).ToDouble() == 1.0 and essential.GetValue(0, 1).ToDouble() > 90
    assert len({nodes[name].GetMarkerStyle() for name in (*names, "never disappears")}) == 4  # not by colour alone
    assert chart.GetXAxisRange()[0] == chart.GetYAxisRange()[0] < 1 and chart.GetYAxisRange()[1] > 90
    table = shown.view.charts()[0].tableNode
    assert table.GetNumberOfRows() == 4 and not table.GetHideFromEditors()
    assert "12 components, 30 loops, 5 voids (the 4 longest lasting are shown)" in shown.ui.diagramSummaryLabel.text
    assert shown.ui.featureTable.rowCount == 5 and shown.ui.featureTable.item(0, 2).text() == "never"


def test_only_the_voxels_in_the_box_are_sent(panel, client, volume):
    from TopoMAESegmentLib.roi_box import setBox

    panel.ui.placeBoxButton.click()
    box = panel.ui.roiSelector.currentNode()
    setBox(box, world(volume, (4, 5, 6)), [3 * 1.5, 3, 3 * 2], np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]]))
    panel.ui.showDiagramButton.click()
    array, affine = sent(client.last.arguments["image"])
    assert array.shape == (3, 3, 3)
    assert np.allclose(affine[:3, 3], world(volume, (3, 4, 5)))
    whole = np.arange(1000).reshape(10, 10, 10)
    assert np.array_equal(array, whole[3:6, 4:7, 5:8])


def test_selecting_a_row_goes_to_its_voxels_marks_both_ends_and_outlines_it(shown, client, volume, slicer):
    from TopoMAELib.scene_nodes import findRoleNode

    shown.ui.featureTable.setCurrentCell(1, 0)
    assert sliceOffsetsAt(world(volume, FEATURES[0][5]))
    points = findRoleNode("topology.feature.points")
    assert [points.GetNthControlPointLabel(n) for n in range(2)] == ["birth 10", "death 90"]
    assert np.allclose(points.GetNthControlPointPositionWorld(0), world(volume, FEATURES[0][4]))
    assert "selected" in series(shown.view.charts()[0].chartNode)

    request = client.of("feature")
    assert (request.arguments["handle"], request.arguments["dim"], request.arguments["index"]) == ("d1", 1, 4)
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:5, 6, 7:9] = 1
    path = f"{request.arguments['output']}/mask.npy"
    np.save(path, mask)
    affine = np.eye(4)
    affine[:, 3] = [*world(volume, (0, 0, 0)), 1]
    affine[:3, :3] = [[-1.5, 0, 0], [0, 0, 2], [0, 1, 0]]
    request.answer(mask=path, affine=affine.tolist(), voxels=6)
    outline = findRoleNode("topology.feature.outline")
    found = slicer.util.arrayFromSegmentBinaryLabelmap(outline, "feature", volume)
    assert np.array_equal(found.T, mask)
    assert outline.GetHideFromEditors()

    for key, place in (("birth", 4), ("death", 5)):
        choose(shown.ui.jumpComboBox, key)
        assert sliceOffsetsAt(world(volume, FEATURES[0][place]))


def test_by_itself_the_panel_goes_where_the_outline_is(shown, volume):
    for row, (dim, *_, birth, death) in enumerate(FEATURES):
        shown.ui.featureTable.setCurrentCell(row + 1, 0)
        assert sliceOffsetsAt(world(volume, birth if dim == 0 else death))


def test_selecting_a_point_of_the_plot_selects_its_row(shown, volume):
    loops = series(shown.view.charts()[0].chartNode)["loops"]
    harness.selectPoints(loops, [1])
    assert shown.selection.selected == (0, 2)
    assert shown.ui.featureTable.currentRow() == 3
    assert sliceOffsetsAt(world(volume, FEATURES[2][5]))
    harness.selectPoints(loops, [])  # a click beside all points
    assert shown.selection.selected == (0, 2)
    harness.selectPoints(loops, [0, 1])  # a rectangle around two: the one that lasts longest
    assert shown.selection.selected == (0, 0)


def test_the_component_that_never_disappears_can_be_selected_but_has_no_outline(shown, client, volume):
    before = len(client.requests)
    shown.ui.featureTable.setCurrentCell(0, 0)
    assert sliceOffsetsAt(world(volume, (6, 1, 2)))
    assert len(client.requests) == before


def test_a_second_diagram_uses_the_same_nodes_again(shown, client, scene):
    before = [scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())]
    shown.ui.showDiagramButton.click()
    answerDiagram(client.last)
    assert [scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())] == before


def test_image_and_reconstruction_stand_beside_each_other_with_their_distance(panel, client, tmp_path, slicer):
    panel.ui.pretrainedPathLineEdit.currentPath = str(tmp_path)
    choose(panel.ui.sourceComboBox, "reconstruction")
    panel.ui.hiddenSpinBox.setValue(60)
    panel.ui.showDiagramButton.click()
    assert client.last.arguments["mask_ratio"] == 0.6 and client.last.arguments["pretrained"] == str(tmp_path)
    answerReconstruction(client.last)
    charts = panel.view.charts()
    assert [chart.chartNode.GetTitle() for chart in charts] == ["Image: Head", "Reconstruction by ViT"]
    assert charts[0].chartNode.GetXAxisRange() == charts[1].chartNode.GetXAxisRange()
    assert "3 (components 1, loops 2, voids 2); mean squared error 0.25" in panel.ui.diagramSummaryLabel.text
    shown = {
        slicer.app.layoutManager().plotWidget(n).mrmlPlotViewNode().GetPlotChartNodeID()
        for n in range(slicer.app.layoutManager().plotViewCount)
    }
    assert shown >= {chart.chartNode.GetID() for chart in charts}

    harness.selectPoints(series(charts[1].chartNode)["loops"], [0])
    assert panel.selection.selected == (1, 0) and panel.ui.tableComboBox.currentIndex == 1
    assert client.of("feature").arguments["handle"] == "vit"
    choose(panel.ui.branchComboBox, "unetrpp")
    assert charts[1].chartNode.GetTitle() == "Reconstruction by UNETR++"
    assert "mean squared error 0.5" in panel.ui.diagramSummaryLabel.text

    choose(panel.ui.overlayComboBox, "reconstructed")
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    overlay = scene_node(composite.GetForegroundVolumeID())
    assert overlay.GetName() == "TopoMAE reconstruction (UNETR++)" and overlay.GetHideFromEditors()
    panel.ui.clearTopologyButton.click()
    assert not composite.GetForegroundVolumeID()


def scene_node(nodeID):
    import slicer

    return slicer.mrmlScene.GetNodeByID(nodeID)


def test_the_probability_of_a_segment_is_looked_at_from_high_to_low(panel, client, context, scene, volume):
    from TopoMAELib.volumes import addVolume

    context.segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentID = context.segmentation.GetSegmentation().AddEmptySegment("", "Tumor")
    for callback in context.changed:
        callback()
    choose(panel.ui.sourceComboBox, "probability")
    panel.ui.showDiagramButton.click()
    assert 'no probability map of "Tumor"' in panel.ui.diagramStatusLabel.text and not client.requests
    probabilities = np.linspace(0, 1, 125, dtype=np.float32).reshape(5, 5, 5)
    context.probabilities = {segmentID: addVolume(probabilities, np.eye(4), "Probability")}
    panel.ui.showDiagramButton.click()
    assert client.last.arguments["superlevel"] is True
    answerDiagram(client.last)
    chart = panel.view.charts()[0].chartNode
    assert chart.GetTitle() == "Probability of Tumor"
    essential = series(chart)["never disappears"].GetTableNode().GetTable()
    assert essential.GetValue(0, 0).ToDouble() == 100 and essential.GetValue(0, 1).ToDouble() < 5


def test_the_button_cancels_while_a_request_runs(panel, client):
    panel.ui.showDiagramButton.click()
    assert panel.ui.showDiagramButton.text == "Cancel" and not panel.ui.diagramProgressBar.isHidden()
    client.last.onProgress(0.5, 12.3, "persistence")
    assert panel.ui.diagramProgressBar.value == 50 and "12 s" in panel.ui.diagramStatusLabel.text
    panel.ui.showDiagramButton.click()
    assert client.last.state == "cancelled"
    assert panel.ui.showDiagramButton.text == "Show diagram" and panel.ui.diagramStatusLabel.text == "Cancelled."


def test_a_failure_is_shown_in_words_and_the_next_click_works(panel, client):
    panel.ui.showDiagramButton.click()
    folder = client.last.arguments["output"]
    client.last.fail("The worker ended with exit code 9.")
    assert panel.ui.diagramStatusLabel.text == "The worker ended with exit code 9."
    import os

    assert not os.path.exists(folder)
    panel.ui.showDiagramButton.click()
    answerDiagram(client.last)
    assert panel.ui.diagramStatusLabel.text == "" and panel.view.diagrams


def test_removing_the_volume_while_its_diagram_is_computed_cancels_it(panel, client, scene, volume):
    panel.ui.showDiagramButton.click()
    scene.RemoveNode(volume)
    assert client.last.state == "cancelled"
    assert panel.ui.diagramStatusLabel.text == '"Head" was removed meanwhile.'


def test_closing_the_scene_while_a_request_runs_and_with_a_diagram_shown_is_safe(shown, client, scene, volume):
    shown.ui.featureTable.setCurrentCell(1, 0)
    shown.ui.showDiagramButton.click()
    shown.sceneClosing()
    scene.Clear(0)
    assert client.last.state == "cancelled" and client.of("feature").state == "cancelled"
    assert shown.ui.featureTable.rowCount == 0 and not shown.view.diagrams
    shown.ui.jumpComboBox.setCurrentIndex(1)
    shown.ui.showLayoutButton.click()
    shown.ui.clearTopologyButton.click()


def test_clear_removes_every_node_and_the_folder(shown, client, scene, slicer, volume):
    shown.ui.placeBoxButton.click()
    shown.ui.featureTable.setCurrentCell(2, 0)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "TopoMAE topology")
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(shown.view.charts()[0].chartNode)) == folder
    shown.ui.clearTopologyButton.click()
    left = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode") if node.GetAttribute("TopoMAE.Role")]
    assert left == []
    assert not hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "TopoMAE topology")
    assert scene.IsNodePresent(volume) and shown.ui.featureTable.rowCount == 0


def test_a_pre_trained_run_is_suggested_by_the_model_and_kept_in_the_settings(panel, context, tmp_path):
    from types import SimpleNamespace

    choose(panel.ui.sourceComboBox, "reconstruction")
    panel.ui.showDiagramButton.click()
    assert "Choose the folder of a pre-training run" in panel.ui.diagramStatusLabel.text
    context.card = SimpleNamespace(pretrainedRun=str(tmp_path))
    for callback in context.changed:
        callback()
    assert panel.ui.pretrainedPathLineEdit.currentPath == str(tmp_path)
