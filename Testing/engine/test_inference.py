"""Segmentation: results lie exactly on their inputs, whatever those are; nothing given is harmed.

Networks here are oracles: they label by intensity, so that the right answer is known in every voxel.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from oracle_models import (
    AFFINES,
    Brighter,
    ByIntensity,
    Collector,
    make_model,
    make_plan,
    right_answer,
    save_volume,
)

from topomae.data.cases import Case
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.events import Events
from topomae.inference.segmentation import segment
from topomae.models.folder import Model
from topomae.networks.factory import NetworkSpec, build_segmenter


@pytest.fixture
def an_oracle() -> Model:
    """Background below 0 HU, 3 from 0 to 200 HU, 7 above."""
    return make_model(ByIntensity(-1.0, 1.0, 3.0), make_plan())


@pytest.mark.parametrize("orientation", [*AFFINES, "oblique, left-handed"])
def test_a_segmentation_lies_voxel_by_voxel_on_its_image(an_oracle, an_oblique_affine, orientation, tmp_path):
    affine = AFFINES.get(orientation, an_oblique_affine)
    spacing = nib.affines.voxel_sizes(affine)
    axes = nib.io_orientation(affine)[:, 0].astype(int)
    model = replace(an_oracle, plan=make_plan(spacing=tuple(spacing[np.argsort(axes)])))
    hu = save_volume(tmp_path / "scan.nii.gz", affine)
    written = segment(model, tmp_path / "scan.nii.gz", tmp_path / "out" / "labels.nii.gz", device="cpu")
    assert written == [tmp_path / "out" / "labels.nii.gz"]
    given, result = nib.load(tmp_path / "scan.nii.gz"), nib.load(written[0])
    assert result.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(result.dataobj), right_answer(hu))
    np.testing.assert_array_equal(result.affine, given.affine)
    one, other = sitk.ReadImage(tmp_path / "scan.nii.gz"), sitk.ReadImage(written[0])  # another reader
    for get in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(one, get)(), getattr(other, get)(), atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 6, 7), (16, 16, 8), (40, 9, 31), (17, 33, 2)])
def test_any_size_is_segmented_also_smaller_than_the_window(an_oracle, shape, tmp_path):
    hu = save_volume(tmp_path / "scan.nii.gz", AFFINES["RAS"], shape)
    image, out = tmp_path / "scan.nii.gz", tmp_path / "out"
    written = segment(an_oracle, image, out, device="cpu", overlap=0.3, batch=3)
    np.testing.assert_array_equal(np.asarray(nib.load(written[0]).dataobj), right_answer(hu))


def test_resampling_there_and_back_keeps_surfaces_in_place(an_oracle, an_oblique_affine, tmp_path):
    """A plane through an image of another spacing: the label changes exactly where the plane is."""
    shape = (30, 24, 14)
    places = nib.affines.apply_affine(an_oblique_affine, np.moveaxis(np.indices(shape), 0, -1))
    distance = (places - places.reshape(-1, 3).mean(0)) @ np.array([0.6, -0.64, 0.48])  # mm, unit normal
    nib.save(nib.Nifti1Image((10 * distance).astype(np.float32), an_oblique_affine), tmp_path / "plane.nii.gz")
    model = replace(an_oracle, plan=make_plan(spacing=(1.1, 0.8, 2.2), labels={1: "above"}))
    model = replace(model, network=ByIntensity(-1.0, 1.0).eval())
    (written,) = segment(model, tmp_path / "plane.nii.gz", tmp_path / "out", device="cpu")
    labels = np.asarray(nib.load(written).dataobj)
    inside = np.zeros(shape, bool)
    inside[2:-2, 2:-2, 1:-1] = True  # at the border there is nothing to interpolate between
    inside &= np.abs(distance) > 0.02
    np.testing.assert_array_equal(labels[inside], (distance > 0)[inside])
    assert np.mean(labels == (distance > 0)) > 0.99


def two_modalities() -> Model:
    plan = make_plan(modalities=("FLAIR", "T1"), labels={1: "brighter in T1"})
    return make_model(Brighter(), plan)


@pytest.fixture
def a_pair(tmp_path) -> tuple[Path, Path, np.ndarray]:
    """Two modalities on one grid, and the right answer."""
    flair, t1 = tmp_path / "in" / "p1_0000.nii.gz", tmp_path / "in" / "p1_0001.nii.gz"
    flair.parent.mkdir()
    first = save_volume(flair, AFFINES["RAS"], seed=1)
    second = save_volume(t1, AFFINES["RAS"], seed=2)
    return flair, t1, (second > first).astype(np.uint8)


def test_modalities_are_joined_from_every_layout(a_pair, tmp_path):
    flair, t1, expected = a_pair
    both = np.stack([nib.load(path).get_fdata() for path in (flair, t1)], axis=-1)
    nib.save(nib.Nifti1Image(both.astype(np.float32), AFFINES["RAS"]), tmp_path / "four.nii.gz")
    renamed = [shutil.copy(flair, tmp_path / "a.nii.gz"), shutil.copy(t1, tmp_path / "b.nii.gz")]
    layouts = {
        "numbered files in a folder": (flair.parent, "p1"),
        "a list of the modalities": (renamed, "a"),
        "a list of lists": ([[flair, t1]], "p1"),
        "a list of numbered files": ([t1, flair], "p1"),
        "a 4-D file": (tmp_path / "four.nii.gz", "four"),
        "a case": (Case("mine", (flair, t1)), "mine"),
    }
    for told, (inputs, name) in layouts.items():
        written = segment(two_modalities(), inputs, tmp_path / "out", device="cpu")
        assert [path.name for path in written] == [f"{name}.nii.gz"], told
        np.testing.assert_array_equal(np.asarray(nib.load(written[0]).dataobj), expected, err_msg=told)
        written[0].unlink()


def test_a_data_set_with_the_modalities_in_another_order_is_put_in_order(a_pair, tmp_path):
    flair, t1, expected = a_pair
    (tmp_path / "set/imagesTr").mkdir(parents=True)
    shutil.copy(t1, tmp_path / "set/imagesTr/p1_0000.nii.gz")
    shutil.copy(flair, tmp_path / "set/imagesTr/p1_0001.nii.gz")
    description = {"modality": {"0": "t1", "1": "Flair"}, "labels": {"0": "background"}}
    (tmp_path / "set/dataset.json").write_text(json.dumps(description))
    (written,) = segment(two_modalities(), tmp_path / "set", tmp_path / "out", device="cpu")
    np.testing.assert_array_equal(np.asarray(nib.load(written).dataobj), expected)


def test_missing_modalities_are_named(a_pair, an_oracle, tmp_path):
    flair, t1, _ = a_pair
    with pytest.raises(BadDataError, match=r"2 images \(FLAIR, T1\).* has 1 channel") as refused:
        segment(two_modalities(), flair, tmp_path / "out", device="cpu")
    assert refused.value.path == flair and refused.value.case == "p1_0000"
    with pytest.raises(BadDataError, match=r"one image \(CT\).* has 1 \+ 1 channels"):
        segment(an_oracle, [[flair, t1]], tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_one_bad_file_does_not_stop_the_others(an_oracle, tmp_path):
    images = tmp_path / "in"
    images.mkdir()
    for name in ("a", "c"):
        save_volume(images / f"{name}.nii.gz", AFFINES["RAS"])
    content = bytearray((images / "a.nii.gz").read_bytes())
    content[len(content) // 2] ^= 1
    (images / "b.nii.gz").write_bytes(content)
    (images / "d.nii.gz").write_bytes(gzip.compress(b"no volume"))
    seen = Collector()
    with pytest.raises(RunError, match="2 of 4 cases could not be segmented: b, d"):
        segment(an_oracle, images, tmp_path / "out", device="cpu", events=Events(seen))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.nii.gz", "c.nii.gz"]
    assert [event["case"] for event in seen.of("error")] == ["b", "d", ""]
    assert [event["status"] for event in seen.of("end")] == ["failed"]


def test_progress_device_and_end_are_told(an_oracle, tmp_path):
    save_volume(tmp_path / "scan.nii.gz", AFFINES["RAS"])
    seen = Collector()
    segment(an_oracle, tmp_path / "scan.nii.gz", tmp_path / "out", device="cpu", events=Events(seen))
    assert "CPU" in seen.of("start")[0]["device"]
    last = seen.of("progress")[-1]
    assert last["phase"] == "segment" and last["step"] == last["of"] > 1 and last["seconds_left"] == 0
    assert [event["status"] for event in seen.of("end")] == ["ok"]
    assert not seen.of("warning") and not seen.of("error")


def test_images_unlike_the_training_images_are_told(tmp_path):
    positive = np.random.default_rng(0).integers(0, 900, (20, 20, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(positive, np.diag([1, 1, 1, 1])), tmp_path / "mr.nii.gz")
    save_volume(tmp_path / "thick.nii.gz", np.diag([1, 1, 12, 1]))
    ct = make_model(ByIntensity(0.0, 1.0, 2.0), make_plan(spacing=(1, 1, 1)))
    for name, words in (("mr", "Hounsfield"), ("thick", "1 × 1 × 12 mm")):
        seen = Collector()
        segment(ct, tmp_path / f"{name}.nii.gz", tmp_path / "out", device="cpu", events=Events(seen))
        (warning,) = seen.of("warning")
        assert words in warning["message"] and warning["case"] == name


def test_a_result_without_any_label_is_written_and_told(an_oracle, tmp_path):
    images = tmp_path / "in"
    images.mkdir()
    hu = save_volume(images / "full.nii.gz", AFFINES["RAS"])
    nib.save(nib.Nifti1Image(-1 - abs(hu), AFFINES["RAS"]), images / "empty.nii.gz")
    seen = Collector()
    empty, full = segment(an_oracle, images, tmp_path / "out", device="cpu", events=Events(seen))
    assert not np.asarray(nib.load(empty).dataobj).any() and np.asarray(nib.load(full).dataobj).any()
    (warning,) = seen.of("warning")
    assert "nothing was found" in warning["message"] and warning["case"] == "empty"


def test_nothing_that_was_given_is_overwritten(an_oracle, tmp_path):
    image = tmp_path / "in" / "scan.nii.gz"
    label = tmp_path / "labels" / "scan.nii.gz"
    for path in (image, label):
        path.parent.mkdir()
        save_volume(path, AFFINES["RAS"])
    os.link(image, tmp_path / "same.nii.gz")
    (tmp_path / "notes.txt").write_text("kept")
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "slice.dcm").touch()
    case = Case("scan", (image,), label)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refusals = {
        "overwrite an input": [(image, image), (image, image.parent), (case, label.parent)],
        "would overwrite": [(image, tmp_path / "same.nii.gz")],
        "is a file, not a folder": [(image, tmp_path / "notes.txt")],
        "cannot go into one file": [([image, label], tmp_path / "both.nii.gz")],
        "not written in this format": [(image, tmp_path / "scan.mha"), (image, tmp_path / "scan.nhdr")],
        "written to the same file": [([image, label], tmp_path / "out")],
        "DICOM series": [(tmp_path / "slices", tmp_path / "slices")],
    }
    for words, calls in refusals.items():
        for inputs, output in calls:
            with pytest.raises(BadSettingError, match=words):
                segment(an_oracle, inputs, output, device="cpu")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["../evil", "..", "a/b", "a\\b", "", "/tmp/evil", "nul\0byte"])
def test_a_case_name_cannot_lead_out_of_the_output_folder(an_oracle, name, tmp_path):
    save_volume(tmp_path / "scan.nii.gz", AFFINES["RAS"])
    with pytest.raises(BadDataError, match="cannot be a file name"):
        segment(an_oracle, Case(name, (tmp_path / "scan.nii.gz",)), tmp_path / "out", device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_bad_calls_are_refused_before_any_work(an_oracle, tmp_path):
    (tmp_path / "empty").mkdir()
    save_volume(tmp_path / "scan.nii.gz", AFFINES["RAS"])
    out = tmp_path / "out"
    for inputs, words in (
        (tmp_path / "nowhere.nii.gz", "no such file"),
        (tmp_path / "empty", "no images"),
        ([], "nothing to segment"),
    ):
        with pytest.raises(BadDataError, match=words):
            segment(an_oracle, inputs, out, device="cpu")
    for wrong in ({"overlap": 1.0}, {"overlap": -0.1}, {"batch": 0}, {"device": "tpu"}):
        with pytest.raises(BadSettingError):
            segment(an_oracle, tmp_path / "scan.nii.gz", out, **({"device": "cpu"} | wrong))
    with pytest.raises(BadDataError, match="not a model folder"):
        segment(tmp_path / "empty", tmp_path / "scan.nii.gz", out, device="cpu")
    assert not out.exists()


def test_too_little_gpu_memory_is_met_by_smaller_steps_once(an_oracle, tmp_path):
    class Greedy(ByIntensity):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            if len(image) > 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().forward(image)

    class Insatiable(ByIntensity):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    hu = save_volume(tmp_path / "scan.nii.gz", AFFINES["RAS"])
    seen, image = Collector(), tmp_path / "scan.nii.gz"
    model = replace(an_oracle, network=Greedy(-1.0, 1.0, 3.0))
    (written,) = segment(model, image, tmp_path / "out", device="cpu", batch=4, events=Events(seen))
    np.testing.assert_array_equal(np.asarray(nib.load(written).dataobj), right_answer(hu))
    assert "memory" in seen.of("warning")[0]["message"]
    assert seen.of("progress")[-1]["step"] == seen.of("progress")[-1]["of"]
    model = replace(an_oracle, network=Insatiable(-1.0, 1.0, 3.0))
    with pytest.raises(RunError, match="not enough memory"):
        segment(model, image, tmp_path / "other", device="cpu", batch=4)


def test_scores_that_are_no_numbers_are_not_written(an_oracle, tmp_path):
    save_volume(tmp_path / "scan.nii.gz", AFFINES["RAS"])
    model = replace(an_oracle, network=ByIntensity(-1.0, float("nan"), 3.0))
    with pytest.raises(RunError, match="not finite"):
        segment(model, tmp_path / "scan.nii.gz", tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def an_untrained_model() -> Model:
    plan = make_plan(
        modalities=("MRI",),
        normalization=({"kind": "robust"},),
        spacing=(2.0, 2.0, 3.0),
        crop_size=(32, 32, 16),
        patch_size=(8, 8, 8),
        stem_stride=(4, 4, 2),
    )
    sizes = plan.model_dump(include={"crop_size", "patch_size", "stem_stride", "size"})
    torch.manual_seed(0)
    return make_model(build_segmenter(NetworkSpec(in_channels=1, out_channels=3, **sizes)), plan)


def test_a_real_volume_is_segmented_on_its_own_grid(an_untrained_model, hippocampus_dataset, tmp_path):
    image = hippocampus_dataset.cases[0].images[0]
    (written,) = segment(an_untrained_model, image, tmp_path, device="cpu", mirror=True)
    given, result = nib.load(image), nib.load(written)
    assert written.name == image.name and result.shape == given.shape
    np.testing.assert_allclose(result.affine, given.affine, atol=1e-6)
    assert set(np.unique(np.asarray(result.dataobj))) <= {0, 3, 7}


def test_dicom_series_are_segmented_in_the_scanner_space(an_untrained_model, data_folder, tmp_path):
    folder = data_folder / "dicom_ok" / "study3"
    if not folder.is_dir():
        pytest.skip(f"no folder 'dicom_ok' in {data_folder}")
    expected = json.loads((folder.parent / "expected.json").read_text(encoding="utf-8"))
    model = replace(an_untrained_model, plan=an_untrained_model.plan.model_copy(update={"spacing": (4, 4, 6)}))
    (written,) = segment(model, folder / "T1post", tmp_path / "one", device="cpu", overlap=0.0)
    assert written == tmp_path / "one" / "T1post.nii.gz"
    result = nib.load(written)
    assert list(result.shape) == expected["T1post"]["shape_xyz"]
    np.testing.assert_allclose(result.affine, expected["T1post"]["affine_ras"], atol=1e-3)
    (tmp_path / "study").mkdir()
    for name in ("HippoCrop", "T1pre"):
        shutil.copytree(folder / name, tmp_path / "study" / name)
    written = segment(model, tmp_path / "study", tmp_path / "all", device="cpu", overlap=0.0)
    assert [path.name for path in written] == ["HippoCrop.nii.gz", "T1pre.nii.gz"]
