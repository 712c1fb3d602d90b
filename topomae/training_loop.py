"""The loop that pre-training and fine-tuning share: steps, curves, checkpoints, stop and resume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch.utils.data import Dataset

from topomae.config import Settings
from topomae.data.loading import batches
from topomae.data.plan import Plan
from topomae.errors import RunError
from topomae.runs import Run, rng_state, set_rng_state
from topomae.training import (
    Device,
    LossGuard,
    Part,
    RunningMeans,
    loading_workers,
    make_fabric,
    make_optimizer,
    set_learning_rate,
)

LOG_EVERY = 10


class TrainingLoop(ABC):
    """Everything that is kept between steps, and the way through them.

    A subclass names its `phase`, says what the loss of a batch is, and may act after a step and put more
    into the checkpoints.

    Args:
        run: the open run folder.
        plan: crop and batch size.
        settings: resolved for the size of the network.
        device: where to compute.
        network: initialized.
        parts: modules of the network with the scale of their learning rate.
        schedule: of the learning rate, `cosine` or `poly`.
        optimizer_options: further options of AdamW.
    """

    phase: str

    def __init__(
        self,
        run: Run,
        plan: Plan,
        settings: Settings,
        device: Device,
        network: torch.nn.Module,
        parts: list[Part],
        *,
        schedule: str = "cosine",
        **optimizer_options: Any,
    ):
        self.run, self.plan, self.settings, self.device, self.schedule = run, plan, settings, device, schedule
        self.steps = settings.steps
        self.fabric = make_fabric(device, settings.precision)
        network = network.to(memory_format=torch.channels_last_3d)  # convolutions are faster that way
        optimizer = make_optimizer(parts, settings, **optimizer_options)
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        self._means = RunningMeans()
        self._guard = LossGuard(run.events)

    @abstractmethod
    def loss(self, batch: dict[str, torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a batch at `step`, and further values for the curves."""

    def after_update(self) -> None:  # noqa: B027 (most subclasses need none)
        """Called when the weights have changed."""

    def after_step(self, done: int) -> None:  # noqa: B027
        """Called after each step, before it may be saved; `done` steps are done."""

    def more_state(self) -> dict[str, Any]:
        """What a checkpoint should hold besides network, optimizer and random numbers."""
        return {}

    def load_more(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Take back what `more_state` gave."""

    def train(self, crops: Dataset) -> bool:
        """Do the steps that are left; False if the run was asked to stop before its end."""
        first = self._resume()
        stream = batches(
            crops,
            batch_size=self.plan.batch_size,
            first_step=first,
            last_step=self.steps,
            workers=loading_workers(self.settings, self.device),
            pin_memory=self.device.kind == "cuda",
        )
        progress = self.run.events.track(self.steps, self.phase, done=first)
        for step, batch in zip(range(first, self.steps), stream, strict=True):
            self.take_step(step, self.fabric.to_device(batch))
            progress.advance()
            done = step + 1
            if done % LOG_EVERY == 0:
                self.run.log_metrics(done, self.phase, self._means.take())
            self.after_step(done)
            stopping = done < self.steps and self.run.stop_requested()
            if done % self.settings.checkpoint_every == 0 or done == self.steps or stopping:
                self._save(done)
            if stopping:
                return False
        return True

    def take_step(self, step: int, batch: dict[str, torch.Tensor]) -> None:
        """Learn from one batch, which is on the device; nothing is saved or told but the running means."""
        self.network.train()
        rate = set_learning_rate(self.optimizer, step, self.steps, self.settings.warmup, self.schedule)
        loss, values = self.loss(batch, step)
        self.optimizer.zero_grad()
        if not self._guard.accepts(loss, step):
            return
        self.fabric.backward(loss)
        self.fabric.clip_gradients(
            self.network, self.optimizer, max_norm=self.settings.gradient_clip, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.after_update()
        self._means.add({"loss": loss, **values, "learning_rate": torch.tensor(rate)})

    def _save(self, step: int) -> None:
        state = {
            "step": step,
            "plan": self.plan.model_dump_json(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "means": self._means.state(),
            "random": rng_state(),
            "more": self.more_state(),
        }
        self.run.save_checkpoint(state, step=step)

    def _resume(self) -> int:
        """Go back to the last checkpoint; return the number of steps done."""
        state = self.run.load_checkpoint()
        if state is None:
            return 0
        if state["plan"] != self.plan.model_dump_json():
            raise RunError(
                "plan.json was changed after training had begun",
                hint="Put the old plan back to go on, or start in another folder.",
                path=self.run.path("plan.json"),
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._means.load(state["means"])
        self.load_more(state["more"])
        set_rng_state(state["random"])
        return state["step"]
