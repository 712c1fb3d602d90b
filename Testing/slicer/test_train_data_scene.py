"""Volumes and segmentations of the scene become a data set that the engine trains on, voxel for voxel."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train_data_scenes import OBLIQUE, addSegmentation, addVolume, realCase, written

ROOT = Path(__file__).resolve().parents[2]
SEGMENTS = {1: "Anterior", 2: "Posterior"}


@pytest.fixture
def export(scene):
    for folder in ("TopoMAETrain", "TopoMAESegment"):
        if str(ROOT / folder) not in sys.path:
            sys.path.insert(0, str(ROOT / folder))
    from TopoMAETrainLib import scene_export

    return scene_export


def plan(folder):
    """Events of the engine about a data set."""
    command = [sys.executable, "-m", "topomae", "plan", "--data", str(folder), "--events", "json", "--check-labels"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, events[-1]
    return events


def test_a_scene_is_written_as_a_data_set_that_the_engine_accepts_voxel_for_voxel(export, dataFolder, tmp_path):
    straight, labels, affine = realCase(dataFolder, 0)
    first = addVolume(straight, affine, "Anna")
    addSegmentation(labels, affine, "Segmentation", SEGMENTS, first)
    oblique, otherLabels, _ = realCase(dataFolder, 1)
    left = OBLIQUE @ np.diag([-1, 1, 1.2, 1])  # oblique, anisotropic, of negative determinant
    addVolume(oblique, left, "Bert")
    addSegmentation(otherLabels, left, "Bert segmentation", {1: "anterior", 2: "posterior"})
    addVolume(straight[::-1], affine, "Carla / no segmentation")

    done = export.exportScene(tmp_path / "set", modalities=["MR"], name="My organs")
    assert (done.cases, done.labelled, done.labels, done.problems) == (3, 2, {1: "Anterior", 2: "Posterior"}, {})

    events = plan(done.folder)
    cases = {event["name"]: event for event in events if event["event"] == "case"}
    assert [(name, case["labelled"]) for name, case in cases.items()] == [
        ("Anna", True),
        ("Bert", True),
        ("Carla_no_segmentation", False),
    ]
    assert not any(case["errors"] or case["warnings"] for case in cases.values())
    assert cases["Anna"]["labels"] == {str(value): int((labels == value).sum()) for value in SEGMENTS}
    assert next(e for e in events if e["event"] == "plan")["labels"] == "1 Anterior, 2 Posterior"

    for name, image, truth, where in (("Anna", straight, labels, affine), ("Bert", oblique, otherLabels, left)):
        voxels, found = written(done.folder, "imagesTr", name)
        np.testing.assert_array_equal(voxels, image)
        np.testing.assert_allclose(found, where, atol=1e-4)
        voxels, found = written(done.folder, "labelsTr", name)
        np.testing.assert_array_equal(voxels, truth)
        np.testing.assert_allclose(found, where, atol=1e-4)
        assert voxels.dtype == np.uint8


def test_a_segmentation_of_other_voxels_is_brought_onto_its_image(export, dataFolder, tmp_path):
    image, labels, affine = realCase(dataFolder, 0)
    volume = addVolume(image, affine, "scan")
    fine = affine @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]])
    doubled = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    addSegmentation(doubled, fine, "drawn finely", SEGMENTS, volume)
    done = export.exportScene(tmp_path / "set")
    assert ["resampled" in one.text for one in done.problems["scan"]] == [True]
    voxels, found = written(done.folder, "labelsTr", "scan")
    np.testing.assert_allclose(found, affine, atol=1e-4)
    for value in SEGMENTS:
        both = ((voxels == value) & (labels == value)).sum()
        assert 2 * both / ((voxels == value).sum() + (labels == value).sum()) > 0.9


def test_parent_transforms_are_applied_to_image_and_labels(export, slicer, dataFolder, tmp_path):
    image, labels, affine = realCase(dataFolder, 0)
    volume = addVolume(image, affine, "moved")
    segmentation = addSegmentation(labels, affine, "labels", SEGMENTS, volume)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(OBLIQUE))
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    done = export.exportScene(tmp_path / "set")
    assert not done.problems
    voxels, found = written(done.folder, "labelsTr", "moved")
    np.testing.assert_array_equal(voxels, labels)
    np.testing.assert_allclose(found, OBLIQUE @ affine, atol=1e-4)
    assert written(done.folder, "imagesTr", "moved")[1] == pytest.approx(OBLIQUE @ affine, abs=1e-4)


def test_what_cannot_be_trained_on_is_refused_in_words_and_nothing_is_written(export, slicer, dataFolder, tmp_path):
    image, labels, affine = realCase(dataFolder, 0)
    for name in ("far", "overlapping", "good"):
        addVolume(image, affine, name)
    node = slicer.util.getNode
    away = affine.copy()
    away[0, 3] += 500
    cases = [
        export.SceneCase("far", (node("far"),), addSegmentation(labels, away, "far labels", SEGMENTS)),
        export.SceneCase("overlapping", (node("overlapping"),), _overlapping(labels, affine)),
        export.SceneCase("good", (node("good"),), addSegmentation(labels, affine, "fine", SEGMENTS)),
        export.SceneCase("nameless", (node("good"),), addSegmentation(labels, affine, "x", {1: "Tumour"})),
    ]
    names = [export.SceneLabel("Anterior", ("Anterior",)), export.SceneLabel("Posterior", ("Posterior",))]
    with pytest.raises(export.SceneExportError, match="far: far labels lies outside far") as caught:
        export.exportScene(tmp_path / "set", cases, names)
    problems = {name: [one.text for one in found] for name, found in caught.value.problems.items()}
    assert "overlap in" in problems["overlapping"][0]
    assert "none of the labels" in problems["nameless"][0]
    assert "good" not in problems
    assert not list(tmp_path.iterdir())

    done = export.exportScene(tmp_path / "set", cases[1:3], names, laterLabelWins=True)
    assert "become Posterior" in done.problems["overlapping"][0].text
    voxels, _ = written(done.folder, "labelsTr", "overlapping")
    assert (voxels[labels == 2] == 2).all()


def _overlapping(labels, affine):
    """Anterior covers everything, Posterior its part of it."""
    node = addSegmentation((labels > 0).astype(np.uint8), affine, "nested", {1: "Anterior"})
    other = addSegmentation(labels, affine, "part", {2: "Posterior"})
    source = other.GetSegmentation()
    node.GetSegmentation().CopySegmentFromSegmentation(source, source.GetNthSegmentID(0))
    return node


def test_a_segmentation_partly_outside_is_a_warning_with_a_number(export, dataFolder, tmp_path):
    image, labels, affine = realCase(dataFolder, 0)
    volume = addVolume(image, affine, "scan")
    larger = np.zeros(tuple(n + 20 for n in labels.shape), np.uint8)
    larger[:, 10:12, 10:12] = 1  # runs through the volume and out of it on one side
    addSegmentation(larger, affine, "rod", {1: "rod"}, volume)
    done = export.exportScene(tmp_path / "set")
    outside = round(100 * 20 / larger.shape[0])
    assert f"{outside} % of rod lie outside scan" in done.problems["scan"][0].text


def test_modalities_of_one_case_are_found_by_name_and_written_side_by_side(export, dataFolder, tmp_path):
    image, labels, affine = realCase(dataFolder, 0)
    for person in ("Miller", "Smith"):
        for modality in ("T1", "FLAIR"):
            volume = addVolume(image + len(modality), affine, f"{person}_{modality}")
        addSegmentation(labels, affine, "lesions", SEGMENTS, volume)
    done = export.exportScene(tmp_path / "set", modalities=["FLAIR", "T1"])
    assert done.labelled == 2
    cases = [event for event in plan(done.folder) if event["event"] == "case"]
    assert [(case["name"], case["errors"]) for case in cases] == [("Miller", []), ("Smith", [])]
    assert np.array_equal(written(done.folder, "imagesTr", "Smith_0000")[0], image + 5)
    assert np.array_equal(written(done.folder, "imagesTr", "Smith_0001")[0], image + 2)

    addVolume(image[:-1], affine, "Jones FLAIR")
    addVolume(image, affine, "Jones T1")
    addVolume(image, affine, "Moore T1")
    with pytest.raises(export.SceneExportError) as caught:
        export.exportScene(tmp_path / "other", modalities=["FLAIR", "T1"])
    problems = {name: found[0].text for name, found in caught.value.problems.items()}
    assert "different voxels" in problems["Jones"]
    assert "no volume for FLAIR" in problems["Moore"]


def test_a_folder_that_holds_something_is_never_overwritten(export, dataFolder, tmp_path):
    image, _, affine = realCase(dataFolder, 0)
    addVolume(image, affine, "a")
    addVolume(image, affine, "a")  # names of cases are made unique
    done = export.exportScene(tmp_path / "set")
    assert sorted(path.name for path in (done.folder / "imagesTr").iterdir()) == ["a-2.nii.gz", "a.nii.gz"]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="exists already"):
        export.exportScene(tmp_path / "set")
    with pytest.raises(export.SceneExportCancelled):
        export.exportScene(tmp_path / "stopped", onProgress=lambda done, of: done < 1)
    with pytest.raises(OSError, match="cannot be"):
        export.exportScene(done.folder / "dataset.json" / "under a file")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_scene_is_left_as_it_was(export, slicer, dataFolder, tmp_path):
    image, labels, affine = realCase(dataFolder, 0)
    volume = addVolume(image, affine, "scan")
    addSegmentation(labels, affine, "labels", SEGMENTS, volume)
    nodes = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    export.exportScene(tmp_path / "set")
    assert {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")} == nodes
    assert volume.GetStorageNode() is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Fall ä 1", "Fall_a_1"),
        ("患者 3", "患者_3"),
        ("Пациент/4", "Пациент_4"),
        ("straße.2", "straße.2"),
        ("con", "con_"),
        ("../..", "case"),
    ],
)
def test_file_names_keep_what_tells_cases_apart(export, name, file):
    from TopoMAETrainLib.scene_names import fileName

    assert fileName(name) == file
    assert len(fileName("病" * 300).encode()) <= 200
