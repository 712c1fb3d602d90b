"""The pre-training losses: right values, gradients where they belong, and no work for a weight of zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from topomae.config import PretrainSettings
from topomae.data.crops import cut_crop, offset_around, random_offset, token_grid
from topomae.data.key_points import CORNERS, crop_voxels, informative_axes, key_points, unscale
from topomae.data.loading import random_mask
from topomae.networks.co_pretrainer import voxel_mask
from topomae.networks.factory import NetworkSpec, build_co_pretrainer
from topomae.topology.loss import TopologicalLoss
from topomae.training.objectives import CoPretrainingLoss, composite, key_point_mse, masked_mse

CROP, PATCH = (16, 24, 16), (8, 8, 8)
WEIGHTS = ("topology_weight", "spatial_weight", "spatial_consistency_weight", "reconstruction_consistency_weight")


@pytest.fixture
def network():
    torch.manual_seed(0)
    spec = NetworkSpec(in_channels=1, out_channels=2, crop_size=CROP, patch_size=PATCH, stem_stride=(2, 2, 2))
    return build_co_pretrainer(spec).eval()  # no dropout, so that runs can be compared


@pytest.fixture
def batch():
    random = np.random.default_rng(1)
    masks = [random_mask(token_grid(CROP, PATCH), 0.75, random) for _ in range(2)]
    offsets, shape = [(3, 0, 5), (0, 7, 1)], (24, 40, 30)
    return {
        "image": torch.from_numpy(random.normal(size=(2, 1, *CROP)).astype(np.float32)),
        "mask": torch.from_numpy(np.stack(masks)),
        "key_points": torch.from_numpy(np.stack([key_points(o, CROP, shape) for o in offsets])),
        "informative": torch.ones(2, 3, dtype=torch.bool),
    }


def only(weight: str | None, **values) -> PretrainSettings:
    return PretrainSettings(**{**dict.fromkeys(WEIGHTS, 0.0), **({weight: 1.0} if weight else {}), **values})


def gradients(network, loss) -> dict[str, float]:
    """Sum of absolute gradients by part of the network."""
    network.zero_grad()
    loss.backward()
    return {
        name: sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None)
        for name, part in network.named_children()
        if isinstance(part, torch.nn.Module)
    }


def test_reconstruction_is_the_mean_square_over_the_hidden_voxels_of_each_branch(network, batch):
    outputs = network(batch["image"], batch["mask"])
    total, terms = CoPretrainingLoss(only(None), PATCH)(outputs, batch, step=0)
    hidden = voxel_mask(batch["mask"], PATCH, CROP)
    for branch, output in outputs.items():
        expected = (output.reconstruction - batch["image"])[hidden].square().mean()
        torch.testing.assert_close(terms[f"reconstruction/{branch}"], expected)
    assert set(terms) == {"reconstruction/vit", "reconstruction/unetrpp"}
    torch.testing.assert_close(total, sum(terms.values()))


def test_every_term_enters_the_total_with_its_weight(network, batch):
    settings = PretrainSettings()
    outputs = network(batch["image"], batch["mask"])
    total, t = CoPretrainingLoss(settings, PATCH)(outputs, batch, step=0)
    expected = (
        t["reconstruction/vit"]
        + t["reconstruction/unetrpp"]
        + 0.5 * (t["topology/vit"] + t["topology/unetrpp"]) / 2
        + 0.1 * (t["spatial/vit"] + t["spatial/unetrpp"])
        + 0.1 * (t["consistency/spatial"] + t["consistency/reconstruction"])
    )
    torch.testing.assert_close(total, expected)
    assert all(torch.isfinite(term) for term in t.values())


@pytest.mark.parametrize(
    ("weight", "reached", "spared"),
    [
        ("topology_weight", {"vit", "unetrpp", "unetrpp_reconstruction"}, {"vit_key_points", "unetrpp_key_points"}),
        ("spatial_weight", {"vit", "unetrpp", "vit_key_points", "unetrpp_key_points"}, {"unetrpp_reconstruction"}),
        (
            "spatial_consistency_weight",
            {"vit", "unetrpp", "vit_key_points", "unetrpp_key_points"},
            {"unetrpp_reconstruction"},
        ),
        (
            "reconstruction_consistency_weight",
            {"vit", "unetrpp", "unetrpp_reconstruction"},
            {"vit_key_points", "unetrpp_key_points"},
        ),
    ],
)
def test_each_loss_reaches_the_parts_it_should_and_no_others(network, batch, weight, reached, spared):
    outputs = network(batch["image"], batch["mask"])
    total, terms = CoPretrainingLoss(only(weight), PATCH)(outputs, batch, step=0)
    extra = total - terms["reconstruction/vit"] - terms["reconstruction/unetrpp"]
    found = gradients(network, extra)
    assert all(found[part] > 0 for part in reached), found
    assert all(found[part] == 0 for part in spared), found


def test_a_weight_of_zero_skips_the_topological_work(network, batch, monkeypatch):
    calls = []
    submit = TopologicalLoss.submit
    monkeypatch.setattr(TopologicalLoss, "submit", lambda *a, **k: calls.append(1) or submit(*a, **k))
    outputs = network(batch["image"], batch["mask"])
    CoPretrainingLoss(only(None), PATCH)(outputs, batch, step=0)
    assert not calls
    CoPretrainingLoss(only("topology_weight"), PATCH)(outputs, batch, step=0)
    assert len(calls) == 2  # one per branch


def test_topology_at_every_third_step_is_three_times_as_heavy(network, batch):
    outputs = network(batch["image"], batch["mask"])
    loss = CoPretrainingLoss(only("topology_weight", topology_every=3), PATCH)
    total, terms = loss(outputs, batch, step=3)
    topology = (terms["topology/vit"] + terms["topology/unetrpp"]) / 2
    torch.testing.assert_close(total, terms["reconstruction/vit"] + terms["reconstruction/unetrpp"] + 3 * topology)
    _, terms = loss(outputs, batch, step=4)
    assert "topology/vit" not in terms


def test_what_a_branch_says_of_visible_voxels_does_not_enter_its_topology(network, batch):
    hidden = voxel_mask(batch["mask"], PATCH, CROP)
    reconstruction = torch.randn_like(batch["image"])
    elsewhere = torch.where(hidden, reconstruction, 99.0)
    assert torch.equal(composite(reconstruction, batch["image"], hidden), composite(elsewhere, batch["image"], hidden))
    assert float(masked_mse(elsewhere, reconstruction, hidden)) == 0


@pytest.mark.parametrize("offset", [(0, 0, 0), (4, 10, 7), (8, 16, 14)])
def test_key_points_are_voxel_centres_scaled_to_the_volume(offset):
    shape = (24, 40, 30)
    points = unscale(key_points(offset, CROP, shape), shape)
    centre = np.array(offset) + (np.array(CROP) - 1) / 2
    np.testing.assert_allclose(points[0], centre, atol=1e-4)
    for point, corner in zip(points[1:], CORNERS, strict=True):
        np.testing.assert_allclose(point, np.array(offset) + np.array(corner) * (np.array(CROP) - 1), atol=1e-4)
    np.testing.assert_allclose(points, crop_voxels(offset, CROP), atol=1e-4)


def test_a_whole_volume_has_its_corners_at_plus_and_minus_one():
    points = key_points((0, 0, 0), (10, 20, 30), (10, 20, 30))
    np.testing.assert_allclose(points[0], 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(points[1:]), 1, atol=1e-6)


def test_targets_are_exact_for_volumes_smaller_than_the_crop():
    """The crop then covers the padded volume on that axis: a constant, which the loss leaves out."""
    image = np.arange(10 * 40 * 30, dtype=np.float32).reshape(1, 10, 40, 30)
    random = np.random.default_rng(0)
    for _ in range(20):
        offset = random_offset(image.shape[1:], CROP, random)
        crop = cut_crop(image, None, offset, CROP)
        assert crop.image.shape == (1, *CROP)
        assert crop.volume_shape == (16, 40, 30)
        target = key_points(crop.offset, CROP, crop.volume_shape)
        np.testing.assert_allclose(target[1:, 0], [-1] * 4 + [1] * 4, atol=1e-6)
        inside = crop.image[0, 3:13]  # ten planes, centred in sixteen
        np.testing.assert_array_equal(inside, image[0, :, offset[1] : offset[1] + 24, offset[2] : offset[2] + 16])
        assert not crop.image[0, :3].any()
        assert not crop.image[0, 13:].any()
    informative = informative_axes(CROP, (16, 40, 30))
    assert informative.tolist() == [False, True, True]
    prediction, target = torch.zeros(1, 9, 3), torch.zeros(1, 9, 3)
    target[..., 0] = 5.0
    assert float(key_point_mse(prediction, target, torch.from_numpy(informative)[None])) == 0
    target[..., 1] = 1.0
    assert float(key_point_mse(prediction, target, torch.from_numpy(informative)[None])) == pytest.approx(0.5)


def test_a_crop_around_a_voxel_contains_it_wherever_it_lies():
    random = np.random.default_rng(0)
    shape = (10, 40, 30)
    for _ in range(200):
        voxel = [int(random.integers(n)) for n in shape]
        image = np.zeros((1, *shape), np.float32)
        image[0, voxel[0], voxel[1], voxel[2]] = 1
        crop = cut_crop(image, None, offset_around(voxel, shape, CROP, random), CROP)
        assert crop.image.sum() == 1


def test_masks_hide_the_ratio_and_always_leave_something_to_see():
    random = np.random.default_rng(0)
    assert random_mask((4, 4, 4), 0.75, random).sum() == 48
    assert random_mask((1, 1, 2), 0.99, random).sum() == 1
    assert random_mask((1, 1, 2), 0.01, random).sum() == 1
    different = [random_mask((4, 4, 4), 0.5, random).tobytes() for _ in range(10)]
    assert len(set(different)) == 10


def test_a_budget_bounds_the_work_of_the_first_steps_and_is_told(network, batch):
    outputs = network(batch["image"], batch["mask"])
    losses = {}
    for budget in (None, 200):
        loss = CoPretrainingLoss(only("topology_weight", topology_budget=budget), PATCH)
        losses[budget] = loss(outputs, batch, step=0)[1]["topology/vit"]
        assert (loss.unfinished_matchings > 0) == (budget is not None)
    assert losses[None] < losses[200]  # a matching that is not the best one costs more
