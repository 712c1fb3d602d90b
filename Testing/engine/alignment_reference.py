"""The alignment objectives as their description reads, token by token: slow, and what the fast ones are held to."""

from __future__ import annotations

import numpy as np


def cosine_distance(a: np.ndarray, b: np.ndarray) -> float:
    return 1 - float(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))


def nearest_others(distances_from: dict[int, float], count: int) -> list[int]:
    return sorted(distances_from, key=distances_from.get)[:count]


def within_subject(first: np.ndarray, second: np.ndarray, k: int, margin: float) -> float:
    """Of one sample, (N, C) each, with the hardest negatives; both directions."""
    return 0.5 * (_within(first, second, k, margin) + _within(second, first, k, margin))


def _within(known: np.ndarray, taught: np.ndarray, k: int, margin: float) -> float:
    tokens = range(len(known))
    triplets = []
    for i in tokens:
        others = [j for j in tokens if j != i]
        positives = nearest_others({j: float(np.linalg.norm(known[i] - known[j])) for j in others}, k)
        strangers = [j for j in others if j not in positives]
        negatives = nearest_others({n: cosine_distance(taught[i], taught[n]) for n in strangers}, k)
        for j in positives:
            for n in negatives:
                triplets.append(cosine_distance(taught[i], taught[j]) - cosine_distance(taught[i], taught[n]) + margin)
    return float(np.mean(np.maximum(triplets, 0)))


def across_subjects(
    first: np.ndarray, second: np.ndarray, pairs: list[tuple[int, int]], k: int, margin: float
) -> float:
    """Of samples (B, N, C), with the hardest negatives; both directions, and each pair with its views exchanged."""
    found = []
    for p, q in pairs:
        for a, b in ((first[p], second[q]), (first[q], second[p])):
            found += [_across(a, b, k, margin), _across(b, a, k, margin)]
    found = [value for value in found if value is not None]
    return float(np.mean(found)) if found else 0.0


def _across(a: np.ndarray, b: np.ndarray, k: int, margin: float) -> float | None:
    """From the scan with tokens `a` to the one with tokens `b`; None if there is no triplet."""
    match = _mutual_matches(a, b)
    unmatched = [u for u in range(len(b)) if u not in match.values()]
    anchors = []
    for i, u in match.items():
        close = nearest_others({j: cosine_distance(a[i], a[j]) for j in range(len(a)) if j != i}, k)
        positives = [match[j] for j in close if j in match]
        others = unmatched or [n for n in range(len(b)) if n != u and n not in positives]
        negatives = nearest_others({n: cosine_distance(b[u], b[n]) for n in others}, k)
        hinges = [
            max(0.0, cosine_distance(b[u], b[j]) - cosine_distance(b[u], b[n]) + margin)
            for j in positives
            for n in negatives
        ]
        if hinges:
            anchors.append(np.mean(hinges))
    return float(np.mean(anchors)) if anchors else None


def _mutual_matches(a: np.ndarray, b: np.ndarray) -> dict[int, int]:
    best_b = [min(range(len(b)), key=lambda u, i=i: cosine_distance(a[i], b[u])) for i in range(len(a))]
    best_a = [min(range(len(a)), key=lambda i, u=u: cosine_distance(a[i], b[u])) for u in range(len(b))]
    return {i: u for i, u in enumerate(best_b) if best_a[u] == i}
