"""The topological loss: value, gradient, scale, batches, failures."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from topomae.errors import BadDataError, BadSettingError
from topomae.topology.loss import TopologicalLoss
from topomae.topology.persistence import persistence
from topomae.topology.wasserstein import wasserstein


def normal_batch(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def value_and_gradient(loss, x_hat, x):
    x_hat = x_hat.clone().requires_grad_()
    value = loss(x_hat, x)
    value.backward()
    return value.detach(), x_hat.grad


@pytest.mark.parametrize("options", [{"reduction": "sum"}, {"weights": (1.0, 0.5, 2.0), "clip": None}])
def test_gradient_equals_finite_differences_at_two_thousand_voxels_in_all(options):
    rng = np.random.default_rng(40)
    loss = TopologicalLoss(threads=1, **options)
    checked = nonzero = 0
    while checked < 1000:
        # Distinct multiples of 2^-12, at least 0.2 apart: a small step crosses no kink, exact in float32.
        shape = tuple(rng.integers(3, 7, 3))
        count = int(np.prod(shape))
        x, x_hat = (
            torch.from_numpy(np.round((rng.permutation(count) + rng.uniform(0, 0.8, count)) * 4096) / 4096)
            .float()
            .reshape(1, 1, *shape)
            for _ in "ab"
        )
        diagrams = loss.diagrams(x)
        _, gradient = value_and_gradient(loss, x_hat, diagrams)
        step = 2.0**-11
        for voxel in range(count):
            values = []
            for sign in (1, -1):
                moved = x_hat.clone()
                moved.view(-1)[voxel] += sign * step
                loss(moved, diagrams)
                values.append(loss.last.value)
            slope = (values[0] - values[1]) / (2 * step)
            assert abs(slope - gradient.view(-1)[voxel]) < 1e-6 * gradient.abs().max()
        checked += count
        nonzero += int((gradient != 0).sum())
    assert nonzero > checked / 10


def test_sum_is_half_the_squared_distance_averaged_over_samples_and_channels():
    x, x_hat = normal_batch(41, 2, 3, 8, 7, 6), normal_batch(42, 2, 3, 8, 7, 6)
    expected = np.mean(
        [
            wasserstein(persistence(a), persistence(b)).squared / 2
            for a, b in zip(x.flatten(0, 1), x_hat.flatten(0, 1), strict=True)
        ]
    )
    assert float(TopologicalLoss(reduction="sum")(x_hat, x)) == pytest.approx(expected, rel=1e-6)


def test_diagrams_of_the_input_replace_the_input():
    x, x_hat = normal_batch(43, 2, 2, 8, 7, 6), normal_batch(44, 2, 2, 8, 7, 6)
    loss = TopologicalLoss()
    value, gradient = value_and_gradient(loss, x_hat, x)
    again, gradient_again = value_and_gradient(loss, x_hat, loss.diagrams(x))
    assert value == again and torch.equal(gradient, gradient_again)


def test_identical_volumes_cost_nothing_and_have_no_gradient():
    for x in (
        normal_batch(45, 2, 1, 8, 8, 8),
        normal_batch(45, 1, 1, 8, 8, 8).round(),
        torch.ones(1, 1, 5, 5, 5),
    ):
        value, gradient = value_and_gradient(TopologicalLoss(), x, x)
        assert value == 0
        assert (gradient == 0).all()


def test_relative_loss_of_a_flat_reconstruction_is_one_and_has_no_unit():
    x = normal_batch(46, 1, 1, 10, 10, 10)
    flat = torch.full_like(x, float(x.min()))
    loss = TopologicalLoss()
    assert float(loss(flat, x)) == pytest.approx(1.0, rel=1e-6)
    other = normal_batch(47, 1, 1, 10, 10, 10)
    assert float(loss(64 * other, 64 * x)) == pytest.approx(float(loss(other, x)), rel=1e-6)


def test_above_the_clip_only_the_length_of_the_gradient_changes():
    x, noise = 0.3 * normal_batch(48, 1, 1, 10, 10, 10), normal_batch(49, 1, 1, 10, 10, 10)
    free, full = value_and_gradient(TopologicalLoss(clip=None), noise, x)
    clipped, shorter = value_and_gradient(TopologicalLoss(), noise, x)
    assert free == clipped > 2
    torch.testing.assert_close(shorter, full / free)


def test_a_flat_input_or_reconstruction_gives_finite_values():
    noise, flat = normal_batch(50, 1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8)
    for x_hat, x in ((noise, flat), (flat, noise), (flat, flat + 1)):
        value, gradient = value_and_gradient(TopologicalLoss(), x_hat, x)
        assert torch.isfinite(value) and value > 0
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
    # A flat reconstruction has only its minimum to move.
    _, gradient = value_and_gradient(TopologicalLoss(), flat, noise)
    assert int((gradient != 0).sum()) == 1


def test_descent_along_the_gradient_restores_the_topology():
    x, x_hat = normal_batch(51, 1, 1, 8, 8, 8), 0.5 * normal_batch(52, 1, 1, 8, 8, 8)
    loss = TopologicalLoss(reduction="sum")
    first, _ = value_and_gradient(loss, x_hat, x)
    for _ in range(30):
        value, gradient = value_and_gradient(loss, x_hat, x)
        x_hat = x_hat - 0.3 * gradient
    assert value < 0.2 * first


def test_threads_repeats_and_background_work_change_no_bit():
    x, x_hat = (
        normal_batch(53, 2, 2, 12, 12, 12).round(decimals=1),
        normal_batch(54, 2, 2, 12, 12, 12).round(decimals=1),
    )
    expected = value_and_gradient(TopologicalLoss(threads=1), x_hat, x)
    for threads in (1, 2, 5):
        for _ in range(2):
            value, gradient = value_and_gradient(TopologicalLoss(threads=threads), x_hat, x)
            assert value == expected[0] and torch.equal(gradient, expected[1])
    loss = TopologicalLoss(threads=2)
    leaf = x_hat.clone().requires_grad_()
    pending = [loss.submit(leaf, x) for _ in range(3)]
    (pending[0].result() + pending[1].result() + pending[2].result()).backward()
    torch.testing.assert_close(leaf.grad, 3 * expected[1])
    assert all(each.done() for each in pending)


def test_a_change_in_place_after_submission_does_no_harm():
    x, x_hat = normal_batch(55, 1, 1, 12, 12, 12), normal_batch(56, 1, 1, 12, 12, 12)
    expected = TopologicalLoss()(x_hat, x)
    pending = TopologicalLoss().submit(x_hat, x)
    x_hat.zero_()
    assert pending.result() == expected


def test_every_kth_call_counts_k_times_and_the_others_nothing():
    x, x_hat = normal_batch(57, 1, 1, 6, 6, 6), normal_batch(58, 1, 1, 6, 6, 6)
    value, gradient = value_and_gradient(TopologicalLoss(), x_hat, x)
    loss = TopologicalLoss(every_k=3)
    calls = [value_and_gradient(loss, x_hat, x) for _ in range(2)]
    resumed = TopologicalLoss(every_k=3)
    resumed.load_state_dict(loss.state_dict())
    calls += [value_and_gradient(resumed, x_hat, x) for _ in range(2)]
    assert [float(v) for v, _ in calls] == [
        pytest.approx(3 * float(value)),
        0,
        0,
        pytest.approx(3 * float(value)),
    ]
    torch.testing.assert_close(calls[3][1], 3 * gradient)
    assert (calls[1][1] == 0).all()


def test_half_precision_reconstructions_get_gradients_of_their_own_type():
    x = normal_batch(59, 1, 1, 8, 8, 8)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        x_hat = normal_batch(60, 1, 1, 8, 8, 8).to(dtype)
        value, gradient = value_and_gradient(TopologicalLoss(), x_hat, x)
        assert gradient.dtype == dtype and value.dtype == torch.float32
        assert value == TopologicalLoss()(x_hat.float(), x)


def test_a_budget_is_counted_and_bounds_the_loss_from_above():
    x, x_hat = normal_batch(61, 1, 1, 12, 12, 12), normal_batch(62, 1, 1, 12, 12, 12)
    exact, rough = TopologicalLoss(reduction="sum"), TopologicalLoss(reduction="sum", budget=2000)
    assert rough(x_hat, x) > exact(x_hat, x)
    assert exact.last.incomplete == 0 and exact.last.gap < 1e-9
    assert rough.last.incomplete == 3
    assert 2 * rough.last.value - rough.last.gap <= 2 * exact.last.value + 1e-9


@pytest.mark.parametrize("which", ["the reconstruction", "the input"])
def test_a_nan_is_named(which):
    good, bad = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)
    bad[0, 0, 1, 2, 3] = float("nan")
    pair = (bad, good) if which == "the reconstruction" else (good, bad)
    with pytest.raises(BadDataError, match=f"{which} has 1 NaN"):
        TopologicalLoss()(*pair)


def test_wrong_shapes_and_settings_are_refused():
    x = torch.zeros(1, 1, 4, 4, 4)
    loss = TopologicalLoss()
    with pytest.raises(BadDataError, match="batch"):
        loss(x[0], x[0])
    with pytest.raises(BadDataError, match="differ in shape"):
        loss(x, x[..., 1:])
    with pytest.raises(BadDataError, match="do not fit"):
        loss(x.expand(2, 1, 4, 4, 4), loss.diagrams(x))
    for settings in ({"reduction": "mean"}, {"every_k": 0}, {"clip": 0}, {"dims": (3,)}, {"weights": (1, 2)}):
        with pytest.raises(BadSettingError):
            TopologicalLoss(**settings)


def test_the_loss_can_be_copied_with_the_module_that_owns_it():
    loss = TopologicalLoss(dims=(0, 2))
    x, x_hat = normal_batch(63, 1, 1, 6, 6, 6), normal_batch(64, 1, 1, 6, 6, 6)
    assert loss(x_hat, x) == copy.deepcopy(loss)(x_hat, x)
