"""The loop that pre-training and fine-tuning share: steps, curves, checkpoints, stop and resume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data import Dataset

from topomae.config import Settings
from topomae.data.loading import batches
from topomae.data.plan import Plan
from topomae.errors import RunError
from topomae.networks.shared_dropout import tell_rows
from topomae.parallel.dealing import Deal
from topomae.parallel.devices import Device, OutOfMemoryError, chosen_precision, make_fabric
from topomae.parallel.distributed import LostProcessError, Stopping, is_main, lost_processes_told, processes
from topomae.runs.folder import Run, rng_state, set_rng_state
from topomae.training.optimization import (
    LossGuard,
    Part,
    RunningMeans,
    loading_workers,
    make_optimizer,
    set_learning_rate,
)

LOG_EVERY = 10


class TrainingLoop(ABC):
    """Everything that is kept between steps, and the way through them.

    A subclass names its `phase`, says what the loss of a batch is, and may act after a step and put more
    into the checkpoints. Several processes go through it side by side, each with its rows of every batch: the
    loss is to be that of the whole batch (see `topomae.parallel.global_means`), and only the main process writes.

    Args:
        run: the open run folder.
        plan: crop and batch size.
        settings: resolved for the size of the network.
        device: where to compute.
        network: initialized.
        parts: modules of the network with the scale of their learning rate.
        schedule: of the learning rate, `cosine` or `poly`.
        optimizer_options: further options of AdamW.

    Raises:
        BadSettingError: a batch has fewer samples than there are processes.
    """

    phase: str
    may_halve = True  # whether to go on in halves where the memory does not suffice

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
        self.deal = Deal(plan.batch_size, processes())
        self.in_halves = False  # whether the GPU's memory holds but half a batch at a time
        self.fabric = make_fabric(device, settings.precision)
        self._scaled = chosen_precision(device, settings.precision) == "16-mixed"
        if device.kind == "cuda" and processes().world > 1:
            network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # statistics of the whole batch
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
        """Called after each step, before it may be saved; `done` steps are done. May raise `Stopping`: it is then
        called again when the run goes on."""

    def more_state(self) -> dict[str, Any]:
        """What a checkpoint should hold besides network, optimizer and random numbers."""
        return {}

    def load_more(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Take back what `more_state` gave."""

    def train(self, crops: Dataset) -> bool:
        """Do the steps that are left; False if the run was asked to stop before its end."""
        first, after_step_due = self._resume()
        if after_step_due and not self._complete(first, save=True):
            return False
        stream = batches(
            crops,
            batch_size=self.plan.batch_size,
            first_step=first,
            last_step=self.steps,
            workers=loading_workers(self.settings, self.device),
            pin_memory=self.device.kind == "cuda",
            rows=self.deal.rows,
        )
        progress = self.run.events.track(self.steps, self.phase, done=first)
        for step, batch in zip(range(first, self.steps), stream, strict=True):
            self.take_step(step, self.fabric.to_device(batch))
            progress.advance()
            done = step + 1
            if done % LOG_EVERY == 0:
                self.run.log_metrics(done, self.phase, self._means.take())
            if not self._complete(done, save=done % self.settings.checkpoint_every == 0 or done == self.steps):
                return False
        return True

    def take_step(self, step: int, batch: dict[str, torch.Tensor]) -> None:
        """Learn from one batch, which is on the device; nothing is saved or told but the running means.

        Args:
            step: number of the step, from 0.
            batch: this process's rows of it.
        Raises:
            OutOfMemoryError: half a batch does not fit into the GPU's memory either.
            RunError: too many steps in a row were no good, or another process is lost.
        """
        self.network.train()
        rate = set_learning_rate(self.optimizer, step, self.steps, self.settings.warmup, self.schedule)
        try:
            done = self._work_through(step, batch)
        except LostProcessError as lost:
            if lost.of == OutOfMemoryError.__name__ and self._halving_helps():
                self.in_halves = True
                self._save(step)
            raise
        if done is None:
            self._go_on_in_halves(step)
            done = self._work_through(step, batch)
        if done is None:
            raise _no_memory(f"half a batch of step {step + 1}")
        loss, values = done
        norm = self.fabric.clip_gradients(
            self.network, self.optimizer, max_norm=self.settings.gradient_clip, error_if_nonfinite=False
        )
        # Where float16 is scaled, gradients overflow now and then by design: the scaler then leaves the step out.
        if not self._guard.accepts(loss, step, None if self._scaled else norm):
            self.optimizer.zero_grad()
            return
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError:
            raise _no_memory("the optimizer's state") from None
        self.after_update()
        self._means.add({"loss": loss, **values, "learning_rate": torch.tensor(rate)})

    def _work_through(
        self, step: int, batch: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]] | None:
        """Loss and values of a step, with the gradients left in the network; None if the memory did not suffice."""
        self.optimizer.zero_grad()
        portions = self.deal.portions(halved=self.in_halves and self.deal.can_be_halved)
        loss, values = torch.zeros(()), {}
        try:
            for portion in portions:
                last = portion is portions[-1]
                tell_rows(self.network, portion.first, portion.rows.stop - portion.rows.start, portion.total)
                rows = batch if len(portions) == 1 else {name: value[portion.rows] for name, value in batch.items()}
                alone = nullcontext() if last else self.fabric.no_backward_sync(self.network)
                with alone, lost_processes_told():
                    part, part_values = self.loss(rows, step)
                    weighted = part if len(portions) == 1 else part * portion.weight
                    self.fabric.backward(weighted)
                loss = loss + weighted.detach().cpu() if len(portions) > 1 else part.detach()
                for name, value in part_values.items():
                    values[name] = values.get(name, 0.0) + value.detach() * portion.weight  # of one portion it is 1
        except torch.OutOfMemoryError:
            return None
        return loss, values

    def _go_on_in_halves(self, step: int) -> None:
        """From now on, work through each batch in two goes, each with half the memory.

        Raises:
            OutOfMemoryError: that was tried already, or there is nothing to halve; or this is one of several
                processes, which cannot do a step anew, but can start anew from here.
        """
        self.optimizer.zero_grad()
        if not self._halving_helps():
            raise _no_memory(f"the batch of step {step + 1}")
        self.in_halves = True
        if processes().world > 1:
            self._save(step)
            raise _no_memory(f"the batch of step {step + 1}", _ANEW)
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        self.run.events.warning(
            f"the GPU's memory does not hold the batch of step {step + 1}: from here on each batch is worked through "
            "in two halves, one after the other, which takes longer"
        )

    def _halving_helps(self) -> bool:
        return self.may_halve and not self.in_halves and self.deal.can_be_halved

    def _complete(self, done: int, *, save: bool) -> bool:
        """What follows the step that made it `done` steps; False if the run is to stop now."""
        try:
            self.after_step(done)
        except Stopping:
            self._save(done, after_step_due=True)
            raise
        stopping = done < self.steps and self.run.everyone_stops()
        if save or stopping:
            self._save(done)
        return not stopping

    def _save(self, step: int, *, after_step_due: bool = False) -> None:
        if not is_main():
            return
        state = {
            "step": step,
            "plan": self.plan.model_dump_json(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "means": self._means.state(),
            "random": rng_state(),
            "more": self.more_state(),
            "in_halves": self.in_halves,
            "left_out_in_a_row": self._guard.in_a_row,
            "after_step_due": after_step_due,
        }
        self.run.save_checkpoint(state, step=step)

    def _resume(self) -> tuple[int, bool]:
        """Go back to the last checkpoint; return the number of steps done, and whether `after_step` is still due."""
        state = self.run.load_checkpoint()
        if state is None:
            return 0, False
        if state["plan"] != self.plan.model_dump_json():
            raise RunError(
                "plan.json was changed after training had begun",
                hint="Put the old plan back to go on, or start in another folder.",
                path=self.run.path("plan.json"),
            )
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError:  # names or shapes of the weights are others
            raise RunError(
                "the run was begun by another version of TopoMAE, whose networks were built otherwise",
                hint="Start in another folder, or go on with that version.",
                path=self.run.folder,
            ) from None
        self.optimizer.load_state_dict(state["optimizer"])
        self._means.load(state["means"])
        self.load_more(state["more"])
        random = state["random"]
        # Saved by the main process, whose GPU was the first: all go on with the same random numbers.
        set_rng_state(random | {"cuda": random["cuda"][:1] * len(random["cuda"])})
        self.in_halves = state.get("in_halves", False)
        self._guard.in_a_row = state.get("left_out_in_a_row", 0)
        return state["step"], state.get("after_step_due", False)


_SMALLER = "Start another run with a smaller batch_size, or crop_size if that is 1 (--set batch_size=1)."
_ANEW = "Start the same command again: it goes on with each batch in two halves."


def _no_memory(what: str, hint: str = _SMALLER) -> OutOfMemoryError:
    return OutOfMemoryError(f"the GPU's memory does not hold {what}", hint=hint)
