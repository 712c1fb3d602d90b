"""Steps of the optimizer: its parameter groups, its learning rate, the losses it may learn from."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from topomae.config import Settings
from topomae.errors import RunError
from topomae.events import Events
from topomae.parallel.devices import Device
from topomae.parallel.distributed import cores

# A module and the scale of its learning rate.
Part = tuple[nn.Module, float]


def loading_workers(settings: Settings, device: Device) -> int:
    """Processes that load crops: as set, else none on a CPU, which has better things to do, up to 8 beside a GPU."""
    if settings.workers is not None:
        return settings.workers
    return 0 if device.kind == "cpu" else max(1, min(8, cores() - 1))


def make_optimizer(parts: Iterable[Part], settings: Settings, **options: object) -> torch.optim.AdamW:
    """AdamW over modules with a learning-rate scale each, for settings that are resolved.

    Biases, normalizations and other vectors are not decayed.
    """
    groups = []
    for module, scale in parts:
        parameters = [p for p in module.parameters() if p.requires_grad]
        for decay, members in (
            (settings.weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            if members:
                lr = settings.learning_rate * scale
                groups.append({"params": members, "weight_decay": decay, "lr": lr, "peak": lr})
    return torch.optim.AdamW(groups, lr=settings.learning_rate, **options)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, steps: int, warmup: float, schedule: str) -> float:
    """Set every group's learning rate for `step` of `steps`; return that of the first group.

    Linear warm-up over the fraction `warmup`, then `cosine` or `poly` (power 0.9) to zero.
    """
    rising = max(1, round(warmup * steps))
    if step < rising:
        factor = (step + 1) / rising
    else:
        progress = (step - rising) / max(1, steps - rising)
        factor = (1 - progress) ** 0.9 if schedule == "poly" else 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return optimizer.param_groups[0]["lr"]


class RunningMeans:
    """Means of named values since the last report."""

    def __init__(self):
        self._values: dict[str, tuple[torch.Tensor, int]] = {}

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """Take in the values of one step; a value may be absent at some steps."""
        for name, value in values.items():
            total, count = self._values.get(name, (0.0, 0))
            self._values[name] = (total + value.detach(), count + 1)

    def take(self) -> dict[str, float]:
        """Return the means and start anew."""
        means = {name: float(total) / count for name, (total, count) in self._values.items()}
        self._values = {}
        return means

    def state(self) -> dict[str, list]:
        """What a checkpoint needs to go on between two reports."""
        return {name: [torch.as_tensor(total).cpu(), count] for name, (total, count) in self._values.items()}

    def load(self, state: dict[str, list]) -> None:
        """Go on from a checkpoint."""
        self._values = {name: (total, count) for name, (total, count) in state.items()}


class LossGuard:
    """Leaves out steps whose loss or gradient is not a number, and ends the run when that keeps happening."""

    MOST_IN_A_ROW = 10

    def __init__(self, events: Events):
        self.in_a_row = 0
        self._events = events

    def accepts(self, loss: torch.Tensor, step: int, gradient: torch.Tensor | None = None) -> bool:
        """Whether to learn from this loss.

        Args:
            loss: of the step.
            step: number of the step, from 0.
            gradient: norm of the gradient, where that is to be judged as well.
        Raises:
            RunError: too many steps in a row were not finite.
        """
        judged = loss.detach().float()
        if gradient is not None:
            judged = judged + 0 * gradient.detach().float().to(judged.device)  # one look at the GPU, not two
        if bool(torch.isfinite(judged)):
            self.in_a_row = 0
            return True
        what = "gradient" if bool(torch.isfinite(loss.detach())) else "loss"
        self.in_a_row += 1
        self._events.warning(f"step {step + 1} was left out: its {what} is not a number")
        if self.in_a_row >= self.MOST_IN_A_ROW:
            raise RunError(
                f"{self.in_a_row} steps in a row had a loss or gradient that is not a number",
                hint="The last checkpoint is good: go on from it with a smaller learning_rate in a new run.",
            )
        return False
