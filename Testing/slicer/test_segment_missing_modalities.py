"""Models that do without some of their images: what may be left out, and what the worker is told."""

from __future__ import annotations

import numpy as np
import pytest

from segment_helpers import (
    FRAMES,
    MIRRORED,
    OBLIQUE,
    TWO_IMAGES,
    greyVoxels,
    labelsOf,
    run,
    segmentArray,
)
from segment_models import enginePython, makeModel, runEngine

pytest_plugins = ("segment_fixtures",)

DOES_WITHOUT = {"missing_modalities": True}


@pytest.fixture
def lenientCard(makeCardFolder, slicer):
    """A model of T1 and FLAIR that does without one of them."""
    from TopoMAELib.model_folders import ModelCard

    return ModelCard.read(makeCardFolder("lenient", plan=TWO_IMAGES, network=DOES_WITHOUT))


@pytest.fixture
def strictCard(makeCardFolder, slicer):
    """A model of T1 and FLAIR that needs both."""
    from TopoMAELib.model_folders import ModelCard

    return ModelCard.read(makeCardFolder("strict", plan=TWO_IMAGES))


def givenTo(client) -> list[list[bool]]:
    """Per request, which images the worker was given."""
    return [[image is not None for image in request.arguments["images"]] for request in client.requests]


def test_an_image_may_be_not_available_but_not_all_of_them(scene, slicer, makePanel, lenientCard, client):
    from TopoMAELib.model_folders import ModelList
    from TopoMAELib.volumes import addVolume

    ModelList().add(lenientCard.folder)
    t1, flair = (addVolume(greyVoxels(offset=n), OBLIQUE, name) for n, name in enumerate(("p1 T1", "p1 FLAIR")))
    panel = makePanel()
    panel.enter()
    assert panel.context.volumeOfEachModality() == [t1, flair]
    assert "Does without some of its images." in panel.ui.modelLabel.text
    first, second = panel.inputPanel._selectors
    assert [selector.noneDisplay for selector in (first, second)] == ["Not available"] * 2
    first.setCurrentNode(None)
    assert panel.ui.misfitLabel.text == "Warning: T1 not available: the model looks at FLAIR alone."
    assert panel.ui.segmentButton.enabled and panel.ui.statusLabel.text == ""
    second.setCurrentNode(None)
    assert panel.ui.statusLabel.text == "Choose a volume for at least one of T1, FLAIR."
    assert not panel.ui.segmentButton.enabled
    second.setCurrentNode(flair)
    node = run(panel)
    assert givenTo(client) == [[False, True]]
    assert np.array_equal(
        segmentArray(slicer, node, "Label_4", flair),
        labelsOf(greyVoxels(offset=1)) == 4,
    )


def test_a_model_that_needs_all_images_still_asks_for_them(scene, makePanel, lenientCard, strictCard):
    """The words of the selectors follow the model."""
    from TopoMAELib.model_folders import ModelList

    for card in (lenientCard, strictCard):
        ModelList().add(card.folder)
    panel = makePanel()
    panel.enter()
    said = []
    for row in range(2):
        panel.ui.modelTable.selectRow(row)
        said.append((panel.inputPanel._selectors[0].noneDisplay, panel.ui.statusLabel.text))
    assert sorted(said) == [
        ("Choose a volume", "Choose a volume for T1, FLAIR."),
        ("Not available", "Choose a volume for at least one of T1, FLAIR."),
    ]


def test_scripts_leave_out_an_image_with_none(logic, client, lenientCard, strictCard, aVolume):
    from TopoMAELib.volumes import VolumeError

    node = logic.segment([None, aVolume], lenientCard, waitForCompletion=True)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) == aVolume
    assert givenTo(client) == [[False, True]]
    for nodes, card in (([None, aVolume], strictCard), ([None, None], lenientCard), ([aVolume], lenientCard)):
        with pytest.raises(VolumeError, match=r"needs 2 volumes \(T1, FLAIR\)"):
            logic.segment(nodes, card)


def test_the_same_volume_shown_as_another_image_is_another_choice(scene, makePanel, lenientCard, client):
    """A segmentation made of a volume as FLAIR is not offered to be overwritten before the choice is seen as new."""
    from TopoMAELib.model_folders import ModelList
    from TopoMAELib.volumes import addVolume

    ModelList().add(lenientCard.folder)
    volume = addVolume(greyVoxels(), OBLIQUE, "scan")
    panel = makePanel()
    panel.enter()
    first, second = panel.inputPanel._selectors
    second.setCurrentNode(volume)
    run(panel)
    assert panel.ui.statusLabel.text.startswith("Done")
    second.setCurrentNode(None)
    first.setCurrentNode(volume)
    assert panel.ui.statusLabel.text == ""
    run(panel)
    assert givenTo(client) == [[False, True], [True, False]]


def test_a_sequence_may_lack_an_image(logic, client, aBrowser, lenientCard, slicer):
    shown = aBrowser.GetProxyNode(aBrowser.GetMasterSequenceNode())
    node = logic.segmentSequence(aBrowser, lenientCard, [None, shown], waitForCompletion=True)
    assert givenTo(client) == [[False, True]] * FRAMES
    aBrowser.SetSelectedItemNumber(2)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(aBrowser)
    assert np.array_equal(segmentArray(slicer, node, "Label_4", shown), labelsOf(greyVoxels(offset=2)) == 4)


def test_folders_of_the_hierarchy_may_lack_volumes_if_names_tell_which(logic, client, scene, slicer, lenientCard):
    from TopoMAELib.volumes import addVolume

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patients = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "patients")
    for patient, names in (("p1", ("x FLAIR", "x T1")), ("p2", ("y flair",)), ("p3", ("alone",))):
        folder = hierarchy.CreateFolderItem(patients, patient)
        for name in names:
            volume = addVolume(greyVoxels(), MIRRORED, name)
            hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), folder)
    task = logic.segmentItem(patients, lenientCard)
    task.wait()
    assert [node.GetName() for node in task.value] == ["x T1 segmentation", "y flair segmentation"]
    assert givenTo(client) == [[True, True], [False, True]]
    assert "p3: the names of its volumes do not tell which of T1, FLAIR they are." in task.warnings


def test_files_on_the_disk_may_be_missing(logic, client, lenientCard, strictCard, scene, slicer, tmp_path):
    from TopoMAELib.volumes import addVolume

    (tmp_path / "in").mkdir()
    for name in ("ann_0000", "ann_0001", "ben_0001", "cleo_0007"):
        node = addVolume(greyVoxels(), MIRRORED, name)
        assert slicer.util.saveNode(node, str(tmp_path / "in" / f"{name}.nrrd"), {})
    scene.Clear(0)
    before = scene.GetNumberOfNodesByClass("vtkMRMLStorableNode")
    files = logic.segmentFolder(tmp_path / "in", lenientCard, tmp_path / "out", waitForCompletion=True)
    assert [path.name for path in files] == ["ann.seg.nrrd", "ben.seg.nrrd"]
    assert givenTo(client) == [[True, True], [False, True]]
    assert scene.GetNumberOfNodesByClass("vtkMRMLStorableNode") == before
    files = logic.segmentFolder(tmp_path / "in", strictCard, tmp_path / "other", waitForCompletion=True)
    assert [path.name for path in files] == ["ann.seg.nrrd"]


def test_the_engine_is_told_what_is_missing_and_says_so(scene, slicer, monkeypatch, tmp_path):
    """End to end: the real worker, as the command segments the same image by its name."""
    nib = pytest.importorskip("nibabel")
    from TopoMAELib.volumes import addVolume
    from TopoMAELib.worker_client import stopSharedWorker
    from TopoMAESegmentLib.module_logic import ModuleLogic

    project = tmp_path / "Mein Projekt ü"
    model = makeModel(project / "Modell 1", **TWO_IMAGES)
    voxels = np.random.default_rng(0).integers(0, 900, (24, 28, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, MIRRORED), project / "Fall ä 1.nii.gz")
    command = ["-m", "topomae", "segment", "--model", str(model), "--image", f"flair={project / 'Fall ä 1.nii.gz'}"]
    runEngine([*command, "--output", str(project / "expected.nii.gz"), "--device", "cpu"])
    monkeypatch.setenv("TOPOMAE_PYTHON", enginePython())
    volume = addVolume(voxels, MIRRORED, "Fall ä 1")
    try:
        task = ModuleLogic().segment([None, volume], model, device="cpu")
        node = task.wait()
    finally:
        stopSharedWorker()
    assert "T1 not available: the model looks at FLAIR alone" in task.warnings
    expected = np.asarray(nib.load(project / "expected.nii.gz").dataobj)
    segmentation = node.GetSegmentation()
    for value, name in ((1, "Anterior"), (2, "Left kidney")):
        array = segmentArray(slicer, node, segmentation.GetSegmentIdBySegmentName(name), volume)
        assert np.array_equal(array, expected == value)
