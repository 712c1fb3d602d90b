# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Auction: a nearly best matching, quickly.

Points bid for partners, raising prices by at least epsilon, until nobody wants another one; then both sides
swap roles. Repeated with falling epsilon, prices kept. D. Bertsekas, D. Castanon, "A forward/reverse auction
algorithm for asymmetric assignment problems", Computational Optimization and Applications 1, 1992.
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel
from topomae.topology.price_tree import STACK, best_offer, raise_price, set_prices


@kernel
def bid(side, profit, partner, other, price, holder, epsilon, work, budget):
    """Let all points without a partner bid until each has one or prefers to stay alone.

    Args:
        side: (position, height, weight, nodes, first), tree of the bidding side.
        profit: (n,) what each is left with; written.
        partner: (n,) int32, -1 for none; written.
        other: tree of the side bid for; its weights are written.
        price: (m,) raised.
        holder: (m,) int32, -1 for none; written.
        epsilon: smallest raise.
        work, budget: points looked at so far, and allowed.

    Returns:
        Points looked at so far.
    """
    position, height, _, _, _ = side
    other_position, other_height, other_weight, other_nodes, first = other
    set_prices(other_height, price, other_weight, other_nodes, first)
    stack = np.empty(STACK, np.int64)
    bounds = np.empty(STACK)
    queue = np.empty(position.size, np.int32)
    waiting = 0
    for point in range(position.size - 1, -1, -1):
        if partner[point] < 0 and profit[point] > 0.0:
            queue[waiting] = point
            waiting += 1
    while waiting > 0 and work <= budget:
        waiting -= 1
        point = queue[waiting]
        best, choice, second, seen = best_offer(
            position[point], height[point],
            other_position, other_height, other_weight, other_nodes, first, stack, bounds,
        )  # fmt: skip
        work += seen + 1
        if choice < 0:
            profit[point] = 0.0
            continue
        previous = holder[choice]
        price[choice] += best - second + epsilon
        raise_price(choice, best - second + epsilon, other_weight, other_nodes, first)
        profit[point] = max(second - epsilon, 0.0)
        holder[choice] = point
        partner[point] = choice
        if previous >= 0:
            partner[previous] = -1
            queue[waiting] = previous
            waiting += 1
    return work


@kernel
def settle(side, profit, partner, other, price, holder, tolerance):
    """Set every profit to the best that the prices allow, and part pairs that are not the best for the point.

    Arguments as in `bid`; pairs worse than the best by more than `tolerance` are parted.
    """
    position, height, _, _, _ = side
    other_position, other_height, other_weight, other_nodes, first = other
    set_prices(other_height, price, other_weight, other_nodes, first)
    stack = np.empty(STACK, np.int64)
    bounds = np.empty(STACK)
    for point in range(position.size):
        best, _, _, _ = best_offer(
            position[point], height[point],
            other_position, other_height, other_weight, other_nodes, first, stack, bounds,
        )  # fmt: skip
        profit[point] = best
        choice = partner[point]
        if choice >= 0:
            away = position[point] - other_position[choice]
            up = height[point] - other_height[choice]
            left = height[point] * height[point] - (away * away + up * up + other_weight[choice])
            if best - left > tolerance:
                partner[point] = -1
                holder[choice] = -1
