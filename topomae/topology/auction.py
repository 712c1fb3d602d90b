# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Auction: a nearly best matching, quickly.

Points bid for partners, raising prices by at least epsilon, until nobody wants another one; then both sides
swap roles. Repeated with falling epsilon, prices kept. D. Bertsekas, D. Castanon, "A forward/reverse auction
algorithm for asymmetric assignment problems", Computational Optimization and Applications 1, 1992.
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel
from topomae.topology.savings import best_partner


@kernel
def bid(position, height, profit, partner, other, price, holder, epsilon, work, budget):
    """Let all points without a partner bid until each has one or prefers to stay alone.

    Args:
        position, height: (n,) the bidding side.
        profit: (n,) what each is left with; written.
        partner: (n,) int32, -1 for none; written.
        other: (position, doubled height, starts, highest) of the side bid for.
        price: (m,) raised.
        holder: (m,) int32, -1 for none; written.
        epsilon: smallest raise.
        work, budget: candidates looked at so far, and allowed.

    Returns:
        Candidates looked at so far.
    """
    other_position, other_double, starts, highest = other
    stack = np.empty(position.size + 1, np.int32)
    waiting = 0
    for point in range(position.size - 1, -1, -1):
        if partner[point] < 0 and profit[point] > 0.0:
            stack[waiting] = point
            waiting += 1
    while waiting > 0 and work <= budget:
        waiting -= 1
        point = stack[waiting]
        best, choice, second, seen = best_partner(
            position[point], height[point], other_position, other_double, starts, highest, price
        )
        work += seen + 1
        if choice < 0:
            profit[point] = 0.0
            continue
        previous = holder[choice]
        price[choice] += best - second + epsilon
        profit[point] = max(second - epsilon, 0.0)
        holder[choice] = point
        partner[point] = choice
        if previous >= 0:
            partner[previous] = -1
            stack[waiting] = previous
            waiting += 1
    return work


@kernel
def settle(position, height, profit, partner, other, price, holder, tolerance):
    """Set every profit to the best that the prices allow, and part pairs that are not the best for the point.

    Arguments as in `bid`; pairs worse than the best by more than `tolerance` are parted.
    """
    other_position, other_double, starts, highest = other
    for point in range(position.size):
        best, _, _, _ = best_partner(
            position[point], height[point], other_position, other_double, starts, highest, price
        )
        profit[point] = best
        choice = partner[point]
        if choice >= 0:
            away = position[point] - other_position[choice]
            left = height[point] * other_double[choice] - away * away - price[choice]
            if best - left > tolerance:
                partner[point] = -1
                holder[choice] = -1
