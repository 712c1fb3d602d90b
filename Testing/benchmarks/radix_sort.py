"""The lower bound that persistence is measured against: putting all voxels into order."""

from __future__ import annotations

import numpy as np

from topomae.topology.compiled import kernel


@kernel
def sort_voxels(intensities):
    """Stable radix sort of float32 values, in three passes of 11 bits.

    Args:
        intensities: (n,) float32, finite.

    Returns:
        (n,) int32, index of the voxel at every rank.
    """
    n = intensities.size
    keys = intensities.view(np.uint32).copy()
    counts = np.zeros((3, 2048), np.int64)
    low = np.uint32(2047)
    for i in range(n):
        bits = keys[i]
        if bits == np.uint32(0x80000000):  # -0.0 equals 0.0
            bits = np.uint32(0)
        # Order of floats as order of unsigned integers: flip all bits of negatives, the sign bit of others.
        bits = ~bits if bits >> np.uint32(31) else bits | np.uint32(0x80000000)
        keys[i] = bits
        counts[0, bits & low] += 1
        counts[1, (bits >> np.uint32(11)) & low] += 1
        counts[2, bits >> np.uint32(22)] += 1
    for digit in range(3):
        start = 0
        for value in range(2048):
            count = counts[digit, value]
            counts[digit, value] = start
            start += count
    first = np.empty(n, np.int32)
    second = np.empty(n, np.int32)
    moved = np.empty(n, np.uint32)
    for i in range(n):
        bits = keys[i]
        place = counts[0, bits & low]
        counts[0, bits & low] = place + 1
        first[place] = i
        moved[place] = bits
    for i in range(n):
        bits = moved[i]
        digit = (bits >> np.uint32(11)) & low
        place = counts[1, digit]
        counts[1, digit] = place + 1
        second[place] = first[i]
        keys[place] = bits
    for i in range(n):
        digit = keys[i] >> np.uint32(22)
        place = counts[2, digit]
        counts[2, digit] = place + 1
        first[place] = second[i]
    return first
