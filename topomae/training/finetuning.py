"""Fine-tuning: a segmentation network from a few labelled volumes and, if there is one, a pre-training run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from topomae.config import ClassifySettings, FinetuneSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import discover_labels
from topomae.data.loading import FinetuningCrops
from topomae.data.plan import Plan
from topomae.data.splits import split_dataset
from topomae.errors import BadDataError, BadSettingError
from topomae.events import Events
from topomae.inference.sliding_window import predict_scores
from topomae.models.folder import save_model
from topomae.networks.factory import NetworkSpec, Task, build_segmenter
from topomae.parallel.devices import Device, choose_device
from topomae.parallel.distributed import gathered, is_main, own_share, together
from topomae.runs.folder import Run
from topomae.runs.provenance import record_training, with_weights
from topomae.training.initialization import Start, find_start, initialize
from topomae.training.loop import TrainingLoop
from topomae.training.optimization import Part
from topomae.training.preparation import prepare, settle_plan
from topomae.training.run_cases import checked_cases, open_run_dataset
from topomae.training.segmentation_loss import DeepDiceCrossEntropy

_CLASSIFY = "Add --task classification to learn them."
VALIDATIONS = 10  # in a run, unless validate_every says otherwise
SUPERVISION = (4 / 7, 2 / 7, 1 / 7)  # weights of the three resolutions, as published for UNETR++


def finetune(
    data: str | Path,
    run: str | Path,
    *,
    init: str | Path = "scratch",
    task: Task = "segmentation",
    classes: str | Path | None = None,
    size: str | None = None,
    device: str = "auto",
    settings: FinetuneSettings | ClassifySettings | None = None,
    plan: dict | None = None,
    modalities: Iterable[str] | None = None,
    cache: str | Path | None = None,
    events: Events | None = None,
) -> Path:
    """Train a segmentation network on the labelled cases, or go on with a run that was stopped or killed.

    Args:
        data: folder of the data set.
        run: run folder; holds everything the run writes, in the end `model/`.
        init: a pre-training run, a model folder (to go on training it), or `scratch`.
        task: `segmentation`, or `classification` of whole volumes.
        classes: for classification, a CSV file with the columns case and class; None reads them from dataset.json.
        size: `small` or `base`; that of `init` by default, else `small`.
        device: `auto`, `cpu` or `cuda`.
        settings: see `FinetuneSettings`; for classification `ClassifySettings`.
        plan: fields of the plan to set by hand, see `Plan`.
        modalities: names of the image channels where the data set does not name them, e.g. ["CT"].
        cache: folder that several runs share, see `pretrain`.
        events: told of everything that happens; silent by default.
    Returns:
        The model folder (it does not exist yet if the run was stopped before its end).
    Raises:
        TopoMAEError: bad data, settings, `init` or run folder; nothing has been trained then.
    """
    if task == "classification":
        from topomae.training.classification import finetune_classifier

        given = {"init": init, "size": size, "device": device, "settings": settings, "plan": plan}
        given |= {"modalities": modalities, "cache": cache, "events": events}
        return finetune_classifier(data, run, classes=classes, **given)
    if classes is not None:
        raise BadSettingError("a table of classes is given, but the task is segmentation", hint=_CLASSIFY)
    settings = settings or FinetuneSettings()
    where = choose_device(device)
    with together(where.kind):
        start = find_start(init, settings)
        dataset = open_run_dataset(run, data, modalities=modalities)
        overrides = dict(plan or {})
        about = {
            "data": str(Path(data).resolve()),
            "init": str(init if start is None else start.folder),
            "size": size,
            "plan": {name: str(value) for name, value in overrides.items()},
            **settings.model_dump(mode="json"),
        }
        with Run.open(
            run,
            "finetune",
            about,
            events,
            changeable=("data", "init", "workers", "precision"),
            device=where.reason,
        ) as opened:
            train, val = labelled_cases(dataset, settings)
            dataset, reports = checked_cases(opened, dataset, [*train, *val], labels_needed=True, cache=cache)
            dataset = discover_labels(dataset, reports)
            if not dataset.labels:
                raise BadDataError("the label maps are all empty", hint="Label something first.", path=dataset.folder)
            if start is not None and is_main():
                start.write_plan(opened, dataset, size, overrides)
            settled = settle_plan(opened, dataset, reports, size=size or "small", device=where, overrides=overrides)
            Finetuning(opened, dataset, train, val, settled, settings, where, start).finetune()
    return Path(run).resolve() / "model"


def labelled_cases(dataset: Dataset, settings: FinetuneSettings) -> tuple[list[Case], list[Case]]:
    """The labelled training cases (the first `settings.labelled` of them) and the validation cases.

    Raises:
        BadDataError: no training case has a label.
    """
    split = split_dataset(dataset, fold=settings.fold, folds=settings.folds, seed=settings.seed)
    train = [case for name in split.train if (case := dataset.case(name)).label is not None]
    val = [case for name in split.val if (case := dataset.case(name)).label is not None]
    if not train:
        raise BadDataError(
            "no training case has a label map",
            hint="Put label maps named like their images into labelsTr, or only pre-train on these volumes.",
            path=dataset.folder,
        )
    if settings.labelled is not None:
        if settings.labelled > len(train):
            raise BadDataError(
                f"labelled={settings.labelled} asks for more than the {len(train)} labelled training cases",
                hint="Use fewer.",
                path=dataset.folder,
            )
        train = train[: settings.labelled]
    return train, val


class Finetuning(TrainingLoop):
    """Supervised training with validation; keeps the best weights."""

    phase = "finetune"

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        train: list[Case],
        val: list[Case],
        plan: Plan,
        settings: FinetuneSettings,
        device: Device,
        start: Start | None,
    ):
        settings = settings.resolved(plan.size).for_modalities(plan.channels)
        self.spec = NetworkSpec.of(
            plan,
            architecture=settings.architecture,
            fused_stages=settings.fused_stages,
            missing_modalities=settings.modality_dropout > 0 or any(case.missing for case in train),
        )
        folder = run.path("preprocessed")
        self.train_cases = PreprocessedCases(folder, dataset, train, plan, with_label=True)
        self.val_cases = PreprocessedCases(folder, dataset, val, plan, with_label=True)
        self.objective = DeepDiceCrossEntropy(SUPERVISION)
        torch.manual_seed(settings.seed)
        network = build_segmenter(self.spec)
        taken = initialize(network, start, settings.initialization)
        self.about = {"data": dataset.name, "init": taken, "cases": [case.name for case in train]}
        init = None if start is None else start.folder
        self.record = record_training("finetune", dataset, plan, settings, device, init=init)
        parts = _parts(network, settings, start)
        super().__init__(run, plan, settings, device, network, parts, schedule=settings.schedule)
        self.average = None
        if settings.ema:
            decay = get_ema_multi_avg_fn(settings.ema)
            self.average = AveragedModel(network, multi_avg_fn=decay, use_buffers=True)
        self.validate_every = settings.validate_every or max(1, self.steps // VALIDATIONS)
        self.best = -1.0

    def finetune(self) -> None:
        """Do the steps that are left, then write the model folder."""
        samples = self.steps * self.plan.batch_size
        prepare(self.run, self.train_cases, self.val_cases, samples=samples, seed=self.settings.seed)
        crops = FinetuningCrops(
            self.train_cases,
            self.plan,
            seed=self.settings.seed,
            foreground_fraction=self.settings.foreground_fraction,
            augmentation=self.settings.augmentation,
            modality_dropout=self.settings.modality_dropout,
        )
        if self.train(crops) and is_main():
            self._finish()

    def loss(self, batch: dict[str, torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Dice and cross-entropy at every resolution of the decoder."""
        logits = self.network(batch["image"], batch.get("available"))
        return self.objective(logits, batch["label"]), {}

    def after_update(self) -> None:
        """Let the averaged weights follow."""
        if self.average is not None:
            self.average.update_parameters(self.network.module)

    def after_step(self, done: int) -> None:
        """Validate now and then."""
        if len(self.val_cases) and (done % self.validate_every == 0 or done == self.steps):
            self._validate(done)

    def more_state(self) -> dict[str, Any]:
        """The averaged weights, and how good the best ones were."""
        return {"best": self.best, "average": None if self.average is None else self.average.state_dict()}

    def load_more(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.best = state["best"]
        if is_main() and self.best >= 0:  # as far as they are still there: the file may have been damaged
            kept = self.run.load_checkpoint("best")
            self.best = -1.0 if kept is None else kept["dice"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    @property
    def _kept(self) -> torch.nn.Module:
        """The network that is validated and kept."""
        return self.network.module if self.average is None else self.average.module

    def _validate(self, step: int) -> None:
        """Mean Dice over the validation cases on the preprocessed grid; keep the weights if it is the best."""
        network = self._kept.eval()
        own = own_share(range(len(self.val_cases)))
        progress = self.run.events.track(len(own), "validate")
        scores = []
        for case in (self.val_cases[place] for place in own):
            self.run.leave_if_asked()
            logits = predict_scores(
                network,
                torch.from_numpy(np.array(case.image)),
                self.plan,
                device=self.fabric.device,
                available=case.available,
            )
            scores.append(dice_per_class(logits.argmax(0).numpy(), case.label, len(self.plan.class_values)))
            progress.advance()
        scores = gathered(scores)
        means = np.array([_mean(column) for column in np.array(scores).T])
        dice = _mean(means)
        by_label = {f"dice/{name}": mean for name, mean in zip(self.plan.labels.values(), means, strict=True)}
        self.run.log_metrics(step, "validate", {"dice": dice, **by_label})
        if dice > self.best:
            self.best = dice
            self.run.save_checkpoint({"step": step, "dice": dice, "network": network.state_dict()}, "best", step=step)

    def _finish(self) -> None:
        """Write the model folder: the best validated weights, or the last ones where nothing was validated."""
        network = self._kept.eval()
        best = self.run.load_checkpoint("best") if len(self.val_cases) else None
        if best is not None:
            network.load_state_dict(best["network"])
        metrics = {} if best is None else {"validation_dice": best["dice"], "step": best["step"]}
        training = {**self.about, "steps": self.steps, "settings": self.settings.model_dump(mode="json")}
        training["provenance"] = with_weights(self.record, network)
        save_model(self.run.path("model"), network, self.spec, self.plan, training=training, metrics=metrics)


def dice_per_class(prediction: np.ndarray, label: np.ndarray, classes: int) -> list[float]:
    """Dice of every class but the background; nan where a class is in neither.

    Args:
        prediction: (I, J, K) class indices. label: the same shape.
        classes: number of classes, background included.
    """
    dice = []
    for value in range(1, classes):
        predicted, true = prediction == value, label == value
        size = np.count_nonzero(predicted) + np.count_nonzero(true)
        dice.append(2 * np.count_nonzero(predicted & true) / size if size else float("nan"))
    return dice


def _mean(values: np.ndarray) -> float:
    """Mean of what is defined; nan if nothing is."""
    defined = np.asarray(values)[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _parts(network: torch.nn.Module, settings: FinetuneSettings, start: Start | None) -> list[Part]:
    """Modules with the scale of their learning rate: a pre-trained ViT is changed more gently."""
    vit = getattr(network, "vit", None)
    if vit is None or start is None or settings.initialization not in ("pretrained", "vit-only"):
        return [(network, 1.0)]
    others = torch.nn.ModuleList(child for child in network.children() if child is not vit)
    return [(others, 1.0), (vit, settings.vit_learning_rate_scale)]
