# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Exact finish of the matching: shortest augmenting paths from every point that still wants a partner.

The auction leaves prices close to the best ones, so that few and short paths remain. Dijkstra over the pairs
with reduced costs profit + price - saving >= 0, which stay so (R. Jonker, A. Volgenant, Computing 38, 1987).
A path may end at a free partner, or at a point that gives up its partner and stays alone.

Images of whole numbers give diagrams with many points in one place. A search goes on from one of such twins
only: profit and saving of the others are the same, so that whatever they reach was reached before.
"""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel
from topomae.topology.lower_star import grown
from topomae.topology.price_tree import STACK, lower_bound, raise_price, set_prices

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


@kernel
def augment(side, twins, profit, partner, other, price, holder, reach, work, budget):
    """Give every point that wants a partner one along a shortest path; the matching becomes exact.

    Args:
        side: (position, height, weight, nodes, first), tree of the searching side.
        twins: (n,) the same number for points of the searching side in one place, numbers from 0.
        profit, partner: (n,) of the searching side; written.
        other: tree of the other side; its weights are written.
        price, holder: (m,) of the other side; written.
        reach: length up to which paths are looked for at first; prices are adjusted before looking farther,
            so that nothing is lost by starting small. Most paths are no longer than the last epsilon of the
            auction.
        work, budget: points looked at so far, and allowed.

    Returns:
        Points looked at so far. Beyond the budget: the matching is feasible, not the best.
    """
    position, height, _, _, _ = side
    other_position, other_height, other_weight, other_nodes, first = other
    set_prices(other_height, price, other_weight, other_nodes, first)
    leaves = other_nodes.shape[0] >> 1
    count = other_position.size
    distance = np.full(count, _NEVER)
    reached_from = np.empty(count, np.int32)
    done = np.zeros(count, np.uint8)
    touched = np.empty(count, np.int32)
    keys = np.empty(1 << 12)
    items = np.empty(1 << 12, np.int32)
    stack = np.empty(STACK, np.int64)
    searched = np.full(position.size, -1, np.int64)  # by number of twins: the last search that went on from there
    search = -1

    source = -1
    limit = reach
    while work <= budget:
        # The same source again, looking farther, or the next one that wants a partner.
        if source >= 0 and partner[source] < 0 and profit[source] > 0.0:
            limit *= 8
        else:
            limit = reach
            source += 1
            while source < position.size and (partner[source] >= 0 or profit[source] <= 0.0):
                source += 1
            if source == position.size:
                break
        shortest = limit  # length of the best complete path so far, and where it ends:
        end_choice = -1  # at a free partner,
        end_point = -1  # or at a point that stays alone
        touched_count = 0
        heap_size = 0
        point = source
        travelled = 0.0
        search += 1
        while True:
            base = travelled + profit[point]
            if base < shortest:
                shortest = base
                end_choice = -1
                end_point = point
            here = position[point]
            tall = height[point]
            base -= tall * tall
            stack[0] = 1
            waiting = 0 if searched[twins[point]] == search else 1
            searched[twins[point]] = search
            while waiting > 0:
                waiting -= 1
                node = stack[waiting]
                if base + lower_bound(other_nodes, node, here, tall) >= shortest:
                    continue
                if node < leaves:
                    stack[waiting] = 2 * node
                    stack[waiting + 1] = 2 * node + 1
                    waiting += 2
                    continue
                start = first[node - leaves]
                stop = first[node - leaves + 1]
                work += stop - start
                for j in range(start, stop):
                    away = here - other_position[j]
                    up = tall - other_height[j]
                    length = base + (away * away + up * up + other_weight[j])
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
                    raise_price(choice, change, other_weight, other_nodes, first)
                    profit[holder[choice]] -= change

        # Walk back along the path, if one was found, and swap partners.
        choice = end_choice
        if end_point >= 0:
            choice = partner[end_point]
            partner[end_point] = -1
            profit[end_point] = 0.0
        if end_point != source and choice >= 0:
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
