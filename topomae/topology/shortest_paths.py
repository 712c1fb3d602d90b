# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Exact finish of the matching: shortest augmenting paths from every point that still wants a partner.

The auction leaves prices close to the best ones, so that few and short paths remain. Dijkstra over the pairs
with reduced costs profit + price - saving >= 0, which stay so (R. Jonker, A. Volgenant, Computing 38, 1987).
A path may end at a free partner, or at a point that gives up its partner and stays alone.
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel
from topomae.topology.lower_star import grown
from topomae.topology.savings import BLOCK, position_range

_NEVER = 1e300


@kernel
def _push(keys, items, size, key, item):
    """Put an item on the heap (smallest key on top); returns the new size."""
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if keys[above] <= key:
            break
        keys[place] = keys[above]
        items[place] = items[above]
        place = above
    keys[place] = key
    items[place] = item
    return size + 1


@kernel
def _drop_top(keys, items, size):
    """Take the smallest key off the heap; returns the new size."""
    size -= 1
    key = keys[size]
    item = items[size]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and keys[below + 1] < keys[below]:
            below += 1
        if keys[below] >= key:
            break
        keys[place] = keys[below]
        items[place] = items[below]
        place = below
    keys[place] = key
    items[place] = item
    return size


@kernel(fastmath={"nnan", "nsz", "reassoc", "contract"}, error_model="numpy")
def augment(position, height, profit, partner, other, price, holder, work, budget):
    """Give every point that wants a partner one along a shortest path; the matching becomes exact.

    Args:
        position, height: (n,) the searching side.
        profit, partner: (n,) of the searching side; written.
        other: (position, doubled height, starts, highest) of the other side.
        price, holder: (m,) of the other side; written.
        work, budget: candidates looked at so far, and allowed.

    Returns:
        Candidates looked at so far. Beyond the budget: the matching is feasible, not the best.
    """
    other_position, other_double, starts, highest = other
    count = other_position.size
    distance = np.full(count, _NEVER)
    reached_from = np.empty(count, np.int32)
    done = np.zeros(count, np.uint8)
    touched = np.empty(count, np.int32)
    keys = np.empty(1 << 12)
    items = np.empty(1 << 12, np.int32)

    for source in range(position.size):
        if work > budget:
            break
        if partner[source] >= 0 or profit[source] <= 0.0:
            continue
        shortest = _NEVER  # length of the best complete path so far, and where it ends:
        end_choice = -1  # at a free partner,
        end_point = -1  # or at a point that stays alone
        touched_count = 0
        heap_size = 0
        point = source
        travelled = 0.0
        while True:
            base = travelled + profit[point]
            if base < shortest:
                shortest = base
                end_choice = -1
                end_point = point
            here = position[point]
            tall = height[point]
            for stratum in range(highest.size):
                bound = 2 * tall * highest[stratum]
                limit = base - shortest
                if bound <= limit:
                    break
                start, stop = position_range(
                    other_position, starts[stratum], starts[stratum + 1], here, np.sqrt(bound - limit)
                )
                work += stop - start
                while start < stop:
                    end = min(start + BLOCK, stop)
                    most = -_NEVER
                    for j in range(start, end):
                        away = here - other_position[j]
                        left = tall * other_double[j] - away * away - price[j]
                        most = left if left > most else most
                    if most > base - shortest:
                        for j in range(start, end):
                            away = here - other_position[j]
                            length = base + price[j] - (tall * other_double[j] - away * away)
                            if length < shortest and length < distance[j] and done[j] == 0:
                                if distance[j] == _NEVER:
                                    touched[touched_count] = j
                                    touched_count += 1
                                length = max(length, travelled)
                                distance[j] = length
                                reached_from[j] = point
                                if holder[j] < 0:
                                    shortest = length
                                    end_choice = j
                                    end_point = -1
                                else:
                                    if heap_size + 1 >= keys.size:
                                        keys = grown(keys, heap_size)
                                        items = grown(items, heap_size)
                                    heap_size = _push(keys, items, heap_size, length, j)
                    start = end
            choice = -1
            while heap_size > 0:
                length = keys[0]
                candidate = items[0]
                heap_size = _drop_top(keys, items, heap_size)
                if done[candidate] == 0 and length <= distance[candidate]:
                    choice = candidate
                    break
            if choice < 0 or distance[choice] >= shortest:
                break
            done[choice] = 1
            travelled = distance[choice]
            point = holder[choice]

        profit[source] -= shortest
        for i in range(touched_count):
            choice = touched[i]
            if done[choice]:
                change = shortest - distance[choice]
                if change > 0:
                    price[choice] += change
                    profit[holder[choice]] -= change

        # Walk back along the path and swap partners.
        choice = end_choice
        if end_point >= 0:
            choice = partner[end_point]
            partner[end_point] = -1
            profit[end_point] = 0.0
        if end_point != source:
            while True:
                point = reached_from[choice]
                previous = partner[point]
                holder[choice] = point
                partner[point] = choice
                if point == source:
                    break
                choice = previous

        for i in range(touched_count):
            distance[touched[i]] = _NEVER
            done[touched[i]] = 0
    return work
