"""Scores of whole volumes: what MONAI's sliding window gives, in less memory."""

from __future__ import annotations

import weakref
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from oracle_models import (
    AFFINES,
    ByIntensity,
    Ramp,
    make_model,
    make_plan,
    save_volume,
)
from torch import nn

import topomae.data.resampling as resampling
import topomae.inference.sliding_window as sliding_window
from topomae.inference.segmentation import segment
from topomae.inference.sliding_window import WindowSettings, predict_scores
from topomae.inference.streamed_scores import StreamedScores
from topomae.models.folder import Model


@pytest.fixture
def an_oracle() -> Model:
    """Background below 0 HU, 3 from 0 to 200 HU, 7 above."""
    return make_model(ByIntensity(-1.0, 1.0, 3.0), make_plan())


def test_windows_add_up_to_what_monai_adds_up():
    torch.manual_seed(0)
    network = nn.Conv3d(2, 3, 3, padding=1)
    for crop, shape, overlap in (
        ((8, 12, 10), (31, 12, 7), 0.5),
        ((8, 12, 10), (5, 6, 7), 0.5),
        ((8, 12, 10), (8, 40, 23), 0.25),
        ((6, 6, 6), (17, 20, 13), 0.7),
        ((6, 6, 6), (17, 20, 13), 0.0),
    ):
        plan = make_plan(modalities=("a", "b"), crop_size=crop, patch_size=(1, 1, 1), stem_stride=(1, 1, 1))
        image = torch.randn(2, *shape)
        with torch.no_grad():
            expected = sliding_window_inference(image[None], crop, 1, network, overlap, mode="gaussian")[0]
        for batch in (1, 4):
            scores = predict_scores(network, image, plan, device="cpu", overlap=overlap, batch=batch)
            torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("crop", "together"), [((32, 40, 32), 4), ((40, 56, 40), 2), ((64, 64, 64), 1)])
def test_a_cpu_looks_at_a_few_small_windows_at_once(crop, together):
    assert WindowSettings.of(make_plan(crop_size=crop, patch_size=(8, 8, 8)), "cpu").batch == together


def test_scores_need_no_gradient_and_leave_the_network_in_its_mode():
    class Strict(ByIntensity):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            assert not self.training and not torch.is_grad_enabled()
            return super().forward(image)

    network = nn.Sequential(Strict(0.0, 1.0), nn.Dropout()).train()
    network[1].eval()  # a part that is frozen stays frozen
    predict_scores(network, torch.rand(1, 20, 9, 9), make_plan(), device="cpu")
    assert (network.training, network[0].training, network[1].training) == (True, True, False)
    assert torch.is_grad_enabled()


def test_mirroring_averages_what_the_network_says_of_mirrored_views():
    plan = make_plan(crop_size=(16, 16, 8), mirror_axes=(0, 2))
    image = torch.randn(1, 20, 17, 9)
    plain, mirrored = (
        predict_scores(ByIntensity(-1.0, 0.5), image, plan, device="cpu", mirror=mirror) for mirror in (False, True)
    )
    torch.testing.assert_close(mirrored, plain)
    ramp = predict_scores(Ramp(), torch.zeros(1, 16, 16, 8), plan, device="cpu", mirror=True)
    torch.testing.assert_close(ramp[1], torch.full((16, 16, 8), 7.5))  # mean of x and 15 - x
    unmirrored = predict_scores(Ramp(), torch.zeros(1, 16, 16, 8), plan, device="cpu")
    assert unmirrored[1].std() > 1


def test_probabilities_sum_to_one_and_are_highest_for_the_label(an_oracle, tmp_path):
    affine = AFFINES["axes permuted"]
    hu = save_volume(tmp_path / "scan.nii.gz", affine).astype(np.int16)
    padded = np.pad(hu, 4, constant_values=-1000)  # a border that is cut off and has to come back
    nib.save(nib.Nifti1Image(padded, affine), tmp_path / "scan.nii.gz")
    model = replace(an_oracle, plan=make_plan(spacing=(1.0, 1.0, 2.0)))
    image, out = tmp_path / "scan.nii.gz", tmp_path / "out"
    (written,) = segment(model, image, out, device="cpu", probabilities=True)
    file = nib.load(out / "scan_probabilities.nii.gz")
    probabilities, labels = file.get_fdata(), np.asarray(nib.load(written).dataobj)
    assert probabilities.shape == (*padded.shape, 3) and file.get_data_dtype() == np.float32
    np.testing.assert_array_equal(file.affine, nib.load(image).affine)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(np.array([0, 3, 7])[probabilities.argmax(-1)], labels)
    assert set(np.unique(labels)) == {0, 3, 7}
    assert (probabilities[0, :, :, 0] == 1).all()
    (plain,) = segment(model, image, tmp_path / "plain", device="cpu")
    np.testing.assert_array_equal(np.asarray(nib.load(plain).dataobj), labels)


@pytest.mark.parametrize("spacing", [(0.9, 0.7, 3.0), (0.6, 0.7, 3.0)], ids=["native", "resampled"])
def test_scores_are_forgotten_once_they_are_used(an_oracle, spacing, tmp_path, monkeypatch):
    """However long a volume, only some planes of its scores are in memory at a time."""
    save_volume(tmp_path / "long.nii.gz", AFFINES["RAS"], (200, 12, 6))
    model = replace(an_oracle, plan=make_plan(spacing=spacing))
    expected = segment(model, tmp_path / "long.nii.gz", tmp_path / "all", device="cpu", probabilities=True)
    alive: list[weakref.ref] = []
    most = 0

    def watched(*args, **settings):
        nonlocal most
        for planes, slab in sliding_window.score_slabs(*args, **settings):
            alive.append(weakref.ref(slab))
            most = max(most, sum(ref().shape[1] for ref in alive if ref() is not None))
            yield planes, slab

    monkeypatch.setattr("topomae.inference.segmentation.score_slabs", watched)
    monkeypatch.setattr(resampling, "SLAB_VOXELS", 5 * 12 * 6)
    written = segment(model, tmp_path / "long.nii.gz", tmp_path / "out", device="cpu")
    one, other = (np.asarray(nib.load(files[0]).dataobj) for files in (expected, written))
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one)) == 3 and len(alive) > 20 and most <= 32


def test_planes_may_be_asked_for_again_but_not_after_they_were_passed():
    whole = torch.randn(2, 10, 3, 3)
    slabs = ((slice(at, at + 2), whole[:, at : at + 2]) for at in range(0, 10, 2))
    scores = StreamedScores(slabs, (2, 10, 3, 3))
    for c in (0, 1, 0):
        torch.testing.assert_close(scores[c, slice(1, 5)], whole[c, 1:5])
    torch.testing.assert_close(scores[1, slice(4, 10)], whole[1, 4:])
    torch.testing.assert_close(scores[1, slice(5, 6)], whole[1, 5:6])
    with pytest.raises(ValueError, match="forgotten"):
        scores[0, slice(3, 5)]
