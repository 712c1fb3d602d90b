"""Wasserstein distances against POT and scipy, and their certificates."""

from __future__ import annotations

import numpy as np
import pytest

from topomae.topology.matching import Points, match, matching_cost
from topomae.topology.persistence import persistence
from topomae.topology.wasserstein import wasserstein


def transport_cost(a, b):
    """Squared 2-Wasserstein distance as an optimal transport problem with one diagonal bin, by POT."""
    ot = pytest.importorskip("ot")
    if len(a) == 0 or len(b) == 0:
        return float(np.sum(np.diff(a) ** 2) + np.sum(np.diff(b) ** 2)) / 2
    costs = np.zeros((len(a) + 1, len(b) + 1))
    costs[:-1, :-1] = ((a[:, None] - b[None]) ** 2).sum(-1)
    costs[:-1, -1] = np.diff(a)[:, 0] ** 2 / 2
    costs[-1, :-1] = np.diff(b)[:, 0] ** 2 / 2
    masses = np.append(np.ones(len(a)), len(b)), np.append(np.ones(len(b)), len(a))
    return ot.emd2(*masses, costs, numItermax=10**7)


def random_diagram(rng, kind, count):
    if kind == "uniform":
        births = rng.uniform(0, 1, count)
        return np.stack([births, births + rng.uniform(0.001, 0.5, count)], axis=1)
    if kind == "ties":
        births = rng.integers(0, 5, count)
        return np.stack([births, births + rng.integers(1, 4, count)], axis=1).astype(float)
    births = 1000 + 300 * rng.standard_normal(count)  # near the diagonal, of all sizes, far from zero
    return np.stack([births, births + np.exp(rng.uniform(-6, 6, count))], axis=1)


@pytest.mark.parametrize("kind", ["uniform", "ties", "many scales"])
def test_distance_equals_optimal_transport_and_the_gap_certifies_it(kind):
    rng = np.random.default_rng(30)
    for largest in [5] * 60 + [60] * 100 + [300] * 10:
        a, b = (random_diagram(rng, kind, int(count)) for count in rng.integers(0, largest + 1, 2))
        matching = match(a, b)
        expected = transport_cost(a, b)
        unit = max(1.0, expected)
        assert abs(matching.squared_distance - expected) < 1e-9 * unit
        assert 0 <= matching.gap < 1e-9 * unit and matching.complete
        matched = matching.partner[matching.partner >= 0]
        assert len(set(matched)) == len(matched)
        assert matching_cost(a, b, matching.partner) == matching.squared_distance


def test_scipy_finds_the_same_distance():
    from topomae.topology.reference import solve_with_scipy

    rng = np.random.default_rng(31)
    for kind in ("uniform", "ties", "many scales") * 5:
        points = [random_diagram(rng, kind, count) for count in (40, 70)]
        sides = [Points(p.sum(1) / np.sqrt(2), np.diff(p)[:, 0] / np.sqrt(2)) for p in points]
        pairs, saved, _ = solve_with_scipy(*sides)
        partner = np.full(40, -1)
        partner[pairs[:, 0]] = pairs[:, 1]
        expected = match(*points).squared_distance
        assert abs(matching_cost(*points, partner) - expected) < 1e-9 * max(1.0, expected)
        heights = sum(float((side.height**2).sum()) for side in sides)
        assert abs(heights - saved - expected) < 1e-9 * heights


def test_a_spent_budget_returns_a_feasible_matching_and_an_honest_gap():
    rng = np.random.default_rng(32)
    a, b = random_diagram(rng, "uniform", 400), random_diagram(rng, "uniform", 380)
    exact = match(a, b)
    ended = 0
    for budget in (0, 100, 3000, 30_000, 100_000, 300_000):
        rough = match(a, b, budget)
        assert rough.squared_distance - rough.gap <= exact.squared_distance + 1e-12
        assert rough.squared_distance >= exact.squared_distance - 1e-12
        ended += not rough.complete
        assert rough.complete or rough.gap > 0
        repeated = match(a, b, budget)
        assert repeated.squared_distance == rough.squared_distance
        np.testing.assert_array_equal(repeated.partner, rough.partner)
    assert ended >= 3


def test_empty_and_identical_diagrams():
    nothing, one = np.empty((0, 2)), np.array([[0.0, 2.0]])
    assert match(nothing, nothing).squared_distance == 0
    assert match(nothing, one).squared_distance == match(one, nothing).squared_distance == 2.0
    many = random_diagram(np.random.default_rng(33), "uniform", 500)
    assert match(many, many).squared_distance == 0.0


def test_distance_of_volumes_adds_dimensions_and_the_essential_class():
    rng = np.random.default_rng(34)
    a, b = (persistence(rng.standard_normal((9, 8, 7))) for _ in "ab")
    distance = wasserstein(a, b)
    expected = sum(transport_cost(a.values[dim], b.values[dim]) for dim in (0, 1, 2))
    expected += (a.essential_value - b.essential_value) ** 2
    assert abs(distance.squared - expected) < 1e-9 * expected
    assert float(distance) == pytest.approx(np.sqrt(expected))
    assert wasserstein(b, a).squared == pytest.approx(distance.squared, rel=1e-12)
    assert wasserstein(a, a).squared == 0
    assert wasserstein(a, b, dims=(1,), essential=False).squared < distance.squared
