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
from topomae.data.loading import PretrainingCrops
from topomae.data.plan import Plan
from topomae.data.splits import split_dataset
from topomae.errors import BadSettingError
from topomae.events import Events
from topomae.models.pretrained import save_pretrained
from topomae.networks.factory import NetworkSpec, build_co_pretrainer
from topomae.parallel.devices import Device, choose_device
from topomae.parallel.distributed import is_main, largest, together
from topomae.parallel.global_means import summed
from topomae.recipes.following import follow, settings_by, tell
from topomae.recipes.recipe import Recipe
from topomae.recipes.shelf import find_recipe
from topomae.runs.folder import Run
from topomae.runs.provenance import record_training, with_weights
from topomae.training.aligning import Aligning
from topomae.training.imported_start import ImportedStart
from topomae.training.loop import TrainingLoop
from topomae.training.objectives import CoPretrainingLoss
from topomae.training.preparation import prepare, settle_plan
from topomae.training.previews import Preview
from topomae.training.run_cases import checked_cases, open_run_dataset
from topomae.training.topology_pace import TopologyPace


def pretrain(
    data: str | Path,
    run: str | Path,
    *,
    size: str | None = None,
    device: str = "auto",
    settings: PretrainSettings | None = None,
    plan: dict | None = None,
    modalities: Iterable[str] | None = None,
    leave_out_bad: bool = False,
    cache: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    init: str | Path = "scratch",
    events: Events | None = None,
) -> Path:
    """Pre-train on the images of a data set, or go on with a run that was stopped or killed.

    Test cases of `splits.json` are left out; labels are never read.

    Args:
        data: folder of the data set.
        run: run folder; holds everything the run writes, in the end `model/`.
        size: `small` (CPU, laptop) or `base` (as published); that of the recipe by default, else `small`.
        device: `auto`, `cpu` or `cuda`.
        settings: see `PretrainSettings`.
        plan: fields of the plan to set by hand, see `Plan`.
        modalities: names of the image channels where the data set does not name them, e.g. ["CT"].
        leave_out_bad: go on without the images that cannot be read, with a warning each.
        cache: folder that keeps what was found in the data, and prepared volumes, so that several runs share
            them; also given by the environment variable TOPOMAE_CACHE. By default the run folder keeps them.
        recipe: name of a recipe, or its JSON file; see `topomae.recipes`. What is given here goes before it.
        init: `scratch`, or a file with weights of a vision transformer for the ViT to begin with; see
            `topomae.models.vit_import`.
        events: told of everything that happens; silent by default.
    Returns:
        The folder with the pre-trained network (also when the run was stopped before its end: then it does
        not exist yet).
    Raises:
        TopoMAEError: bad data, settings or run folder; nothing has been trained then.
    """
    recipe = find_recipe(recipe)
    size = (plan or {}).get("size") or size or (recipe.size if recipe else "small")
    settings = settings_by(recipe, PretrainSettings, settings, size)
    where = choose_device(device)
    begin = ImportedStart.read(init)
    with together(where.kind):
        overrides = dict(plan or {})
        dataset = open_run_dataset(run, data, modalities=modalities, recipe=recipe)
        dataset = follow(recipe, dataset, size=size, overrides=overrides)
        about = {
            "data": str(Path(data).resolve()),
            "size": size,
            "plan": {name: str(value) for name, value in overrides.items()},
            **({"recipe": recipe.name} if recipe else {}),
            **({"init": str(begin.path.resolve()), "init_sha256": begin.sha256} if begin else {}),
            **settings.model_dump(mode="json"),
        }
        with Run.open(
            run,
            "pretrain",
            about,
            events,
            changeable=("data", "init", "workers", "precision"),
            device=where.reason,
        ) as opened:
            tell(dataset, opened.events, settings)
            cases = unlabelled_cases(dataset, settings)
            dataset, reports = checked_cases(
                opened, dataset, cases, labels_needed=False, leave_out_bad=leave_out_bad, cache=cache
            )
            settled = settle_plan(opened, dataset, reports, size=size, device=where, overrides=overrides)
            used = [report.case for report in reports]
            Pretraining(opened, dataset, used, settled, settings, where, begin).pretrain()
    return Path(run).resolve() / "model"


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
        begin: ImportedStart | None = None,
    ):
        settings = settings.resolved(plan.size).for_modalities(plan.channels)
        lacking = any(case.missing for case in cases)
        self.spec = NetworkSpec.of(plan, missing_modalities=settings.modality_dropout > 0 or lacking)
        self.record = record_training(
            "pretrain", dataset, plan, settings, device, imported=begin.sha256 if begin else None
        )
        self.cases = PreprocessedCases(run.path("preprocessed"), dataset, cases, plan, with_label=False)
        self.aligning = Aligning(settings, plan)
        self.objective = CoPretrainingLoss(settings, plan.patch_size, self.aligning)
        self.pace = TopologyPace(settings.topology_every, can_hide=device.kind == "cuda")
        self._step_began = time.perf_counter()
        torch.manual_seed(settings.seed)
        network = build_co_pretrainer(self.spec)
        if begin is not None:
            begin.give_to(network, run)
        network.untrained = self.objective.untrained
        super().__init__(run, plan, settings, device, network, [(network, 1.0)], betas=(0.9, 0.95))

    def pretrain(self) -> None:
        """Do the steps that are left, then write the model folder."""
        self._tell_what_is_left_out()
        samples = self.steps * self.plan.batch_size
        prepare(self.run, self.cases, samples=samples, seed=self.settings.seed)
        self.preview = Preview.of(self.cases[0], self.plan, self.settings.mask_ratio, self.settings.seed)
        crops = PretrainingCrops(
            self.cases,
            self.plan,
            mask_ratio=self.settings.mask_ratio,
            seed=self.settings.seed,
            modality_dropout=self.settings.modality_dropout,
            views=self.aligning.wanted,
        )
        if self.train(crops) and is_main():
            network = self.network.module
            training = with_weights(self.record, network)
            save_pretrained(self.run.path("model"), network, self.spec, self.plan, training)

    def _tell_what_is_left_out(self) -> None:
        subjects = [case.subject or case.name for case in self.cases.cases]
        if lack := self.aligning.left_out(subjects, self.plan.batch_size):
            if not self.objective.masks and not self.settings.alignment_within_weight:
                raise BadSettingError(f"{lack}, and nothing else is wanted", hint="Give another loss a weight.")
            self.run.events.warning(lack)

    def loss(self, batch: dict[str, torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Total and terms of the co-pre-training loss."""
        self._step_began = time.perf_counter()
        diagrams = self.objective.begin(batch, step)
        outputs, features = self._look_at(batch)
        total, terms = self.objective(outputs, batch, step, diagrams, features)
        if self.objective.topology is not None:
            terms["unfinished_matchings"] = summed(torch.tensor(float(self.objective.unfinished_matchings)))
        return total, terms

    def _look_at(self, batch: dict[str, torch.Tensor]) -> tuple[dict, tuple[torch.Tensor, torch.Tensor] | None]:
        """What the branches say of a batch, and the features of its views if they are to be aligned."""
        mask = batch["mask"] if self.objective.masks else None
        inputs = (batch["image"], mask, batch.get("available"))
        if not self.aligning.wanted:
            return self.network(*inputs), None
        return self.network(*inputs, self.aligning.views(batch))

    def after_update(self) -> None:
        """Choose how often the topological loss is computed, and tell what is new."""
        if self.aligning.news:
            self.run.events.warning(self.aligning.news)
        if self.objective.topology is not None:
            waited, seconds = self.objective.waited, time.perf_counter() - self._step_began
            if waited is not None:
                waited, seconds = largest([waited, seconds])  # all processes are to go at one pace
            news = self.pace.observe(waited, seconds)
            self.objective.topology.every_k = self.pace.every
            if news:
                self.run.events.emit("note", message=news)

    def more_state(self) -> dict[str, Any]:
        """The pace of the topological loss, and how rich the aligned features were."""
        return {"topology_pace": self.pace.state(), "alignment": self.aligning.state()}

    def load_more(self, state: dict[str, Any]) -> None:
        """Take these back."""
        if "alignment" in state:
            self.aligning.load(state["alignment"])
        if "topology_pace" in state and self.objective.topology is not None:
            self.pace.load(state["topology_pace"])
            self.objective.topology.every_k = self.pace.every

    def after_step(self, done: int) -> None:
        """Write a preview now and then."""
        if is_main() and (done % self.settings.preview_every == 0 or done == self.steps):
            losses = self.preview.write(self.network.module, self.run, done, self.fabric.device)
            self.run.log_metrics(done, "preview", losses)


def unlabelled_cases(dataset: Dataset, settings: PretrainSettings) -> list[Case]:
    """The training cases, labelled or not. Held-out cases stay unseen, even without their labels."""
    split = split_dataset(dataset, fold=settings.fold, folds=settings.folds, seed=settings.seed)
    return [dataset.case(name) for name in split.train]
