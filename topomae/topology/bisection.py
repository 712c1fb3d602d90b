# ruff: noqa: ANN001, ANN201  (compiled functions: numba infers the types, docstrings name them)
"""Bisection in part of a sorted array."""

from __future__ import annotations

from topomae.topology.compiled import kernel


@kernel(forceinline=True)
def first_not_below(values, low, high, wanted):
    """Index of the first value in values[low:high], sorted, that is not below the one wanted; else `high`.

    numba's searchsorted does the same on slices several times slower.
    """
    length = high - low
    while length > 0:
        half = length >> 1
        if values[low + half] < wanted:
            low += half + 1
            length -= half + 1
        else:
            length = half
    return low
