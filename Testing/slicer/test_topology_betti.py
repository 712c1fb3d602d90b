"""Betti numbers beside the segments."""

import numpy as np
import pytest

from test_topology_panel import sliceOffsetsAt
from topology_stand_ins import Client, Context, sent


@pytest.fixture
def segmentation(scene, slicer):
    """Two segments of one label map and a third that overlaps them."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    labels = np.zeros((12, 10, 8), np.uint8)
    labels[1:4, 1:4, 1:4], labels[6:9, 2:5, 2:5] = 1, 2
    volume = slicer.util.addVolumeFromArray(labels.T, np.diag([2.0, 1, 1, 1]), "Labels", "vtkMRMLLabelMapVolumeNode")
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(volume, node)
    for number, name in enumerate(("Liver", "Spleen")):
        node.GetSegmentation().GetNthSegment(number).SetName(name)
    overlapping = (labels > 0).astype(np.uint8)
    segmentID = node.GetSegmentation().AddEmptySegment("", "Both")
    slicer.util.updateSegmentBinaryLabelmapFromArray(overlapping.T, node, segmentID, volume)
    node.GetSegmentation().AddEmptySegment("", "Nothing")
    scene.RemoveNode(volume)
    return node


def one(components=1, tunnels=0, cavities=0, features=()):
    return {"components": components, "tunnels": tunnels, "cavities": cavities, "features": list(features)}


def finding(kind, voxels, position):
    return {"kind": kind, "voxels": voxels, "voxel": [0, 0, 0], "position": list(position)}


ISLAND = finding("island", 12, [4, 3, 2])
TUNNEL = finding("tunnel", None, [6, 5, 4])


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def panel(client, segmentation):
    import qt

    from TopoMAELib.exchange import Exchange
    from TopoMAESegmentLib.topology_logic import TopologyLogic
    from TopoMAESegmentLib.topology_panel import TopologyPanel

    parent = qt.QWidget()
    parent.setLayout(qt.QVBoxLayout())
    panel = TopologyPanel(parent.layout(), TopologyLogic(client, Exchange), Context([], segmentation))
    panel.parentWidget = parent
    yield panel
    panel.cleanup()
    panel.widget.setMRMLScene(None)


@pytest.fixture
def counted(panel, client):
    """The panel after counting: Liver has an island, Spleen is as expected, Both has a tunnel."""
    panel.ui.bettiButton.click()
    for request in list(client.requests):
        array, _ = sent(request.arguments["labels"])
        if array.max() == 2:
            request.answer(labels={"1": one(2, features=[ISLAND]), "2": one()})
        else:
            request.answer(labels={"1": one(1, 1, features=[TUNNEL])})
    return panel


def column(table, number):
    return [table.item(row, number).text() for row in range(table.rowCount)]


def test_every_voxel_is_counted_where_it_lies_also_of_segments_that_overlap(panel, client):
    panel.ui.bettiButton.click()
    volumes = [sent(request.arguments["labels"]) for request in client.requests]
    assert sorted(int((array == 1).sum()) for array, _ in volumes) == [27, 54]
    array, affine = next(volume for volume in volumes if volume[0].max() == 2)
    first = np.argwhere(array == 2).min(axis=0)
    assert np.allclose((affine @ [*first, 1])[:3], [12, 2, 2])


def test_the_table_says_where_a_segment_differs_from_what_is_expected(counted):
    table = counted.ui.bettiTable
    assert column(table, 0) == ["Liver", "Spleen", "Both", "Nothing"]
    assert column(table, 1) == ["2", "1", "1", "0"]
    assert column(table, 5) == [
        "⚠ components: 2 instead of 1",
        "as expected",
        "⚠ tunnels: 1 instead of 0",
        "⚠ components: 0 instead of 1",
    ]


def test_one_click_goes_to_the_next_island_or_hole_and_round_again(counted):
    counted.ui.nextFindingButton.click()
    assert sliceOffsetsAt([4, 3, 2]) and counted.ui.findingLabel.text == "1 of 2: Liver: island of 12 voxels"
    counted.ui.nextFindingButton.click()
    assert sliceOffsetsAt([6, 5, 4]) and counted.ui.findingLabel.text == "2 of 2: Both: tunnel"
    counted.ui.nextFindingButton.click()
    assert sliceOffsetsAt([4, 3, 2])
    counted.ui.bettiTable.cellClicked.emit(2, 0)
    assert sliceOffsetsAt([6, 5, 4])


def test_what_is_expected_can_be_edited_and_stays_with_the_segment(counted, segmentation):
    from TopoMAESegmentLib.segment_topology import expectedNumbers

    table = counted.ui.bettiTable
    table.item(0, 4).setText("2, 0, 0")
    assert column(table, 5)[0] == "as expected" and column(table, 4)[0] == "2 0 0"
    assert expectedNumbers(segmentation.GetSegmentation().GetNthSegment(0)) == (2, 0, 0)
    table.item(1, 4).setText("many")
    assert '"many" is not three counts' in counted.ui.bettiStatusLabel.text and column(table, 4)[1] == "1 0 0"
    counted.ui.nextFindingButton.click()
    assert counted.ui.findingLabel.text == "1 of 1: Both: tunnel"


def test_a_segmentation_that_was_edited_since_is_said_so(counted, segmentation, slicer):
    segmentation.GetSegmentation().RemoveSegment(segmentation.GetSegmentation().GetNthSegmentID(1))
    segmentation.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap").Modified()
    segmentation.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)
    assert "has changed since" in counted.ui.bettiStatusLabel.text


def test_without_a_segment_the_panel_says_what_to_do(panel, client, scene, segmentation):
    scene.RemoveNode(segmentation)
    panel._context.segmentation = None
    panel.ui.bettiButton.click()
    assert "Choose a segmentation with segments" in panel.ui.bettiStatusLabel.text and not client.requests


def test_a_failure_of_one_layer_ends_the_whole_count_once(panel, client):
    panel.ui.bettiButton.click()
    client.requests[0].fail("No memory.")
    assert panel.ui.bettiStatusLabel.text == "No memory." and client.requests[1].state == "cancelled"
    assert panel.ui.bettiButton.text == "Count components, tunnels and cavities"
