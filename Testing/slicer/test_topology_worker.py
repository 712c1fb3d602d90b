"""Diagrams, Betti numbers, reconstructions and key points of a real volume, from the real worker."""

import numpy as np
import pytest

import topology_stand_ins


@pytest.fixture(scope="module")
def client(slicer):
    """A worker of its own."""
    from TopoMAELib.worker_client import WorkerClient

    client = WorkerClient()
    yield client
    client.stop()


@pytest.fixture
def topology(client):
    from TopoMAESegmentLib.topology_logic import TopologyLogic

    return TopologyLogic(client)


def voxelValue(volume, position):
    """Intensity of a volume at a place."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(matrix)
    i, j, k = np.round(slicer.util.arrayFromVTKMatrix(matrix) @ [*position, 1])[:3].astype(int)
    return slicer.util.arrayFromVolume(volume)[k, j, i]


def test_features_begin_and_end_at_the_intensities_of_their_voxels(topology, hippocampusVolume, scene):
    from TopoMAELib.volumes import volumeArrayAndAffine
    from TopoMAESegmentLib.roi_box import placeBoxInVolume

    array, affine = volumeArrayAndAffine(hippocampusVolume)
    box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    placeBoxInVolume(box, affine, array.shape, largest=20)
    whole, cut = topology.persistenceDiagram(hippocampusVolume), topology.persistenceDiagram(hippocampusVolume, box)
    assert sum(cut.counts.values()) < sum(whole.counts.values())
    for diagram in (whole, cut):
        for row in (0, 1, len(diagram) - 1):
            assert voxelValue(hippocampusVolume, diagram.birthPosition[row]) == diagram.birth[row]
            assert voxelValue(hippocampusVolume, diagram.deathPosition[row]) == diagram.death[row]
        assert (np.diff(diagram.persistence) <= 0).all()
        assert voxelValue(hippocampusVolume, diagram.essentialPosition) == diagram.essentialValue
    assert all(box.IsPointInROIWorld(position) for position in cut.deathPosition[:20])

    bright = topology.persistenceDiagram(hippocampusVolume, superlevel=True)
    assert (bright.birth > bright.death).all() and bright.essentialValue == array.max()
    mask, maskAffine = topology.featureMask(whole, 0)
    assert mask.any() and np.allclose(maskAffine, affine)


def test_islands_and_holes_of_a_segmentation_are_found_where_they_are(topology, hippocampusVolume, slicer, scene):
    from TopoMAELib.volumes import volumeAffine

    labels = np.zeros_like(slicer.util.arrayFromVolume(hippocampusVolume), np.uint8)
    labels[5:12, 5:12, 5:12] = 1
    labels[8, 8, 8] = 0
    labels[20, 30, 10] = 1
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(hippocampusVolume)
    segmentID = node.GetSegmentation().AddEmptySegment("", "Cube")
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, segmentID, hippocampusVolume)
    (cube,) = topology.bettiNumbers(node)
    assert cube.numbers == (2, 0, 1) and cube.differs
    found = {finding.kind: finding for finding in cube.offending()}
    for kind, (k, j, i) in (("island", (20, 30, 10)), ("cavity", (8, 8, 8))):
        place = (volumeAffine(hippocampusVolume) @ [i, j, k, 1])[:3]
        assert found[kind].voxels == 1 and np.allclose(found[kind].position, place)


def test_a_reconstruction_has_diagrams_of_both_and_their_distance(topology, hippocampusVolume, hippocampusPretrained):
    one = topology.reconstruct([hippocampusVolume], hippocampusPretrained)
    assert set(one.diagrams) == {"input", "vit", "unetrpp"}
    assert all(one.wasserstein[branch]["total"] > 0 for branch in ("vit", "unetrpp"))
    assert {image.shape for image in one.images.values()} == {one.images["input"].shape}
    assert np.count_nonzero(one.images["masked"]) < 0.6 * np.count_nonzero(one.images["input"])


def test_key_points_are_true_where_the_crop_lies(client, hippocampusVolume, hippocampusPretrained):
    from TopoMAESegmentLib.key_point_logic import KeyPointLogic

    logic = KeyPointLogic(client)
    points = logic.keyPoints(hippocampusVolume, hippocampusPretrained)
    assert len(points.names) == 9 and np.allclose(points.true[0], points.true[1:].mean(axis=0))
    assert np.allclose(points.center, points.true[0], atol=1)
    for branch, predicted in points.predicted.items():
        assert np.allclose(points.errors[branch], np.linalg.norm(predicted - points.true, axis=1), atol=1e-3)
    assert np.allclose(points.size, logic.cropSize(hippocampusPretrained)["size"])


def test_a_folder_that_is_no_run_is_refused_in_words(client, hippocampusVolume, tmp_path):
    from TopoMAELib.worker_client import WorkerError
    from TopoMAESegmentLib.key_point_logic import KeyPointLogic

    with pytest.raises(WorkerError) as refusal:
        KeyPointLogic(client).keyPoints(hippocampusVolume, tmp_path)
    assert str(tmp_path) in str(refusal.value)


def test_the_panel_shows_a_diagram_and_outlines_what_is_selected_in_it(topology, hippocampusVolume):
    import qt
    import slicer

    import harness
    from TopoMAELib.scene_nodes import findRoleNode
    from TopoMAESegmentLib.topology_panel import TopologyPanel

    parent = qt.QWidget()
    parent.setLayout(qt.QVBoxLayout())
    panel = TopologyPanel(parent.layout(), topology, topology_stand_ins.Context([hippocampusVolume]))
    panel.ui.showDiagramButton.click()
    assert harness.pump(lambda: not panel.run.running, 60) and panel.ui.diagramStatusLabel.text == ""
    diagram = panel.view.diagrams[0]
    row = int(np.flatnonzero(diagram.dim == 2)[0])
    panel.ui.featureTable.setCurrentCell(row + 1, 0)

    def outlined():
        node = findRoleNode("topology.feature.outline")
        return node is not None and node.GetSegmentation().GetNumberOfSegments() == 1

    assert harness.pump(outlined, 30)
    outline = findRoleNode("topology.feature.outline")
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(outline, "feature", hippocampusVolume)
    i, j, k = diagram.deathVoxel[row]
    assert mask[k, j, i] == 1
    panel.cleanup()
    panel.widget.setMRMLScene(None)
