"""Class scores that are computed while they are read, so that they never exist all at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch


class StreamedScores:
    """Scores (L, I, J, K) that come plane by plane along the first axis.

    Behaves like an array to `restore_labels`: `scores[c, planes]` gives a class's planes. Planes must be
    asked for in rising order; those before the first plane asked for last are forgotten.

    Args:
        slabs: from `score_slabs`.
        shape: (L, I, J, K).
    """

    def __init__(self, slabs: Iterator[tuple[slice, torch.Tensor]], shape: tuple[int, int, int, int]):
        self.shape = shape
        self._slabs = slabs
        self._held: deque[tuple[int, torch.Tensor]] = deque()  # first plane, (L, planes, J, K)
        self._known = 0  # planes computed so far

    def __getitem__(self, index: tuple[int, slice]) -> torch.Tensor:
        channel, planes = index
        start, stop, _ = planes.indices(self.shape[1])
        while self._held and self._held[0][0] + self._held[0][1].shape[1] <= start:
            self._held.popleft()
        while self._known < stop:
            part, slab = next(self._slabs)
            if slab.shape[0] != self.shape[0]:
                raise ValueError(f"the network has {slab.shape[0]} outputs, not {self.shape[0]}")
            self._known = part.stop
            if self._known > start:
                self._held.append((part.start, slab))
        if start < self._held[0][0]:
            raise ValueError(f"plane {start} was forgotten; the first one known is {self._held[0][0]}")
        return torch.cat([slab[channel, max(start - first, 0) : max(stop - first, 0)] for first, slab in self._held])
