"""TopoMAE and the other networks of its engine, trained through its public functions within a budget."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budget import Meter, Pace
from protocol import Cell

import topomae
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.events import Events
from topomae.models.folder import load_model
from topomae.models.pretrained import is_pretrained

_TIMED_PRETRAINING = 24  # steps: the first ones, of an untrained network, take longer than all others
_TIMED_FINETUNING = 10
_MORE_ON_GPU = 10  # times as many: progress is told twice a second at most


@dataclass(frozen=True)
class Conditions:
    """What every method is given alike.

    Attributes:
        folder: of the study; prepared volumes and pre-trainings lie there for all cells.
        device: `cpu` or `cuda`.
        size: of the networks, `small` or `base`.
        budget: seconds for a training with its pre-training; None if the steps are given.
        steps: of fine-tuning, or of the whole training of a method that has no pre-training.
        pretraining_steps: of pre-training, where steps are given.
        pretraining_share: of the budget.
        validations: in a training; each looks at every validation case.
        mirror: whether predictions are averaged over mirrored views.
        overlap: of the windows that predictions are made in.
        plan: fields of the plan to set by hand.
    """

    folder: Path
    device: str
    size: str
    budget: float | None
    steps: int | None = None
    pretraining_steps: int | None = None
    pretraining_share: float = 0.35
    validations: int = 4
    mirror: bool = False
    overlap: float = 0.5
    plan: Mapping[str, Any] | None = None

    @property
    def cache(self) -> Path:
        """Of prepared volumes; preparing them counts for nobody."""
        return self.folder / "cache"


class EngineMethod:
    """Pre-training, if any, and fine-tuning.

    Args:
        given: the conditions.
        pretraining: settings that differ from the defaults; None trains from scratch.
        finetuning: settings that differ from the defaults.
    """

    def __init__(
        self,
        given: Conditions,
        pretraining: Mapping[str, Any] | None = None,
        finetuning: Mapping[str, Any] | None = None,
        *,
        shared_pretraining: str = "topomae",
    ):
        self.given = given
        self.pretraining = pretraining
        self.finetuning = dict(finetuning or {})
        self._shared = shared_pretraining

    def __call__(self, cell: Cell, data: Path, run: Path) -> tuple[Callable[[Path, Path], None], dict[str, Any]]:
        """Train a cell; see `protocol.Train`."""
        given, init, before = self.given, "scratch", {"seconds": 0.0, "steps": 0}
        shutil.rmtree(run, ignore_errors=True)  # of an attempt that was cut off: its time was not counted
        budget = given.budget
        if self.pretraining is not None:
            init, before = self.pretrained(cell, data)
            budget = None if budget is None else budget - before["seconds"]
        steps, pace = given.steps, None
        if budget is not None:
            pace = self._timed(
                lambda steps, trial, events: self._finetune(cell, data, init, steps, trial, events, validations=1),
                run,
                _TIMED_FINETUNING,
                "finetune",
            )
            steps = pace.steps_within(budget, given.validations)
        meter = Meter(given.device)
        self._finetune(cell, data, init, steps, run, Events(meter))
        seconds = meter.since("finetune")
        report = {
            "pretraining": before,
            "training": {"seconds": round(seconds, 1), "steps": steps, "pace": pace and pace.__dict__},
            "seconds": round(seconds + before["seconds"], 1),
            "settings": {"pretraining": self.pretraining, "finetuning": self.finetuning},
            **_of_model(run),
        }
        return lambda images, output: _segment(run, images, output, given), report

    def pretrained(self, cell: Cell, data: Path) -> tuple[Path, dict[str, Any]]:
        """Pre-train, or take what another cell with the same images and seed pre-trained, at its full price.

        Returns:
            The run folder, and seconds and steps.
        """
        run = self.given.folder / "runs" / f"pretraining-{self._shared}-{cell.seed}"
        told = run.with_suffix(".json")
        if told.exists() and is_pretrained(run):
            return run, json.loads(told.read_text(encoding="utf-8"))
        shutil.rmtree(run, ignore_errors=True)
        steps, pace = self.given.pretraining_steps, None
        if self.given.budget is not None:
            pace = self._timed(
                lambda steps, trial, events: self._pretrain_steps(cell, data, steps, trial, events),
                run,
                _TIMED_PRETRAINING,
                "pretrain",
            )
            steps = pace.steps_within(self.given.pretraining_share * self.given.budget)
        meter = Meter(self.given.device)
        self._pretrain_steps(cell, data, steps, run, Events(meter))
        found = {"seconds": round(meter.since("pretrain"), 1), "steps": steps, "pace": pace and pace.__dict__}
        told.write_text(json.dumps(found), encoding="utf-8")
        return run, found

    def _pretrain_steps(self, cell: Cell, data: Path, steps: int, run: Path, events: Events) -> None:
        settings = PretrainSettings(seed=cell.seed, steps=steps, preview_every=steps, **self.pretraining)
        common = {"device": self.given.device, "cache": self.given.cache, "plan": dict(self.given.plan or {})}
        topomae.pretrain(data, run, size=self.given.size, settings=settings, events=events, **common)

    def _finetune(
        self,
        cell: Cell,
        data: Path,
        init: str | Path,
        steps: int,
        run: Path,
        events: Events,
        *,
        validations: int | None = None,
    ) -> None:
        every = -(-steps // (validations or self.given.validations))
        settings = FinetuneSettings(seed=cell.seed, steps=steps, validate_every=every, **self.finetuning)
        common = {"device": self.given.device, "cache": self.given.cache, "init": init}
        if init == "scratch":
            common |= {"size": self.given.size, "plan": dict(self.given.plan or {})}
        topomae.finetune(data, run, settings=settings, events=events, **common)

    def _timed(self, train: Callable[[int, Path, Events], None], run: Path, steps: int, phase: str) -> Pace:
        """The pace of a training, from the first steps of one that is thrown away."""
        trial = run.with_name(run.name + "-timing")
        shutil.rmtree(trial, ignore_errors=True)
        meter = Meter(self.given.device)
        train(steps * (_MORE_ON_GPU if self.given.device == "cuda" else 1), trial, Events(meter))
        shutil.rmtree(trial)
        return meter.pace(phase)


def _segment(run: Path, images: Path, output: Path, given: Conditions) -> None:
    topomae.segment(run, images, output, device=given.device, mirror=given.mirror, overlap=given.overlap)


def _of_model(run: Path) -> dict[str, Any]:
    """Parameters and the validation that chose the weights."""
    model = load_model(run)
    chosen = model.metadata.get("eval_metrics", {})
    return {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "validation_dice": chosen.get("validation_dice"),
        "crop_size": list(model.plan.crop_size),
        "batch_size": model.plan.batch_size,
    }
