"""Self pre-training: no labels, only the user's own volumes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from topomae.config import PretrainSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import open_dataset
from topomae.data.loading import PretrainingCrops
from topomae.data.plan import Plan
from topomae.data.splits import split_dataset
from topomae.events import Events
from topomae.networks.factory import NetworkSpec, build_co_pretrainer
from topomae.objectives import CoPretrainingLoss
from topomae.preparation import check_cases, prepare, settle_plan
from topomae.pretrained import save_pretrained
from topomae.previews import Preview
from topomae.runs import Run
from topomae.topology_pace import TopologyPace
from topomae.training import Device, choose_device
from topomae.training_loop import TrainingLoop


def pretrain(
    data: str | Path,
    run: str | Path,
    *,
    size: str = "small",
    device: str = "auto",
    settings: PretrainSettings | None = None,
    plan: dict | None = None,
    modalities: Iterable[str] | None = None,
    leave_out_bad: bool = False,
    events: Events | None = None,
) -> Path:
    """Pre-train on the images of a data set, or go on with a run that was stopped or killed.

    Test cases of `splits.json` are left out; labels are never read.

    Args:
        data: folder of the data set.
        run: run folder; holds everything the run writes, in the end `model/`.
        size: `small` (CPU, laptop) or `base` (as published).
        device: `auto`, `cpu` or `cuda`.
        settings: see `PretrainSettings`.
        plan: fields of the plan to set by hand, see `Plan`.
        modalities: names of the image channels where the data set does not name them, e.g. ["CT"].
        leave_out_bad: go on without the images that cannot be read, with a warning each.
        events: told of everything that happens; silent by default.
    Returns:
        The folder with the pre-trained network (also when the run was stopped before its end: then it does
        not exist yet).
    Raises:
        TopoMAEError: bad data, settings or run folder; nothing has been trained then.
    """
    settings = settings or PretrainSettings()
    where = choose_device(device)
    dataset = open_dataset(data, modalities=modalities)
    overrides = dict(plan or {})
    about = {
        "data": str(Path(data).resolve()),
        "size": size,
        "plan": {name: str(value) for name, value in overrides.items()},
        **settings.model_dump(mode="json"),
    }
    with Run.open(
        run, "pretrain", about, events, changeable=("data", "workers", "precision"), device=where.reason
    ) as opened:
        cases = _unlabelled_cases(dataset, settings)
        reports = check_cases(dataset, cases, labels_needed=False, events=opened.events, leave_out_bad=leave_out_bad)
        settled = settle_plan(opened, dataset, reports, size=size, device=where, overrides=overrides)
        used = [report.case for report in reports]
        Pretraining(opened, dataset, used, settled, settings, where).pretrain()
        return opened.path("model")


class Pretraining(TrainingLoop):
    """Co-pre-training of both branches."""

    phase = "pretrain"

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        cases: list[Case],
        plan: Plan,
        settings: PretrainSettings,
        device: Device,
    ):
        settings = settings.resolved(plan.size)
        self.spec = NetworkSpec.of(plan)
        self.cases = PreprocessedCases(run.path("preprocessed"), dataset, cases, plan, with_label=False)
        self.objective = CoPretrainingLoss(settings, plan.patch_size)
        self.pace = TopologyPace(settings.topology_every, can_hide=device.kind == "cuda")
        self._step_began = time.perf_counter()
        torch.manual_seed(settings.seed)
        network = build_co_pretrainer(self.spec)
        super().__init__(run, plan, settings, device, network, [(network, 1.0)], betas=(0.9, 0.95))

    def pretrain(self) -> None:
        """Do the steps that are left, then write the model folder."""
        prepare(self.run, self.cases)
        self.preview = Preview.of(self.cases[0], self.plan, self.settings.mask_ratio, self.settings.seed)
        crops = PretrainingCrops(self.cases, self.plan, mask_ratio=self.settings.mask_ratio, seed=self.settings.seed)
        if self.train(crops):
            save_pretrained(self.run.path("model"), self.network.module, self.spec, self.plan)

    def loss(self, batch: dict[str, torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Total and terms of the co-pre-training loss."""
        self._step_began = time.perf_counter()
        diagrams = self.objective.begin(batch, step)
        outputs = self.network(batch["image"], batch["mask"])
        total, terms = self.objective(outputs, batch, step, diagrams)
        if self.objective.topology is not None:
            terms["unfinished_matchings"] = torch.tensor(float(self.objective.unfinished_matchings))
        return total, terms

    def after_update(self) -> None:
        """Choose how often the topological loss is computed."""
        if self.objective.topology is not None:
            news = self.pace.observe(self.objective.waited, time.perf_counter() - self._step_began)
            self.objective.topology.every_k = self.pace.every
            if news:
                self.run.events.emit("note", message=news)

    def more_state(self) -> dict[str, Any]:
        """The pace of the topological loss."""
        return {"topology_pace": self.pace.state()}

    def load_more(self, state: dict[str, Any]) -> None:
        """Take back the pace."""
        if "topology_pace" in state and self.objective.topology is not None:
            self.pace.load(state["topology_pace"])
            self.objective.topology.every_k = self.pace.every

    def after_step(self, done: int) -> None:
        """Write a preview now and then."""
        if done % self.settings.preview_every == 0 or done == self.steps:
            losses = self.preview.write(self.network, self.run, done, self.fabric.device)
            self.run.log_metrics(done, "preview", losses)


def _unlabelled_cases(dataset: Dataset, settings: PretrainSettings) -> list[Case]:
    """The training cases, labelled or not. Held-out cases stay unseen, even without their labels."""
    split = split_dataset(dataset, fold=settings.fold, folds=settings.folds, seed=settings.seed)
    return [dataset.case(name) for name in split.train]
