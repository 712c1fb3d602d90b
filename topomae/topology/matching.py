# ruff: noqa: ANN001  (compiled functions: numba infers the types, docstrings name them)
"""Best matching of two persistence diagrams for the 2-Wasserstein distance, with a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from topomae.topology import compiled
from topomae.topology.auction import bid, settle
from topomae.topology.compiled import kernel
from topomae.topology.price_tree import build_tree
from topomae.topology.shortest_paths import augment

NO_LIMIT = 2**62
# Epsilon of the auction, relative to the largest saving. Measured on real crops, as are the numbers below.
_FIRST_EPSILON, _LAST_EPSILON, _FACTOR = 1e-3, 1e-6, 0.1
# Diagrams that resemble one another, by the ratio of their total persistence, begin with a smaller epsilon
# and nearly at the prices at which equal diagrams match: the two of a pair share their saving equally.
_ALIKE = 1.25
_FIRST_EPSILON_ALIKE, _FIRST_PRICES_ALIKE = 1e-4, 0.9


@dataclass(frozen=True)
class Matching:
    """A matching of diagram a with diagram b, diagonal included.

    Attributes:
        squared_distance: its cost, the squared 2-Wasserstein distance (L2 ground metric) if exact.
        partner: (n,) int64, for every point of a the index of its partner in b, or -1 for the diagonal.
        gap: the true squared distance lies between squared_distance - gap and squared_distance. From linear
            programming duality: about 1e-14 of the total persistence for an exact matching.
        complete: False if the work budget ended before the matching was exact.
    """

    squared_distance: float
    partner: np.ndarray
    gap: float
    complete: bool


class Points(NamedTuple):
    """Positions along the diagonal and heights above it, (n,) float64 each; see `price_tree`."""

    position: np.ndarray
    height: np.ndarray


def _points(pairs: np.ndarray) -> Points:
    return Points(pairs.sum(1) / np.sqrt(2), (pairs[:, 1] - pairs[:, 0]) / np.sqrt(2))


def match(a: np.ndarray, b: np.ndarray, budget: int | None = None) -> Matching:
    """Match the points of two diagrams at least cost.

    Args:
        a: (n, 2) births and deaths, birth < death, finite.
        b: (m, 2), the same.
        budget: number of points that searches may look at (about 1e8 a second); None for no limit.
            Counted rather than timed, so that the same input always gives the same result.

    Returns:
        The matching; equal inputs give bit-equal results.
    """
    a = np.asarray(a, np.float64).reshape(-1, 2)
    b = np.asarray(b, np.float64).reshape(-1, 2)
    partner = np.full(len(a), -1, np.int64)
    if len(a) == 0 or len(b) == 0:
        return Matching(matching_cost(a, b, partner), partner, 0.0, True)
    # Centred and scaled, so that tolerances are relative.
    centre = np.median(b)
    scale = max(np.diff(a).max(), np.diff(b).max()) / np.sqrt(2)
    smaller, larger = (a, b) if len(a) <= len(b) else (b, a)
    sides = [_points((points - centre) / scale) for points in (smaller, larger)]
    if compiled.HAVE_NUMBA:
        pairs, bound, complete = _solve_compiled(*sides, NO_LIMIT if budget is None else budget)
    else:
        from topomae.topology.reference import solve_with_scipy

        compiled.say_numba_is_missing()
        pairs, bound, complete = solve_with_scipy(*sides)
    of_smaller, of_larger = pairs.T
    if smaller is a:
        partner[of_smaller] = of_larger
    else:
        partner[of_larger] = of_smaller
    saved = np.sum(_savings(*sides, pairs))
    gap = max(0.0, float(bound - saved)) * scale**2
    return Matching(matching_cost(a, b, partner), partner, gap, complete)


def matching_cost(a: np.ndarray, b: np.ndarray, partner: np.ndarray) -> float:
    """Sum of squared distances of matched points, and of all others to the diagonal.

    Args:
        a, b: (n, 2) and (m, 2) births and deaths.
        partner: (n,) index into b, or -1.

    Returns:
        The cost, in squared intensity units.
    """
    matched = partner >= 0
    alone = np.ones(len(b), bool)
    alone[partner[matched]] = False
    return float(
        np.sum((a[matched] - b[partner[matched]]) ** 2)
        + np.sum(np.diff(a[~matched]) ** 2) / 2
        + np.sum(np.diff(b[alone]) ** 2) / 2
    )


def _savings(side: Points, other: Points, pairs: np.ndarray) -> np.ndarray:
    """What every pair (index, index) saves."""
    rows, columns = pairs.T
    return 2 * side.height[rows] * other.height[columns] - (side.position[rows] - other.position[columns]) ** 2


def _solve_compiled(side: Points, other: Points, budget: int) -> tuple[np.ndarray, float, bool]:
    """Pairs of indices, an upper bound of what any matching can save, and whether the budget sufficed."""
    order, tree, twins = _planted(side)
    other_order, other_tree, other_twins = _planted(other)
    largest = side.height.max() * other.height.max()
    ratio = np.sum(side.height**2) / np.sum(other.height**2)
    alike = 1 / _ALIKE < ratio < _ALIKE
    epsilon = (_FIRST_EPSILON_ALIKE if alike else _FIRST_EPSILON) * largest
    price = (_FIRST_PRICES_ALIKE if alike else 0.0) * other_tree[1] ** 2
    partner, profit, work = _solve(
        tree, twins, other_tree, other_twins, price, epsilon, _LAST_EPSILON * largest, budget
    )
    rows = np.flatnonzero(partner >= 0)
    pairs = np.stack([order[rows], other_order[partner[rows]]], axis=1)
    return pairs, profit.sum() + price.sum(), work <= budget


def _planted(points: Points) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
    """Order of the points in a tree; the tree: position, height, weight, nodes, first; numbers of twins."""
    order, nodes, first = build_tree(points.position, points.height)
    tree = points.position[order], points.height[order], np.zeros(len(order)), nodes, first
    places = tree[0] + 1j * tree[1]
    return order, tree, np.unique(places, return_inverse=True)[1].astype(np.int32)


@kernel
def _solve(side, twins, other, other_twins, price, epsilon, last_epsilon, budget):
    """Auction with falling epsilon, both sides in turn, then shortest paths from both sides; prices are written."""
    profit = np.ones(side[0].size)
    partner = np.full(profit.size, -1, np.int32)
    holder = np.full(price.size, -1, np.int32)
    work = 0
    while True:
        work = bid(side, profit, partner, other, price, holder, epsilon, work, budget)
        work = bid(other, price, holder, side, profit, partner, epsilon, work, budget)
        final = epsilon <= last_epsilon * 1.0001 or work > budget
        epsilon = max(epsilon * _FACTOR, last_epsilon)
        tolerance = 1e-15 if final else epsilon
        if work > budget:
            tolerance = 1e300  # keep the pairs there are
        settle(side, profit, partner, other, price, holder, tolerance)
        if final:
            break
    work = augment(side, twins, profit, partner, other, price, holder, last_epsilon, work, budget)
    work = augment(other, other_twins, price, holder, side, profit, partner, last_epsilon, work, budget)
    return partner, profit, work
