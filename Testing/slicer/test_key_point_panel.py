"""The key-point panel: the crop as a box, its predicted and true points, the error in mm."""

import numpy as np
import pytest

import harness
from topology_stand_ins import KEY_POINT_NAMES, Client, Context, answerKeyPoints


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def context(scene):
    from TopoMAELib.volumes import addVolume

    return Context([addVolume(np.zeros((40, 50, 60), np.int16), np.eye(4), "Head")])


@pytest.fixture
def panel(client, context, tmp_path):
    import qt

    from TopoMAELib.exchange import Exchange
    from TopoMAESegmentLib.key_point_logic import KeyPointLogic
    from TopoMAESegmentLib.key_point_panel import KeyPointPanel

    parent = qt.QWidget()
    parent.setLayout(qt.QVBoxLayout())
    panel = KeyPointPanel(parent.layout(), KeyPointLogic(client, Exchange), context)
    panel.parentWidget = parent
    panel.ui.keyPretrainedPathLineEdit.currentPath = str(tmp_path)
    yield panel
    panel.cleanup()
    panel.widget.setMRMLScene(None)


@pytest.fixture
def box(panel, client):
    """A crop box of the model's size in the middle of the volume."""
    panel.ui.placeCropButton.click()
    client.last.answer(size_mm=[20.0, 24.0, 16.0], modalities=["MR"])
    return panel.ui.cropSelector.currentNode()


def drag(box, center):
    box.SetCenter(center)
    box.InvokeEvent(box.PointEndInteractionEvent)


def test_a_new_crop_box_has_the_size_that_the_model_tells(box, panel):
    assert np.allclose(box.GetSize(), [20, 24, 16]) and np.allclose(box.GetCenter(), [19.5, 24.5, 29.5])


def test_nine_named_points_the_box_they_span_and_the_error_in_mm_are_shown(box, panel, client):
    panel.ui.predictButton.click()
    assert np.allclose(client.last.arguments["center"], [19.5, 24.5, 29.5])
    answerKeyPoints(client.last)
    nodes = panel.view.nodes()
    labels = [nodes["predicted"].GetNthControlPointLabel(n) for n in range(9)]
    assert labels == list(KEY_POINT_NAMES)
    assert np.allclose(nodes["predicted"].GetNthControlPointPositionWorld(0), [22.5, 24.5, 29.5])
    assert np.allclose(nodes["true"].GetNthControlPointPositionWorld(0), [19.5, 24.5, 29.5])
    assert nodes["predicted"].GetDisplayNode().GetSelectedColor() != nodes["true"].GetDisplayNode().GetSelectedColor()
    edges = nodes["box"].GetPolyData()
    assert edges.GetNumberOfCells() == 12
    assert np.allclose(edges.GetBounds(), [12.5, 32.5, 12.5, 36.5, 21.5, 37.5])
    lengths = [np.ptp([edges.GetPoint(2 * n), edges.GetPoint(2 * n + 1)], axis=0) for n in range(12)]
    assert sorted(float(length.sum()) for length in lengths) == [16.0] * 4 + [20.0] * 4 + [24.0] * 4
    assert nodes["errors"].GetPolyData().GetNumberOfCells() == 9
    table = panel.ui.keyPointTable
    assert [table.item(9, c).text() for c in range(3)] == ["mean", "3.0", "1.0"]
    assert "Along axis 3 it is as long as the volume" in panel.ui.keyPointSummaryLabel.text

    panel.ui.keyBranchComboBox.setCurrentIndex(1)
    assert np.allclose(nodes["predicted"].GetNthControlPointPositionWorld(0), [19.5, 24.5, 30.5])
    assert panel.view.nodes() == nodes


def test_the_box_becomes_the_crop_that_was_used(box, panel, client):
    drag(box, [0, 0, 0])
    panel.ui.predictButton.click()
    answerKeyPoints(client.last, size=(20, 24, 16), center=[9.5, 11.5, 7.5])
    assert np.allclose(box.GetCenter(), [9.5, 11.5, 7.5]) and np.allclose(box.GetSize(), [20, 24, 16])


def test_moving_the_box_predicts_again_only_when_that_is_wanted(box, panel, client):
    panel.ui.predictButton.click()
    answerKeyPoints(client.last)
    count = len(client.requests)
    drag(box, [15, 20, 25])
    assert not harness.pump(lambda: len(client.requests) > count, 0.3)
    panel.ui.autoUpdateCheckBox.setChecked(True)
    drag(box, [15, 20, 25])
    assert harness.pump(lambda: len(client.requests) == count + 1, 2)
    assert np.allclose(client.last.arguments["center"], [15, 20, 25])


def test_a_move_during_a_prediction_gives_that_up_and_predicts_for_the_new_place(box, panel, client):
    panel.ui.autoUpdateCheckBox.setChecked(True)
    panel.ui.predictButton.click()
    first, count = client.last, len(client.requests)
    drag(box, [15, 20, 25])
    assert harness.pump(lambda: len(client.requests) == count + 1, 2)
    assert first.state == "cancelled"
    answerKeyPoints(client.last)
    assert np.allclose(panel.points.center, [15, 20, 25])


def test_removing_the_box_or_closing_the_scene_during_a_prediction_is_safe(box, panel, client, scene):
    panel.ui.predictButton.click()
    scene.RemoveNode(box)
    answerKeyPoints(client.last)
    assert panel.points is not None
    panel.ui.predictButton.click()
    panel.sceneClosing()
    scene.Clear(0)
    assert client.last.state == "cancelled" and panel.points is None and panel.ui.keyPointTable.rowCount == 0
    panel._context.volumes = []
    panel.ui.predictButton.click()
    assert "Choose the input volumes" in panel.ui.keyPointStatusLabel.text


def test_clear_removes_points_lines_and_box(box, panel, client, slicer):
    panel.ui.predictButton.click()
    answerKeyPoints(client.last)
    panel.ui.clearKeyPointsButton.click()
    assert not [node for node in slicer.util.getNodesByClass("vtkMRMLNode") if node.GetAttribute("TopoMAE.Role")]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert not hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "TopoMAE key points")


def test_without_a_run_or_a_volume_the_panel_says_what_to_do(panel, context, client):
    panel.ui.keyPretrainedPathLineEdit.currentPath = ""
    panel.ui.predictButton.click()
    assert "Choose the folder of a pre-training run" in panel.ui.keyPointStatusLabel.text
    context.volumes = []
    panel.ui.predictButton.click()
    assert "Choose the input volumes" in panel.ui.keyPointStatusLabel.text and not client.requests
