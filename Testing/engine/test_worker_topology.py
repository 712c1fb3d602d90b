"""What the worker says about topology and key points is what the engine's own functions say."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle_models import make_plan
from worker_process import FINAL, WorkerProcess, volume_file

from topomae.data.preprocessing import preprocess
from topomae.data.volume import Volume
from topomae.models.pretrained import save_pretrained
from topomae.networks.co_pretrainer import voxel_mask
from topomae.networks.factory import NetworkSpec, build_co_pretrainer
from topomae.topology.persistence import persistence
from topomae.topology.reading import feature_voxels, features
from topomae.topology.wasserstein import wasserstein
from topomae.training.previews import Preview
from topomae.worker.betti import find_features


@pytest.fixture(scope="module")
def a_worker():
    """One worker for all tests of this file."""
    worker = WorkerProcess()
    assert worker.read()["event"] == "ready"
    yield worker
    assert worker.end() == 0


@pytest.fixture(scope="module")
def an_image() -> np.ndarray:
    """Smooth noise: some hundred features of every dimension."""
    noise = np.random.default_rng(3).random((20, 17, 14))
    return (1000 * (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 2))).astype(np.int16)


def place(voxels, affine) -> np.ndarray:
    return np.asarray(voxels) @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("superlevel", [False, True])
def test_a_diagram_has_the_features_voxels_and_positions_of_the_engine(
    a_worker, an_image, an_oblique_affine, superlevel, tmp_path
):
    volume = volume_file(tmp_path / "image.npy", an_image, an_oblique_affine)
    result = a_worker.result("persistence", image=volume, superlevel=superlevel, count=100, output=tmp_path)
    diagram = persistence(-an_image.astype(np.float32) if superlevel else an_image)
    expected = features(diagram, an_oblique_affine, count=100, superlevel=superlevel)
    with np.load(result["diagram"], allow_pickle=False) as arrays:
        for name, values in arrays.items():
            np.testing.assert_array_equal(values, [getattr(one, name) for one in expected], err_msg=name)
        lasting = np.abs(arrays["death"] - arrays["birth"])
        assert (np.diff(lasting) <= 0).all() and ((arrays["birth"] > arrays["death"]) == superlevel).all()
    assert result["features"] == {str(dim): len(diagram.values[dim]) for dim in range(3)}
    assert (result["shown"], result["superlevel"]) == (100, superlevel)
    essential = result["essential"]
    assert essential["value"] == (an_image.max() if superlevel else an_image.min())
    assert an_image[tuple(essential["voxel"])] == essential["value"]
    np.testing.assert_allclose(essential["position"], place(essential["voxel"], an_oblique_affine))


def test_a_feature_is_shown_as_long_as_its_diagram_is_remembered(a_worker, an_image, an_oblique_affine, tmp_path):
    volume = volume_file(tmp_path / "image.npy", an_image, an_oblique_affine)
    dark = a_worker.result("persistence", image=volume, output=tmp_path)["handle"]
    bright = a_worker.result("persistence", image=volume, superlevel=True, output=tmp_path)["handle"]
    for handle, values in ((dark, an_image), (bright, -an_image)):
        diagram = persistence(values)
        for dim in range(3):
            result = a_worker.result("feature", handle=handle, dim=dim, index=4, output=tmp_path)
            mask = np.load(result["mask"], allow_pickle=False)
            assert mask.dtype == np.uint8 and result["voxels"] == mask.sum() > 0
            np.testing.assert_array_equal(mask, feature_voxels(values, diagram, dim, 4))
            np.testing.assert_array_equal(result["affine"], an_oblique_affine)
    error = a_worker.error("feature", handle=dark, dim=1, index=10**6, output=tmp_path)
    assert "no feature 1000000" in error["message"]
    assert "is not known" in a_worker.error("feature", handle="d0", dim=1, index=0, output=tmp_path)["message"]
    small = volume_file(tmp_path / "small.npy", an_image[:4, :4, :4])
    for _ in range(11):
        a_worker.result("persistence", image=small, output=tmp_path)
        a_worker.result("feature", handle=bright, dim=0, index=0, output=tmp_path)  # used, so not the oldest
    a_worker.result("persistence", image=small, output=tmp_path)
    assert "Compute it again" in a_worker.error("feature", handle=dark, dim=0, index=0, output=tmp_path)["hint"]
    a_worker.result("feature", handle=bright, dim=0, index=0, output=tmp_path)


def test_an_image_without_features_has_an_empty_diagram(a_worker, tmp_path):
    flat = volume_file(tmp_path / "flat.npy", np.full((4, 5, 6), 3, np.uint8))
    result = a_worker.result("persistence", image=flat, dims=[2, 0], output=tmp_path)
    assert (result["features"], result["shown"]) == ({"0": 0, "2": 0}, 0)
    with np.load(result["diagram"]) as arrays:
        assert arrays["birth_voxel"].shape == (0, 3) and arrays["dim"].shape == (0,)


def test_work_that_does_not_look_up_is_left_alone_when_it_is_cancelled(a_worker, an_image, tmp_path):
    noise = np.random.default_rng(0).random((128, 128, 128), np.float32)  # some seconds
    volume = volume_file(tmp_path / "noise.npy", noise)
    number = a_worker.send("persistence", image=volume, output=tmp_path)
    a_worker.until(lambda answer: answer.get("phase") == "persistence")
    began = time.monotonic()
    a_worker.line(json.dumps({"do": "cancel", "request": number}))
    assert a_worker.until(lambda answer: answer["event"] in FINAL) == {"id": number, "event": "cancelled"}
    assert time.monotonic() - began < 2.5
    small = volume_file(tmp_path / "image.npy", an_image)
    a_worker.result("persistence", image=small, output=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 1


def a_swiss_cheese() -> np.ndarray:
    """A block with a wide and a narrow tunnel, a large and a small cavity, and two islands beside it."""
    mask = np.zeros((44, 30, 26), bool)
    mask[2:32, 2:28, 2:24] = True
    mask[6:13, 5:12, :] = False  # tunnel around (9, 8)
    mask[24:27, 20:23, :] = False  # tunnel around (25, 21)
    mask[18:23, 6:11, 10:15] = False  # cavity of 125 voxels around (20, 8, 12)
    mask[28, 5, 5] = False  # cavity of one voxel
    mask[36:39, 4:7, 4:7] = True  # island of 27 voxels around (37, 5, 5)
    mask[40, 20, 20] = True  # island of one voxel
    return mask


def test_islands_tunnels_and_cavities_are_found_where_they_are(a_worker, an_oblique_affine, tmp_path):
    labels = np.zeros((60, 30, 26), np.uint16)
    labels[10:54][a_swiss_cheese()] = 300
    labels[0:6, 10:20, 10:20] = 5
    result = a_worker.result("betti", labels=volume_file(tmp_path / "labels.npy", labels, an_oblique_affine))
    assert result["labels"]["5"] == {"components": 1, "tunnels": 0, "cavities": 0, "features": []}
    cheese = result["labels"]["300"]
    assert [cheese[name] for name in ("components", "tunnels", "cavities")] == [3, 2, 2]
    found = cheese["features"]
    assert [(one["kind"], one["voxels"]) for one in found if one["voxels"]] == [
        ("cavity", 125),
        ("island", 27),
        ("island", 1),
        ("cavity", 1),
    ]
    assert [one["voxel"] for one in found if one["voxels"]] == [[30, 8, 12], [47, 5, 5], [50, 20, 20], [38, 5, 5]]
    wide, narrow = (one["voxel"] for one in found if one["kind"] == "tunnel")
    assert np.abs(np.subtract(wide[:2], [19, 8])).max() <= 1
    assert narrow[:2] == [35, 21]
    for one in found:
        np.testing.assert_allclose(one["position"], place(one["voxel"], an_oblique_affine), atol=1e-9)


def test_of_very_many_features_the_largest_of_each_kind_are_named():
    mask = np.zeros((100, 30, 30), bool)
    mask[::2, 10:20, 10:20] = True  # slices, that is, islands
    mask[0:3] = True
    mask[1, 5:25:4, 5:25:4] = False  # cavities
    mask[0:3, 14, 14] = False  # a tunnel
    found = find_features(mask)
    assert len(found) == 50 and [one.size for one in found] == sorted((one.size for one in found), reverse=True)
    kinds = [one.kind for one in found]
    assert kinds.count("tunnel") == 1 and kinds.count("cavity") >= 20 and kinds.count("island") >= 20


def test_labels_that_are_no_whole_numbers_are_refused(a_worker, tmp_path):
    for values, words in ((0.5, "not whole numbers"), (-1.0, "outside 0"), (1e6, "outside 0")):
        labels = volume_file(tmp_path / "labels.npy", np.full((3, 3, 3), values))
        assert words in a_worker.error("betti", labels=labels, output=tmp_path)["message"]
    empty = volume_file(tmp_path / "empty.npy", np.zeros((3, 3, 3), bool))
    assert a_worker.result("betti", labels=empty)["labels"] == {}


@pytest.fixture(scope="module")
def a_pretrained(tmp_path_factory) -> Path:
    """A run folder with an untrained network for 2 mm voxels, which was to see half of the blocks."""
    run = tmp_path_factory.mktemp("run")
    plan = make_plan(
        modalities=("MRI",),
        normalization=({"kind": "robust"},),
        spacing=(2.0, 2.0, 2.0),
        crop_size=(16, 16, 16),
        patch_size=(8, 8, 8),
    )
    sizes = plan.model_dump(include={"crop_size", "patch_size", "stem_stride", "size"})
    spec = NetworkSpec(in_channels=1, out_channels=plan.classes, **sizes)
    torch.manual_seed(0)
    save_pretrained(run / "model", build_co_pretrainer(spec), spec, plan)
    settings = {"format": 1, "kind": "pretrain", "settings": {"mask_ratio": 0.5, "steps": 1}}
    (run / "settings.json").write_text(json.dumps(settings))
    return run


@pytest.fixture
def a_scan(tmp_path, an_oblique_affine) -> tuple[dict, Volume]:
    """(40, 44, 13) voxels of 0.7 × 0.9 × 3 mm: about 14, 20 and 20 of 2 mm, so that nothing moves along the first."""
    array = np.random.default_rng(5).normal(300, 80, (40, 44, 13)).astype(np.float32)
    return volume_file(tmp_path / "scan.npy", array, an_oblique_affine), Volume(array[None], an_oblique_affine)


def expected_preview(run: Path, scan: Volume, center, mask_ratio: float, seed: int):
    from topomae.models.pretrained import load_pretrained

    pretrained = load_pretrained(run)
    preview = Preview.around(center, preprocess(scan, None, pretrained.plan), pretrained.plan, mask_ratio, seed)
    return preview, preview.show_to(pretrained.network(), "cpu")


def test_a_crop_is_reconstructed_and_its_diagrams_compared(a_worker, a_pretrained, a_scan, tmp_path):
    file, scan = a_scan
    center = place([20, 10, 3], scan.affine).tolist()
    request = {"pretrained": a_pretrained, "images": [file], "center": center, "output": tmp_path}
    result = a_worker.result("reconstruct", mask_ratio=0.75, seed=4, **request)
    preview, seen = expected_preview(a_pretrained, scan, center, 0.75, 4)
    images = {name: np.load(result[name]) for name in ("input", "masked", "vit", "unetrpp")}
    for name, image in images.items():
        np.testing.assert_allclose(image, seen.volumes[name][0], rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(result["affine"], preview.affine)
    np.testing.assert_allclose(result["size_mm"], 16 * np.linalg.norm(preview.affine[:3, :3], axis=0))
    hidden = voxel_mask(preview.batch["mask"], preview.patch_size, (16, 16, 16))[0, 0].numpy()
    assert hidden.mean() == 0.75 and (images["masked"][hidden] == 0).all()
    np.testing.assert_array_equal(images["masked"][~hidden], images["input"][~hidden])
    for branch in ("vit", "unetrpp"):
        np.testing.assert_array_equal(images[branch][~hidden], images["input"][~hidden])
        assert result["mse"][branch] == pytest.approx(seen.losses[f"reconstruction/{branch}"], rel=1e-4)
        one, other = (persistence(images[name]) for name in ("input", branch))
        distances = result["wasserstein"][branch]
        assert distances["total"] == pytest.approx(float(wasserstein(one, other)))
        assert distances["total"] ** 2 == pytest.approx(sum(distances[dim] ** 2 for dim in "012"))
    for name, described in result["diagrams"].items():
        assert described["features"] == {str(dim): len(persistence(images[name]).values[dim]) for dim in range(3)}
        a_worker.result("feature", handle=described["handle"], dim=1, index=0, output=tmp_path)
    plain = a_worker.result("reconstruct", diagrams=False, **request)
    assert plain["diagrams"] == plain["wasserstein"] == {}
    assert "no channel 1" in a_worker.error("reconstruct", channel=1, **request)["message"]
    assert a_worker.error("reconstruct", mask_ratio=1.0, **request)["error"] == "BadRequest"


def test_key_points_are_predicted_under_the_mask_of_training(a_worker, a_pretrained, a_scan, tmp_path):
    file, scan = a_scan
    center = place([20, 21, 5], scan.affine).tolist()
    request = {"pretrained": a_pretrained, "images": [file], "center": center, "output": tmp_path}
    result = a_worker.result("key_points", **request)
    preview, seen = expected_preview(a_pretrained, scan, center, 0.5, 0)
    informative = np.array(result["informative"])
    assert informative.tolist() == [False, True, True]
    true = np.array(result["true"])
    np.testing.assert_allclose(true, preview.to_ras(seen.points["true"]))
    for branch in ("vit", "unetrpp"):
        expected = np.where(informative, seen.points[branch], seen.points["true"])
        np.testing.assert_allclose(result[branch], preview.to_ras(expected), atol=1e-3)
        distance = np.linalg.norm(np.array(result[branch]) - true, axis=1)
        np.testing.assert_allclose(result["error_mm"][branch], distance)
    crop = result["crop"]
    affine = np.array(crop["affine"])
    assert len(result["names"]) == 9 and result["names"][0] == "centre"
    np.testing.assert_allclose(true[0], crop["center"])
    np.testing.assert_allclose(true[1], affine[:3, 3])  # the first corner is the first voxel
    np.testing.assert_allclose(true[8], place([15, 15, 15], affine))
    np.testing.assert_allclose(crop["size_mm"], 16 * np.linalg.norm(affine[:3, :3], axis=0))
    off = np.abs(np.linalg.inv(affine[:3, :3]) @ (np.array(center) - crop["center"]))
    assert (off[informative] <= 0.5 + 1e-6).all()  # as near as voxels allow
    again = a_worker.result("key_points", **request)
    assert [again[name] for name in ("vit", "unetrpp")] == [result[name] for name in ("vit", "unetrpp")]


def test_a_crop_stays_inside_its_volume(a_worker, a_pretrained, a_scan, tmp_path):
    file, scan = a_scan
    request = {"pretrained": a_pretrained, "images": [file], "output": tmp_path}
    corners = [
        a_worker.result("key_points", center=place(voxel, scan.affine).tolist(), **request)["true"][1]
        for voxel in ([-500, -500, -500], [0, 0, 0], [500, 500, 500])
    ]
    assert corners[0] == corners[1] != corners[2]


def test_a_volume_that_fits_into_the_crop_leaves_nothing_to_predict(a_worker, a_pretrained, tmp_path):
    scan = volume_file(tmp_path / "small.npy", np.random.default_rng(0).random((9, 9, 9)), np.diag([2, 2, 2, 1.0]))
    answer, before = a_worker.ask("key_points", pretrained=a_pretrained, images=[scan], center=[0, 0, 0])
    assert any("nothing to predict" in one.get("message", "") for one in before)
    assert answer["informative"] == [False] * 3 and answer["error_mm"]["vit"] == [0.0] * 9


def test_the_size_of_the_crop_and_the_modalities_are_told(a_worker, a_pretrained, a_scan, tmp_path):
    result = a_worker.result("crop_size", pretrained=a_pretrained / "model")
    assert (result["size_mm"], result["modalities"]) == ([32.0, 32.0, 32.0], ["MRI"])
    error = a_worker.error("crop_size", pretrained=tmp_path)
    assert "no pre-trained network" in error["message"] and str(tmp_path) in error["message"]
    file, _ = a_scan
    error = a_worker.error("key_points", pretrained=a_pretrained, images=[file, file], center=[0, 0, 0])
    assert "one image (MRI), but 2 are given" in error["message"]
