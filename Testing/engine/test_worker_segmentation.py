"""The worker segments exactly as `topomae segment` does, and a request can be cancelled at any time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from oracle_models import AFFINES, make_plan
from worker_process import FINAL, WorkerProcess, volume_file

import topomae
from topomae.models.folder import save_model
from topomae.networks.factory import NetworkSpec, build_segmenter


def save_untrained_model(folder: Path, seed: int = 0, missing_modalities: bool = False, **changes) -> Path:
    """A model of random weights: no two volumes, and no two voxel grids, give the same labels."""
    plan = make_plan(normalization=({"kind": "robust"},) * len(changes.get("modalities", ("MRI",))), **changes)
    sizes = plan.model_dump(include={"crop_size", "patch_size", "stem_stride", "size"})
    torch.manual_seed(seed)
    spec = NetworkSpec(
        in_channels=plan.channels, out_channels=plan.classes, missing_modalities=missing_modalities, **sizes
    )
    return save_model(folder, build_segmenter(spec), spec, plan, training={}, metrics={})


SMALL = {"crop_size": (16, 16, 16), "patch_size": (8, 8, 8), "stem_stride": (2, 2, 2)}


@pytest.fixture(scope="module")
def a_model(tmp_path_factory) -> Path:
    """One modality, voxels of 2 × 2 × 3 mm, so that everything is resampled there and back."""
    folder = tmp_path_factory.mktemp("models") / "one"
    return save_untrained_model(folder, modalities=("MRI",), spacing=(2.0, 2.0, 3.0), **SMALL)


@pytest.fixture(scope="module")
def a_model_of_two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "two"
    return save_untrained_model(folder, modalities=("FLAIR", "T1"), spacing=(1.0, 1.0, 3.0), **SMALL)


@pytest.fixture(scope="module")
def a_worker():
    """One worker for all tests of this file."""
    worker = WorkerProcess()
    assert worker.read()["event"] == "ready"
    yield worker
    assert worker.end() == 0


def a_scan(shape=(22, 26, 15), seed=0, dtype=np.int16) -> np.ndarray:
    """Noise on a bright ball in front of nothing, so that there is a border to be cut."""
    centred = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    ball = (centred**2).sum(-1) < (min(shape) / 2 - 1) ** 2
    noise = np.random.default_rng(seed).integers(1, 400, shape)
    return np.where(ball, 500 + noise, 0).astype(dtype)


def as_the_command_does(model: Path, image: Path, output: Path, **options) -> np.ndarray:
    (written,) = topomae.segment(model, image, output, device="cpu", **options)
    return np.asarray(nib.load(written).dataobj)


def by_the_worker(worker, model: Path, images: list[dict], output: Path, **options) -> np.ndarray:
    result = worker.result("segment", model=model, images=images, output=output, device="cpu", **options)
    assert Path(result["labels"]) == output / "labels.npy"
    return np.load(result["labels"], allow_pickle=False)


@pytest.mark.parametrize("orientation", [*AFFINES, "oblique, left-handed"])
def test_labels_are_those_of_the_command_in_every_voxel(a_worker, a_model, an_oblique_affine, orientation, tmp_path):
    affine = AFFINES.get(orientation, an_oblique_affine)
    scan = a_scan()
    nib.save(nib.Nifti1Image(scan, affine), tmp_path / "scan.nii.gz")
    expected = as_the_command_does(a_model, tmp_path / "scan.nii.gz", tmp_path / "command")
    labels = by_the_worker(a_worker, a_model, [volume_file(tmp_path / "scan.npy", scan, affine)], tmp_path / "worker")
    assert labels.dtype == expected.dtype and len(np.unique(labels)) > 1
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, ">i4"])
def test_every_type_and_order_of_voxels_will_do(a_worker, a_model, dtype, tmp_path):
    scan = (a_scan() // 4).astype(dtype)
    nib.save(nib.Nifti1Image(scan.astype(np.float32), AFFINES["RAS"]), tmp_path / "scan.nii.gz")
    expected = as_the_command_does(a_model, tmp_path / "scan.nii.gz", tmp_path / "command")
    volume = volume_file(tmp_path / "scan.npy", np.asfortranarray(scan), AFFINES["RAS"])
    np.testing.assert_array_equal(by_the_worker(a_worker, a_model, [volume], tmp_path / "worker"), expected)


def test_mirrored_probabilities_are_those_of_the_command(a_worker, a_model, tmp_path):
    scan, affine = a_scan((40, 26, 20)), np.diag([-2, 2, 3, 1.0])  # several windows
    nib.save(nib.Nifti1Image(scan, affine), tmp_path / "scan.nii.gz")
    options = {"mirror": True, "probabilities": True}
    expected = as_the_command_does(a_model, tmp_path / "scan.nii.gz", tmp_path / "command", **options)
    volume = volume_file(tmp_path / "scan.npy", scan, affine)
    labels = by_the_worker(a_worker, a_model, [volume], tmp_path / "worker", **options)
    np.testing.assert_array_equal(labels, expected)
    probabilities = np.load(tmp_path / "worker" / "probabilities.npy")
    written = nib.load(tmp_path / "command" / "scan_probabilities.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(probabilities, np.moveaxis(written, -1, 0))
    assert probabilities.dtype == np.float32 and probabilities.shape == (3, *scan.shape)
    np.testing.assert_array_equal(np.array([0, 3, 7])[probabilities.argmax(0)], labels)


def test_a_real_volume_gets_the_labels_of_the_command(a_worker, a_model, hippocampus_dataset, tmp_path):
    path = hippocampus_dataset.cases[0].images[0]
    expected = as_the_command_does(a_model, path, tmp_path / "command")
    image = nib.load(path)
    volume = volume_file(tmp_path / "scan.npy", np.asarray(image.dataobj), image.affine)
    np.testing.assert_array_equal(by_the_worker(a_worker, a_model, [volume], tmp_path / "worker"), expected)


def test_modalities_are_put_onto_the_grid_of_the_first(a_worker, a_model_of_two, tmp_path):
    affine = AFFINES["negative determinant"]
    flair, t1 = a_scan(seed=1), a_scan(seed=2)
    for name, scan in (("p_0000", flair), ("p_0001", t1)):
        nib.save(nib.Nifti1Image(scan, affine), tmp_path / f"{name}.nii.gz")
    files = [tmp_path / "p_0000.nii.gz", tmp_path / "p_0001.nii.gz"]
    expected = as_the_command_does(a_model_of_two, [files], tmp_path / "command")
    turned = affine @ np.array([[-1, 0, 0, flair.shape[0] - 1], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    images = [
        volume_file(tmp_path / "flair.npy", flair, affine),
        volume_file(tmp_path / "t1.npy", t1[::-1].transpose(0, 2, 1), turned),
    ]
    np.testing.assert_array_equal(by_the_worker(a_worker, a_model_of_two, images, tmp_path / "worker"), expected)

    def error(images):
        return a_worker.error("segment", model=a_model_of_two, images=images, output=tmp_path / "no")["message"]

    assert "2 images (FLAIR, T1), but 1 is given" in error(images[:1])
    moved = images[1] | {"affine": (turned + np.eye(4, k=3)).tolist()}
    assert "FLAIR has" in error([images[0], moved]) and "different grids" in error([images[0], moved])
    assert not (tmp_path / "no").exists()


def test_a_modality_that_is_not_available_is_null(a_worker, a_model_of_two, tmp_path):
    model = save_untrained_model(
        tmp_path / "model", missing_modalities=True, modalities=("FLAIR", "T1"), spacing=(1.0, 1.0, 3.0), **SMALL
    )
    scan, affine = a_scan(seed=3), AFFINES["negative determinant"]
    nib.save(nib.Nifti1Image(scan, affine), tmp_path / "t1.nii.gz")
    expected = as_the_command_does(model, {"T1": tmp_path / "t1.nii.gz"}, tmp_path / "command")
    images = [None, volume_file(tmp_path / "t1.npy", scan, affine)]
    answer, before = a_worker.ask("segment", model=model, images=images, output=tmp_path / "worker", device="cpu")
    np.testing.assert_array_equal(np.load(answer["labels"]), expected)
    assert "FLAIR not available: the model looks at T1 alone" in [one.get("message") for one in before]

    def error(model, images):
        return a_worker.error("segment", model=model, images=images, output=tmp_path / "no")["message"]

    assert "there is no FLAIR" in error(a_model_of_two, images)
    assert "every modality is missing" in error(model, [None, None])
    assert not (tmp_path / "no").exists()


def test_voxels_that_are_no_numbers_are_replaced_as_by_the_command(a_worker, a_model, tmp_path):
    scan = a_scan(dtype=np.float32)
    scan[10:14, 12, 7] = np.nan
    scan[13, 15, 8] = np.inf
    nib.save(nib.Nifti1Image(scan, AFFINES["RAS"]), tmp_path / "scan.nii.gz")
    expected = as_the_command_does(a_model, tmp_path / "scan.nii.gz", tmp_path / "command")
    volume = volume_file(tmp_path / "scan.npy", scan, AFFINES["RAS"])
    answer, before = a_worker.ask("segment", model=a_model, images=[volume], output=tmp_path, device="cpu")
    np.testing.assert_array_equal(np.load(answer["labels"]), expected)
    (warning,) = [one["message"] for one in before if one["event"] == "warning"]
    assert warning.startswith("MRI: 4 NaN and 1 infinite voxels were replaced")


def test_a_volume_unlike_those_of_training_is_warned_of(a_worker, a_model, tmp_path):
    volume = volume_file(tmp_path / "scan.npy", a_scan((12, 12, 12)), np.diag([1, 1, 12, 1.0]))
    _, before = a_worker.ask("segment", model=a_model, images=[volume], output=tmp_path)
    assert any("1 × 1 × 12 mm" in one.get("message", "") for one in before)


def test_the_second_request_does_not_load_the_model_again(a_worker, tmp_path):
    model = save_untrained_model(tmp_path / "model", modalities=("MRI",), **SMALL)
    volume = volume_file(tmp_path / "scan.npy", a_scan((16, 16, 8)), AFFINES["RAS"])
    request = {"model": model, "images": [volume], "output": tmp_path, "device": "cpu"}
    results = [a_worker.result("segment", **request) for _ in range(3)]
    assert results[0]["model"] == str(model) and results[0]["device"] == "cpu"
    first, *later = (result["seconds"]["load"] for result in results)
    assert min(later) < first / 4 and min(later) < 0.1
    labels = np.load(results[0]["labels"])
    save_untrained_model(model, seed=1, modalities=("MRI",), **SMALL)  # trained again, so to speak
    assert (np.load(a_worker.result("segment", **request)["labels"]) != labels).any()
    shutil.rmtree(model)
    assert "no such model folder" in a_worker.error("segment", **request)["message"]


def test_progress_rises_to_its_end(a_worker, a_model, tmp_path):
    volume = volume_file(tmp_path / "scan.npy", a_scan((30, 30, 20)), np.diag([2, 2, 3, 1.0]))
    _, before = a_worker.ask("segment", model=a_model, images=[volume], output=tmp_path, device="cpu")
    told = [one for one in before if one["event"] == "progress"]
    assert list(dict.fromkeys(one["phase"] for one in told))[-3:] == ["load", "prepare", "segment"]
    fractions = [one["fraction"] for one in told if one["phase"] == "segment"]
    assert fractions[0] == 0 and fractions[-1] == 1 and fractions == sorted(fractions)
    assert told[-1]["seconds_left"] == 0


def test_cancel_takes_effect_at_the_next_window_and_leaves_nothing(a_worker, a_model, tmp_path):
    volume = volume_file(tmp_path / "scan.npy", a_scan((90, 90, 60)), np.diag([2, 2, 3, 1.0]))
    output = tmp_path / "out"
    number = a_worker.send("segment", model=a_model, images=[volume], output=output, mirror=True, device="cpu")
    a_worker.until(lambda answer: answer["event"] == "progress" and (answer["fraction"] or 0) > 0)
    a_worker.line(json.dumps({"do": "cancel", "request": number}))
    answer = a_worker.until(lambda answer: answer["event"] in FINAL, seconds=5)
    assert answer == {"id": number, "event": "cancelled"}
    assert not output.exists()
    small = volume_file(tmp_path / "small.npy", a_scan((20, 20, 20)))
    assert by_the_worker(a_worker, a_model, [small], output).shape == (20, 20, 20)
    assert [path.name for path in output.iterdir()] == ["labels.npy"]


def test_models_and_volumes_that_cannot_be_used_are_told(a_worker, a_model, tmp_path):
    scan = volume_file(tmp_path / "scan.npy", a_scan((16, 16, 8)))
    flat = volume_file(tmp_path / "flat.npy", np.full((16, 16, 8), 7))
    (tmp_path / "empty").mkdir()
    damaged = shutil.copytree(a_model, tmp_path / "damaged")
    (damaged / "models" / "model.safetensors").write_bytes(b"\0" * 100)
    for model, images, words in (
        (tmp_path / "nowhere", [scan], "no such model folder"),
        (tmp_path / "empty", [scan], "not a model folder"),
        (damaged, [scan], "model.safetensors"),
        (a_model, [scan, scan], "one image (MRI), but 2 are given"),
        (a_model, [flat], "constant"),
    ):
        answer = a_worker.error("segment", model=model, images=images, output=tmp_path / "out")
        assert answer["error"] == "BadDataError" and words in answer["message"] and answer["hint"]
    assert (
        str(tmp_path / "nowhere")
        in a_worker.error("segment", model=tmp_path / "nowhere", images=[scan], output=tmp_path)["message"]
    )
    if not torch.cuda.is_available():
        answer = a_worker.error("segment", model=a_model, images=[scan], output=tmp_path, device="cuda")
        assert answer["error"] == "BadSettingError" and "CUDA" in answer["message"]
    assert not (tmp_path / "out").exists()


def test_it_tells_what_it_computes_with(a_worker):
    result = a_worker.result("hello")
    assert result["engine"] == topomae.__version__ and result["versions"]["torch"] == torch.__version__
    assert result["device"] == result["devices"][-1] and result["devices"][0] == "cpu"
