"""The same budget for everybody: processor time on a CPU, because machines are shared; wall time on a GPU.

What counts is the training itself with its loading, augmentation, validation and checkpoints, and pre-training as
well. Reading and preprocessing the data, finding out how long a step takes, and the test do not count.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def clock(device: str) -> float:
    """Seconds so far: of the processor (this process and its finished children), or on a GPU of the wall."""
    if device == "cuda":
        return time.perf_counter()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class Pace:
    """How long the parts of a training take, in seconds of `clock`."""

    step: float
    validation: float = 0.0

    def steps_within(self, seconds: float, validations: int = 0) -> int:
        """Steps that fit beside so many validations; at least one for each of these."""
        left = seconds - validations * self.validation
        return max(1, validations, int(left / self.step))


class Meter:
    """A sink of events that notes when which step of which phase was done."""

    def __init__(self, device: str):
        self._device = device
        self._began: dict[str, float] = {}
        self._marks: list[tuple[str, int, float]] = []

    def write(self, event: dict[str, Any]) -> None:
        """Note progress."""
        if event["event"] == "progress":
            now = clock(self._device)
            self._began.setdefault(event["phase"], now)
            self._marks.append((event["phase"], event["step"], now))

    def close(self) -> None:
        """Nothing to close."""

    def since(self, phase: str) -> float:
        """Seconds since a phase began."""
        return clock(self._device) - self._began[phase]

    def pace(self, phase: str) -> Pace:
        """Of the later half of the steps, because the first ones also compile and fill caches; of one validation."""
        intervals = [
            (name, before, after - before, then - at)
            for (name, before, at), (next_name, after, then) in zip(self._marks, self._marks[1:], strict=False)
            if name == next_name and after > before
        ]
        stepping = [(first, steps, seconds) for name, first, steps, seconds in intervals if name == phase]
        half = max(first + steps for first, steps, _ in stepping) // 2
        counted = [one for one in stepping if one[0] >= half] or stepping
        validating = sum(seconds for name, _, _, seconds in intervals if name == "validate")
        validations = sum(1 for name, step, _ in self._marks if name == "validate" and step == 0)
        step = sum(seconds for _, _, seconds in counted) / sum(steps for _, steps, _ in counted)
        return Pace(step, validating / max(1, validations))


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds that some work takes."""
    synchronize(device)
    began = clock(device)
    work()
    synchronize(device)
    return clock(device) - began


def synchronize(device: str) -> None:
    """Wait for the GPU."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
