"""Training by answers that are known: validates now and then, keeps the best weights, ends in a model folder."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from topomae.config import ClassifySettings, FinetuneSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed
from topomae.models.folder import save_model
from topomae.networks.factory import NetworkSpec
from topomae.parallel.devices import Device
from topomae.parallel.distributed import gathered, is_main, own_share
from topomae.runs.folder import Run
from topomae.runs.provenance import with_weights
from topomae.training.averaging import averaged_model
from topomae.training.loop import TrainingLoop
from topomae.training.optimization import Part
from topomae.training.preparation import prepare

VALIDATIONS = 10  # in a run, unless validate_every says otherwise
_NOTHING = [-math.inf]  # how good the weights are while none have been validated


@dataclass(frozen=True)
class Teaching:
    """What is learnt from, and what the model folder is to say of it.

    Attributes:
        train: cases that are learnt from.
        val: cases that decide which weights are kept; none of them: the last weights are.
        spec: how the network is built.
        about: what the model folder says of the training: data, first weights, cases.
        record: see `topomae.runs.provenance.record_training`.
    """

    train: PreprocessedCases
    val: PreprocessedCases
    spec: NetworkSpec
    about: dict[str, Any]
    record: dict[str, Any]


class SupervisedTraining(TrainingLoop):
    """The loop with validation; what is predicted and how it is judged is up to the task.

    A moving average of the weights, if the settings ask for one, is what is validated and kept.

    Args:
        run: the open run folder.
        plan: crop and batch size.
        settings: resolved for the size of the network.
        device: where to compute.
        network: initialized.
        parts: modules of the network with the scale of their learning rate.
        teaching: cases, and what the model folder is to say.
        schedule: of the learning rate, `cosine` or `poly`.
    """

    phase = "finetune"
    headline: str  # the metric of validation that people ask for
    classes: Sequence[str] = ()  # names of the classes of whole volumes, where these are learnt

    def __init__(
        self,
        run: Run,
        plan: Plan,
        settings: FinetuneSettings | ClassifySettings,
        device: Device,
        network: torch.nn.Module,
        parts: list[Part],
        teaching: Teaching,
        *,
        schedule: str = "cosine",
    ):
        super().__init__(run, plan, settings, device, network, parts, schedule=schedule)
        self.teaching = teaching
        self.average = averaged_model(network, settings.ema) if settings.ema else None
        self.validate_every = settings.validate_every or max(1, self.steps // VALIDATIONS)
        self.best = list(_NOTHING)

    @abstractmethod
    def samples(self) -> Dataset:
        """What batches are made of."""

    @abstractmethod
    def predict(self, network: torch.nn.Module, case: Preprocessed) -> list[float]:
        """What judging needs to know of a validation case, as plain numbers that processes can hand on."""

    @abstractmethod
    def judge(self, predictions: Sequence[list[float]]) -> dict[str, float]:
        """Metrics of all validation cases, in their order; one of them is the `headline`."""

    def goodness(self, metrics: dict[str, float]) -> list[float]:
        """How good weights with these metrics are: lists are compared from their first number on."""
        return [metrics[self.headline]]

    def doubts(self, metrics: dict[str, float]) -> list[str]:
        """What the user should know of weights with these metrics before using them, a sentence each."""
        return []

    def told_settings(self) -> dict[str, Any]:
        """The settings as the model folder tells them."""
        return self.settings.model_dump(mode="json")

    def before_training(self) -> None:
        """Called when all cases are prepared."""

    def finetune(self) -> None:
        """Do the steps that are left, then write the model folder."""
        drawn = self.steps * self.plan.batch_size
        prepare(self.run, self.teaching.train, self.teaching.val, samples=drawn, seed=self.settings.seed)
        self.before_training()
        if self.train(self.samples()) and is_main():
            self._finish()

    def after_update(self) -> None:
        """Let the averaged weights follow."""
        if self.average is not None:
            self.average.update_parameters(self.network.module)

    def after_step(self, done: int) -> None:
        """Validate now and then."""
        if len(self.teaching.val) and (done % self.validate_every == 0 or done == self.steps):
            self._validate(done)

    def more_state(self) -> dict[str, Any]:
        """The averaged weights, and how good the best ones were."""
        return {"best": list(self.best), "average": None if self.average is None else self.average.state_dict()}

    def load_more(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.best = list(state["best"])
        if is_main() and self.best > _NOTHING:  # as far as they are still there: the file may have been damaged
            kept = self.run.load_checkpoint("best")
            self.best = list(_NOTHING) if kept is None else self.goodness(kept["metrics"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    @property
    def _kept(self) -> torch.nn.Module:
        """The network that is validated and kept."""
        return self.network.module if self.average is None else self.average.module

    def _validate(self, step: int) -> None:
        """Judge the network by the validation cases; keep the weights if they are the best."""
        network = self._kept.eval()
        places = own_share(range(len(self.teaching.val)))
        progress = self.run.events.track(len(places), "validate")
        found = []
        for case in (self.teaching.val[place] for place in places):
            self.run.leave_if_asked()
            found.append(self.predict(network, case))
            progress.advance()
        metrics = self.judge(gathered(found))
        self.run.log_metrics(step, "validate", metrics)
        now = self.goodness(metrics)
        if now > self.best:  # never where the metric is not defined
            self.best = now
            self.run.save_checkpoint(
                {"step": step, "metrics": metrics, "network": network.state_dict()}, "best", step=step
            )

    def _finish(self) -> None:
        """Write the model folder: the best validated weights, or the last ones where nothing was validated."""
        network = self._kept.eval()
        best = self.run.load_checkpoint("best") if len(self.teaching.val) else None
        metrics = {}
        if best is not None:
            network.load_state_dict(best["network"])
            metrics = {f"validation_{self.headline}": best["metrics"][self.headline], "step": best["step"]}
            for doubt in self.doubts(best["metrics"]):
                self.run.events.warning(doubt)
        training = {**self.teaching.about, "steps": self.steps, "settings": self.told_settings()}
        training["provenance"] = with_weights(self.teaching.record, network)
        save_model(
            self.run.path("model"),
            network,
            self.teaching.spec,
            self.plan,
            training=training,
            metrics=metrics,
            classes=self.classes,
        )
