"""How often the topological loss is computed where it cannot hide behind the GPU's work."""

from __future__ import annotations

import math
from statistics import median

_WARM_UP = 5  # steps that compile, fill caches and are not looked at
_WINDOWS = (20, 200)  # steps looked at before the first choice, and before every later one
_TOLERATED = 0.10  # of a step without the loss
_LARGEST = 8  # more rarely than this it hardly guides the training


class TopologyPace:
    """Chooses k, so that computing the loss at every k-th step makes steps at most a tenth longer on average.

    Times differ from run to run. A run that is to be the same to the bit each time must be given a fixed k.

    Args:
        every: fixed k; None to choose. On a CPU, where nothing can hide, the choice is always 1, so that runs stay
            reproducible, and only the cost is told.
        can_hide: whether there is a GPU that works meanwhile.

    Attributes:
        every: the k now.
    """

    def __init__(self, every: int | None, *, can_hide: bool):
        self.every = every or 1
        self._free = every is None and can_hide
        self._wanted = every is None
        self._seen = 0
        self._window = _WINDOWS[0]
        self._shares: list[float] = []

    def observe(self, waited: float | None, step: float) -> str | None:
        """Take in one step.

        Args:
            waited: seconds that the step stood still for the loss; None if it was not computed.
            step: seconds of the whole step.
        Returns:
            What the user should know, if there is something new to know.
        """
        self._seen += 1
        if not self._wanted or self._seen <= _WARM_UP:
            return None
        if waited is not None:
            self._shares.append(waited / max(step - waited, 1e-9))
        if self._seen < _WARM_UP + self._window or not self._shares:
            return None
        share, self._shares = median(self._shares), []
        first, self._window, self._seen = self._window == _WINDOWS[0], _WINDOWS[1], _WARM_UP
        before = self.every
        if self._free:
            self.every = min(_LARGEST, max(1, math.ceil(share / _TOLERATED - 0.2)))
        if not first and self.every == before:
            return None
        how_often = "every step" if self.every == 1 else f"every {self.every} steps, {self.every} times as heavy"
        return f"the topological loss makes a step {100 * share:.0f} % longer; it is computed at {how_often}"

    def state(self) -> dict[str, int]:
        """What a checkpoint needs for the run to go on at the same pace."""
        return {"every": self.every}

    def load(self, state: dict[str, int]) -> None:
        """Go on from a checkpoint."""
        self.every = state["every"]
