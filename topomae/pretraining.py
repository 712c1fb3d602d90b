"""Self pre-training: no labels, only the user's own volumes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from topomae.config import PretrainSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import open_dataset
from topomae.data.loading import PretrainingCrops, batches
from topomae.data.plan import Plan
from topomae.data.splits import split_dataset
from topomae.errors import RunError
from topomae.events import Events
from topomae.networks.factory import NetworkSpec, build_co_pretrainer
from topomae.objectives import CoPretrainingLoss
from topomae.preparation import check_cases, settle_plan
from topomae.pretrained import save_pretrained
from topomae.previews import Preview
from topomae.runs import Run, rng_state, set_rng_state
from topomae.training import (
    Device,
    LossGuard,
    RunningMeans,
    choose_device,
    loading_workers,
    make_fabric,
    make_optimizer,
    set_learning_rate,
)

LOG_EVERY = 10


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
        Pretraining(opened, dataset, used, settled, settings, where).train()
        return opened.path("model")


class Pretraining:
    """The training loop and everything it keeps between steps."""

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
        self.run, self.plan, self.settings, self.device = run, plan, settings, device
        self.steps = settings.steps
        self.spec = NetworkSpec(
            size=plan.size,
            in_channels=len(plan.modalities),
            out_channels=len(plan.class_values),
            crop_size=plan.crop_size,
            patch_size=plan.patch_size,
            stem_stride=plan.stem_stride,
        )
        self.cases = PreprocessedCases(run.path("preprocessed"), dataset, cases, plan, with_label=False)
        self.fabric = make_fabric(device, settings.precision)
        torch.manual_seed(settings.seed)
        network = build_co_pretrainer(self.spec).to(memory_format=torch.channels_last_3d)
        optimizer = make_optimizer([(network, 1.0)], settings, betas=(0.9, 0.95))
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        self.loss = CoPretrainingLoss(settings, plan.patch_size)
        self.means = RunningMeans()
        self.guard = LossGuard(run.events)

    def train(self) -> None:
        """Run the steps that are left, then write the model folder."""
        progress = self.run.events.track(len(self.cases), "preprocess")
        self.cases.prepare(lambda done, of: done and progress.advance())
        preview = Preview.of(self.cases[0], self.plan, self.settings.mask_ratio, self.settings.seed)
        first_step = self._resume()
        stream = batches(
            PretrainingCrops(self.cases, self.plan, mask_ratio=self.settings.mask_ratio, seed=self.settings.seed),
            batch_size=self.plan.batch_size,
            first_step=first_step,
            last_step=self.steps,
            workers=loading_workers(self.settings, self.device),
            pin_memory=self.device.kind == "cuda",
        )
        progress = self.run.events.track(self.steps, "pretrain", done=first_step)
        for step in range(first_step, self.steps):
            self._step(step, next(stream))
            progress.advance()
            done = step + 1
            if done % LOG_EVERY == 0:
                self.run.log_metrics(done, "pretrain", self.means.take())
            if done % self.settings.preview_every == 0 or done == self.steps:
                losses = preview.write(self.network, self.run, done, self.fabric.device)
                self.run.log_metrics(done, "preview", losses)
            stopping = done < self.steps and self.run.stop_requested()
            if done % self.settings.checkpoint_every == 0 or done == self.steps or stopping:
                self._save(done)
            if stopping:
                return
        save_pretrained(self.run.path("model"), self.network.module, self.spec, self.plan)

    def _step(self, step: int, batch: dict[str, torch.Tensor]) -> None:
        self.network.train()
        batch = self.fabric.to_device(batch)
        rate = set_learning_rate(self.optimizer, step, self.steps, self.settings.warmup, "cosine")
        outputs = self.network(batch["image"], batch["mask"])
        total, terms = self.loss(outputs, batch, step)
        self.optimizer.zero_grad()
        if not self.guard.accepts(total, step):
            return
        self.fabric.backward(total)
        self.fabric.clip_gradients(
            self.network, self.optimizer, max_norm=self.settings.gradient_clip, error_if_nonfinite=False
        )
        self.optimizer.step()
        values = {"learning_rate": rate}
        if self.loss.topology is not None:
            values["unfinished_matchings"] = float(self.loss.unfinished_matchings)
        self.means.add({"loss": total, **terms, **{name: torch.tensor(value) for name, value in values.items()}})

    def _save(self, step: int) -> None:
        state = {
            "step": step,
            "plan": self.plan.model_dump_json(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "means": self.means.state(),
            "random": rng_state(),
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
        self.means.load(state["means"])
        set_rng_state(state["random"])
        return state["step"]


def _unlabelled_cases(dataset: Dataset, settings: PretrainSettings) -> list[Case]:
    """The training cases, labelled or not. Held-out cases stay unseen, even without their labels."""
    split = split_dataset(dataset, fold=settings.fold, folds=settings.folds, seed=settings.seed)
    return [dataset.case(name) for name in split.train]
