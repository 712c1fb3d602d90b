"""Which samples of a step each process works on, and in how many goes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from topomae.errors import BadSettingError
from topomae.parallel.distributed import Processes


@dataclass(frozen=True)
class Portion:
    """What a process works on in one go.

    Attributes:
        rows: of this process's samples.
        first: place of the first of them among all samples of this go, of all processes.
        total: number of samples of this go, of all processes.
        weight: of this go in the loss of the step.
    """

    rows: slice
    first: int
    total: int
    weight: float


class Deal:
    """The samples of a step, dealt out in runs that differ by one sample at most.

    Args:
        batch_size: samples of a step, of all processes.
        processes: who this is, and how many there are.

    Attributes:
        rows: of the step's samples, those of this process.

    Raises:
        BadSettingError: there are fewer samples than processes.
    """

    def __init__(self, batch_size: int, processes: Processes):
        if batch_size < processes.world:
            raise BadSettingError(
                f"{processes.world} processes share the batch_size of {batch_size} samples of a step: some would have "
                "nothing to do",
                hint=f"Use {batch_size} processes at most, or a new run with --set batch_size={processes.world}.",
            )
        self.batch_size = batch_size
        starts = [rank * batch_size // processes.world for rank in range(processes.world + 1)]
        self._counts = [end - start for start, end in pairwise(starts)]
        self._rank = processes.rank
        self.rows = range(starts[self._rank], starts[self._rank + 1])

    @property
    def can_be_halved(self) -> bool:
        """Whether every process has samples for two goes."""
        return min(self._counts) > 1

    def portions(self, *, halved: bool) -> list[Portion]:
        """What to do in a step, in one go or in two."""
        cuts = [[0, (count + 1) // 2, count] if halved else [0, count] for count in self._counts]
        portions = []
        for go in range(len(cuts[0]) - 1):
            counts = [cut[go + 1] - cut[go] for cut in cuts]
            rows = slice(cuts[self._rank][go], cuts[self._rank][go + 1])
            first, total = sum(counts[: self._rank]), sum(counts)
            portions.append(Portion(rows, first, total, total / self.batch_size))
        return portions
