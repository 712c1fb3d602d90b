# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Points of a diagram with prices, in a tree that finds the best offer for another point.

A point (b, d) has position m = (b + d)/sqrt(2) and height h = (d - b)/sqrt(2), its distance to the diagonal.
Sending every point of two diagrams to the diagonal costs the sum of h^2; matching p with q instead saves

    h_p^2 + h_q^2 - |p - q|^2,

so that the squared 2-Wasserstein distance is a matching of largest total saving. At a price v_q, partner q
leaves p

    h_p^2 - (|p - q|^2 + w_q),    with the weight  w_q = v_q - h_q^2,

and the best offer is the nearest neighbour, weights added to squared distances. When prices are right,
weights are small and the search is local. A k-d tree over (m, h) keeps the least weight of every subtree (M.
Kerber, D. Morozov, A. Nigmetov, "Geometry helps to compare persistence diagrams", ACM JEA 22, 2017).

The tree is a complete binary one, children of node k are 2k and 2k + 1. A row of `nodes` is lowest
and highest position, lowest and highest height, least weight, and the least price when prices were last set (since
then they only rose).
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel

LEAF = 8  # most points in a leaf
STACK = 64  # deeper than any tree
FASTMATH = {"nnan", "nsz", "reassoc", "contract"}


@kernel
def _select(order, values, low, high, middle):
    """Partition order[low:high] so that values at `middle` are where sorting would put them (quickselect)."""
    high -= 1
    while high > low:
        pivot = values[order[(low + high) >> 1]]
        left = low
        right = high
        while left <= right:
            while values[order[left]] < pivot:
                left += 1
            while values[order[right]] > pivot:
                right -= 1
            if left <= right:
                order[left], order[right] = order[right], order[left]
                left += 1
                right -= 1
        if middle <= right:
            high = right
        elif middle >= left:
            low = left
        else:
            return


@kernel
def build_tree(position, height):
    """Sort points into a tree.

    Args:
        position, height: (n,) float64, n > 0.

    Returns:
        (n,) order in which the leaves hold the points; the nodes, without weights; where every leaf's points
        start, and one past the last.
    """
    count = position.size
    levels = 0
    while (count >> levels) >= LEAF:
        levels += 1
    leaves = 1 << levels
    nodes = np.zeros((2 * leaves, 6))
    order = np.arange(count)
    for level in range(levels + 1):
        for place in range(1 << level):
            start = (place * count) >> level
            stop = ((place + 1) * count) >> level
            node = (1 << level) + place
            nodes[node, 0] = nodes[node, 2] = np.inf
            nodes[node, 1] = nodes[node, 3] = -np.inf
            for i in range(start, stop):
                nodes[node, 0] = min(nodes[node, 0], position[order[i]])
                nodes[node, 1] = max(nodes[node, 1], position[order[i]])
                nodes[node, 2] = min(nodes[node, 2], height[order[i]])
                nodes[node, 3] = max(nodes[node, 3], height[order[i]])
            if level < levels:
                middle = ((2 * place + 1) * count) >> (level + 1)
                if nodes[node, 1] - nodes[node, 0] > nodes[node, 3] - nodes[node, 2]:
                    _select(order, position, start, stop, middle)
                else:
                    _select(order, height, start, stop, middle)
    first = (np.arange(leaves + 1) * count) >> levels
    return order, nodes, first


@kernel(fastmath=FASTMATH)
def _least(values, start, stop):
    """The least of values[start:stop]."""
    least = np.inf
    for i in range(start, stop):
        least = values[i] if values[i] < least else least
    return least


@kernel
def set_prices(height, price, weight, nodes, first):
    """Put new prices of all points into the tree."""
    leaves = nodes.shape[0] >> 1
    for j in range(height.size):
        weight[j] = price[j] - height[j] * height[j]
    for node in range(2 * leaves - 1, 0, -1):
        if node < leaves:
            nodes[node, 4] = min(nodes[2 * node, 4], nodes[2 * node + 1, 4])
            nodes[node, 5] = min(nodes[2 * node, 5], nodes[2 * node + 1, 5])
        else:
            nodes[node, 4] = _least(weight, first[node - leaves], first[node - leaves + 1])
            nodes[node, 5] = _least(price, first[node - leaves], first[node - leaves + 1])


@kernel
def raise_price(choice, amount, weight, nodes, first):
    """Raise the price of one point in the tree."""
    before = weight[choice]
    weight[choice] = before + amount
    leaves = nodes.shape[0] >> 1
    node = leaves + ((choice + 1) * leaves - 1) // weight.size
    if before > nodes[node, 4]:
        return
    nodes[node, 4] = _least(weight, first[node - leaves], first[node - leaves + 1])
    node >>= 1
    while node > 0:
        least = min(nodes[2 * node, 4], nodes[2 * node + 1, 4])
        if least == nodes[node, 4]:
            return
        nodes[node, 4] = least
        node >>= 1


@kernel(forceinline=True)
def lower_bound(nodes, node, point, tall):
    """No weighted distance from (point, tall) to a point of the node is less than this."""
    away = max(0.0, nodes[node, 0] - point, point - nodes[node, 1])
    up = max(0.0, nodes[node, 2] - tall, tall - nodes[node, 3])
    # The weight's part of the height, or all of it at the largest height there: whichever tells more.
    by_weight = up * up + nodes[node, 4]
    by_price = tall * (tall - 2 * nodes[node, 3]) + nodes[node, 5]
    return away * away + max(by_weight, by_price)


@kernel(fastmath=FASTMATH, error_model="numpy")
def best_offer(point, tall, position, height, weight, nodes, first, stack, bounds):
    """The partner that leaves one point most, after its price; staying alone leaves 0.

    Args:
        point, tall: position and height of the point.
        position, height, weight, nodes, first: tree of the other side.
        stack, bounds: (STACK,) int64 and float64, room to work in.

    Returns:
        What the best partner leaves, its index (-1: none leaves more than 0), what the second best choice
        leaves, and the number of points looked at.
    """
    leaves = nodes.shape[0] >> 1
    alone = tall * tall
    best = alone  # of the weighted distances
    second = alone
    partner = -1
    seen = 0
    stack[0] = 1
    bounds[0] = lower_bound(nodes, 1, point, tall)
    waiting = 1
    while waiting > 0:
        waiting -= 1
        if bounds[waiting] >= second:
            continue
        node = stack[waiting]
        if node < leaves:
            near = 2 * node
            near_bound = lower_bound(nodes, near, point, tall)
            far_bound = lower_bound(nodes, near + 1, point, tall)
            far = near + 1
            if far_bound < near_bound:
                near, far = far, near
                near_bound, far_bound = far_bound, near_bound
            stack[waiting] = far
            bounds[waiting] = far_bound
            stack[waiting + 1] = near
            bounds[waiting + 1] = near_bound
            waiting += 2
            continue
        start = first[node - leaves]
        stop = first[node - leaves + 1]
        seen += stop - start
        least = np.inf
        for j in range(start, stop):
            away = point - position[j]
            up = tall - height[j]
            length = away * away + up * up + weight[j]
            least = length if length < least else least
        if least < second:
            for j in range(start, stop):
                away = point - position[j]
                up = tall - height[j]
                length = away * away + up * up + weight[j]
                if length < best:
                    second = best
                    best = length
                    partner = j
                elif length < second:
                    second = length
    return alone - best, partner, alone - second, seen
