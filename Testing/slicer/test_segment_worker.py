"""End to end: the button, the real worker, real volumes; every voxel as the command `topomae segment` makes it."""

from __future__ import annotations

import numpy as np
import pytest

import harness
from segment_helpers import leftovers, segmentArray
from segment_models import enginePython, runEngine

pytest_plugins = ("segment_fixtures",)

SECONDS = 300  # the engine's first start on a busy machine
OBLIQUE = np.array(
    [[-0.93, 0.26, 0.25, 31.5], [0.20, 0.95, -0.24, -42.25], [-0.30, -0.17, 0.94, 7.125], [0, 0, 0, 1.0]]
)
OBLIQUE[:3, :3] = np.linalg.qr(OBLIQUE[:3, :3])[0] @ np.diag([0.93, 1.1, 1.27])
MIRRORED = np.diag([-1.0, 1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def inputs(dataFolder, tmp_path_factory) -> dict:
    """Name and path of each input: a volume as it is, with other affines, and a DICOM series."""
    nib = pytest.importorskip("nibabel")
    folder = tmp_path_factory.mktemp("inputs")
    files = sorted((dataFolder / "hippocampus" / "imagesTr").glob("hippocampus_*.nii.gz"))
    series = dataFolder / "dicom_ok" / "study3" / "HippoCrop"
    if not files or not series.is_dir():
        pytest.skip("the hippocampus volumes or the DICOM series are not there")
    image = nib.load(files[0])
    found = {"as it is": folder / "plain.nii.gz", "DICOM series": series}
    nib.save(image, found["as it is"])
    for name, affine in (("oblique", OBLIQUE), ("negative determinant", MIRRORED)):
        found[name] = folder / f"{name.replace(' ', '_')}.nii.gz"
        assert name == "oblique" or np.linalg.det(affine) < 0
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(np.int16), affine), found[name])
    return found


@pytest.fixture(scope="module")
def expected(inputs, untrainedModel, tmp_path_factory) -> dict:
    """Name and label map of each input, by the command."""
    import nibabel as nib

    output = tmp_path_factory.mktemp("expected")
    given = [part for path in inputs.values() for part in ("--input", str(path))]
    command = ["-m", "topomae", "segment", "--model", str(untrainedModel), "--output", str(output), "--device", "cpu"]
    runEngine([*command, *given])
    names = {name: path.name.split(".")[0] for name, path in inputs.items()}
    return {name: nib.load(output / f"{stem}.nii.gz") for name, stem in names.items()}


@pytest.fixture(scope="module")
def workersPython(slicer):
    """The worker's Python is this one, unless another is named; the worker stays warm for the tests of this file."""
    from TopoMAELib.worker_client import stopSharedWorker

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPOMAE_PYTHON", enginePython())
        yield
        stopSharedWorker()


@pytest.fixture
def widget(scene, slicer, untrainedModel, workersPython):
    """The module as the user opens it, with the model on its list."""
    from TopoMAELib.model_folders import ModelList

    ModelList().add(untrainedModel)
    yield harness.load("TopoMAESegment")
    harness.unload("TopoMAESegment")


def load(slicer, path):
    """A volume file, or a DICOM series as Slicer's DICOM module hands its sorted files to the reader."""
    if not path.is_dir():
        return slicer.util.loadVolume(str(path), {})
    sitk = pytest.importorskip("SimpleITK")
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(files[0])
    storage.ResetFileNameList()
    for file in files:
        storage.AddFileName(file)
    storage.SetSingleFile(False)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.name)
    assert storage.ReadData(node)
    node.CreateDefaultDisplayNodes()
    return node


def test_the_button_gives_the_voxels_of_the_command(widget, slicer, inputs, expected):
    for name, path in inputs.items():
        volume = load(slicer, path)
        widget.content.inputPanel._selectors[0].setCurrentNode(volume)
        assert widget.segmentContext.volumeNodes() == [volume]
        assert harness.pump(lambda: widget.ui.segmentButton.enabled, SECONDS), widget.ui.statusLabel.text
        widget.ui.segmentButton.click()
        assert harness.pump(lambda: not widget.content.segmentPanel.running, SECONDS)
        assert widget.ui.statusLabel.text.startswith("Done in"), widget.ui.statusLabel.text
        segmentation = widget.segmentContext.segmentationNode()
        labels = onTheVoxelsOf(volume, expected[name])
        for value, segmentName in ((1, "Anterior"), (2, "Left kidney")):
            segmentID = segmentation.GetSegmentation().GetSegmentIdBySegmentName(segmentName)
            found = segmentArray(slicer, segmentation, segmentID, volume)
            assert found.any()
            assert np.array_equal(found, labels == value), (
                f"{name}: {(found != (labels == value)).sum()} voxels differ"
            )
    assert leftovers(slicer) == []


def onTheVoxelsOf(volume, image) -> np.ndarray:
    """The label map of a file in the voxel order of a volume: Slicer turns an axis of what is left-handed."""
    from TopoMAELib.volumes import volumeAffine

    labels = np.asarray(image.dataobj)
    directions = (image.affine[:3, :3] * volumeAffine(volume)[:3, :3]).sum(0)
    return np.flip(labels, [axis for axis in range(3) if directions[axis] < 0])


def test_a_script_gets_segments_and_probabilities_without_a_widget(
    scene, slicer, inputs, untrainedModel, workersPython
):
    import TopoMAESegment
    from TopoMAESegmentLib.probabilities import probabilityNode

    logic = TopoMAESegment.TopoMAESegmentLogic()
    volume = load(slicer, inputs["oblique"])
    told = []
    node = logic.segment(
        volume, untrainedModel, "cpu", probabilities=True, waitForCompletion=True, onProgress=lambda *a: told.append(a)
    )
    assert any(fraction == 1.0 for fraction, _, _ in told)
    likeliest = [slicer.util.arrayFromVolume(probabilityNode(node, f"Label_{value}")).T for value in (1, 2)]
    both = np.stack([1 - sum(likeliest), *likeliest]).argmax(0)
    for value in (1, 2):
        found = segmentArray(slicer, node, f"Label_{value}", volume)
        assert (found == (both == value)).mean() > 0.9999  # equal but for ties in the last digit
    assert leftovers(slicer) == []


def test_a_damaged_model_is_told_in_words_and_the_next_run_works(
    scene, slicer, inputs, untrainedModel, workersPython, tmp_path
):
    import shutil

    import TopoMAESegment

    logic = TopoMAESegment.TopoMAESegmentLogic()
    damaged = shutil.copytree(untrainedModel, tmp_path / "damaged")
    (damaged / "models" / "model.safetensors").write_bytes(b"nothing")
    volume = load(slicer, inputs["as it is"])
    with pytest.raises(RuntimeError, match=r"model\.safetensors"):
        logic.segment(volume, damaged, "cpu", waitForCompletion=True)
    assert logic.segment(volume, untrainedModel, "cpu", waitForCompletion=True) is not None
