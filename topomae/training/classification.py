"""Fine-tuning for classes of whole volumes: a linear layer on pre-trained encoders, which learn on as well."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from topomae.classification.bags import TrainingBags, bags, most_windows
from topomae.classification.labels import VolumeClasses, volume_classes
from topomae.classification.prediction import class_probabilities
from topomae.classification.scores import auroc, balanced_accuracy
from topomae.classification.splitting import split_classes
from topomae.config import ClassifySettings
from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, Dataset
from topomae.data.json_files import read_json
from topomae.data.plan import Plan
from topomae.data.planning import SET_BY_USER
from topomae.events import Events
from topomae.models.folder import save_model
from topomae.networks.factory import NetworkSpec, build_classifier
from topomae.parallel.devices import Device, choose_device
from topomae.parallel.distributed import barrier, from_main, gathered, is_main, own_share, together
from topomae.parallel.global_means import Fraction, global_means
from topomae.runs.folder import Run
from topomae.runs.provenance import record_training, with_weights
from topomae.training.classifier_start import goes_on, initialize_classifier, learning_parts
from topomae.training.initialization import Start, find_start
from topomae.training.loop import TrainingLoop
from topomae.training.preparation import prepare, settle_plan
from topomae.training.run_cases import checked_cases, open_run_dataset

CLASSES = "classes.json"  # in the run folder
VALIDATIONS = 10  # in a run, unless validate_every says otherwise
WINDOWS_PER_STEP = 8
STANDARDIZED_BY = 64  # training cases
_NOTHING = [-1.0, -math.inf]  # validated so far, see `reached`


def finetune_classifier(
    data: str | Path,
    run: str | Path,
    *,
    init: str | Path = "scratch",
    classes: str | Path | None = None,
    size: str | None = None,
    device: str = "auto",
    settings: ClassifySettings | None = None,
    plan: dict | None = None,
    modalities: Iterable[str] | None = None,
    cache: str | Path | None = None,
    events: Events | None = None,
) -> Path:
    """Train a network that says the class of a whole volume, or go on with a run that was stopped or killed.

    Args:
        data: folder of the data set.
        run: run folder; holds everything the run writes, in the end `model/`.
        init: a pre-training run, a model folder, or `scratch`.
        classes: CSV file with the columns case and class; None reads `class` of each entry in dataset.json.
        size: `small` or `base`; that of `init` by default, else `small`.
        device: `auto`, `cpu` or `cuda`.
        settings: see `ClassifySettings`.
        plan: fields of the plan to set by hand, see `Plan`.
        modalities: names of the image channels where the data set does not name them, e.g. ["CT"].
        cache: folder that several runs share, see `pretrain`.
        events: told of everything that happens; silent by default.
    Returns:
        The model folder (it does not exist yet if the run was stopped before its end).
    Raises:
        TopoMAEError: bad data, classes, settings, `init` or run folder; nothing has been trained then.
    """
    settings = settings or ClassifySettings()
    where = choose_device(device)
    with together(where.kind):
        start = find_start(init, settings)
        dataset = open_run_dataset(run, data, modalities=modalities)
        known = classes_of_run(run, dataset, classes)
        train, val = split_classes(dataset, known, settings)
        overrides = dict(plan or {})
        about = {
            "data": str(Path(data).resolve()),
            "init": str(init if start is None else start.folder),
            "size": size,
            "task": "classification",
            "classes": classes_digest(known),
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
            if without := len(dataset.cases) - len(known.of_case):
                opened.events.emit(
                    "note", message=f"{without} of {len(dataset.cases)} cases have no class and are left out"
                )
            if is_main():
                opened.write_json(CLASSES, known.to_plain())
            dataset, reports = checked_cases(opened, dataset, [*train, *val], labels_needed=False, cache=cache)
            fresh = from_main(not opened.path("plan.json").exists())
            if start is not None and is_main():
                start.write_plan(opened, dataset, size, overrides)
            settled = settle_plan(opened, dataset, reports, size=size or "small", device=where, overrides=overrides)
            windows = most_windows(reports, settled, settings.windows)
            if fresh and settled.reasons.get("batch_size") != SET_BY_USER:
                settled = with_larger_batch(opened, settled, windows)
            Classification(opened, dataset, train, val, known, windows, settled, settings, where, start).finetune()
    return Path(run).resolve() / "model"


class Classification(TrainingLoop):
    """Supervised training with validation; keeps the weights with the best AUROC."""

    phase = "finetune"

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        train: list[Case],
        val: list[Case],
        classes: VolumeClasses,
        windows: int,
        plan: Plan,
        settings: ClassifySettings,
        device: Device,
        start: Start | None,
    ):
        settings = settings.resolved(plan.size).for_modalities(plan.channels)
        self.classes, self.windows = classes, windows
        self.spec = NetworkSpec.of(
            plan,
            task="classification",
            architecture=settings.architecture,
            out_channels=len(classes.names),
            missing_modalities=settings.modality_dropout > 0,
        )
        folder = run.path("preprocessed")
        self.train_cases = PreprocessedCases(folder, dataset, train, plan, with_label=False)
        self.val_cases = PreprocessedCases(folder, dataset, val, plan, with_label=False)
        torch.manual_seed(settings.seed)
        network = build_classifier(self.spec)
        taken = initialize_classifier(network, start, settings.initialization, classes.names)
        self.standardized = goes_on(start, settings.initialization, classes.names)
        self.about = {"data": dataset.name, "init": taken, "cases": [case.name for case in train]}
        init = None if start is None else start.folder
        self.record = record_training(
            "classification", dataset, plan, settings, device, init=init, classes=classes_digest(classes)
        )
        parts = learning_parts(network, taken != "random weights", settings.encoder_learning_rate_scale)
        super().__init__(run, plan, settings, device, network, parts)
        self.weights = class_weights(classes.counts(train), settings.class_balance).to(self.fabric.device)
        self.average = None
        if settings.ema:
            decay = get_ema_multi_avg_fn(settings.ema)
            self.average = AveragedModel(network, multi_avg_fn=decay, use_buffers=True)
        self.validate_every = settings.validate_every or max(1, self.steps // VALIDATIONS)
        self.best = list(_NOTHING)

    def finetune(self) -> None:
        """Do the steps that are left, then write the model folder."""
        drawn = self.steps * self.plan.batch_size
        prepare(self.run, self.train_cases, self.val_cases, samples=drawn, seed=self.settings.seed)
        if not self.standardized:
            self._standardize()
        samples = TrainingBags(
            self.train_cases,
            [self.classes.of_case[case.name] for case in self.train_cases.cases],
            self.plan,
            seed=self.settings.seed,
            most=self.windows,
            augmentation=self.settings.augmentation,
            modality_dropout=self.settings.modality_dropout,
        )
        if self.train(samples) and is_main():
            self._finish()

    @torch.no_grad()
    def _standardize(self) -> None:
        """Standardize features by the first training cases; a run that goes on then takes what it began with."""
        network = self.network.module.eval()
        pooled = []
        for place in range(min(STANDARDIZED_BY, len(self.train_cases))):
            case = self.train_cases[place]
            windows = bags(case.image, self.plan, self.windows)[0][None].to(self.fabric.device)
            there = None if case.available is None else torch.tensor([case.available], device=self.fabric.device)
            pooled.append(network.pooled(windows, available=there))
        network.standardize(torch.cat(pooled))

    def loss(self, batch: dict[str, torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Cross-entropy, in which every class has the same say.

        The weights are those of all training cases and the mean is over samples, whatever their classes: the
        batches then add up to what all cases at once would give.
        """
        logits = self.network(batch["windows"], batch["present"], batch.get("available")).float()
        each = F.cross_entropy(logits, batch["class"], reduction="none") * self.weights[batch["class"]]
        right = (logits.argmax(1) == batch["class"]).float()
        means = global_means({"loss": Fraction(each.sum(), len(each)), "accuracy": Fraction(right.sum(), len(right))})
        return means["loss"], {"accuracy": means["accuracy"]}

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
        return {"best": list(self.best), "average": None if self.average is None else self.average.state_dict()}

    def load_more(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.best = list(state["best"])
        if is_main() and self.best > _NOTHING:  # as far as they are still there: the file may have been damaged
            kept = self.run.load_checkpoint("best")
            self.best = list(_NOTHING) if kept is None else reached(kept["auroc"], kept["loss"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    @property
    def _kept(self) -> torch.nn.Module:
        """The network that is validated and kept."""
        return self.network.module if self.average is None else self.average.module

    def _validate(self, step: int) -> None:
        """AUROC and more over the validation cases; keep the weights if they are the best."""
        network = self._kept.eval()
        places = own_share(range(len(self.val_cases)))
        progress = self.run.events.track(len(places), "validate")
        found = []
        for case in (self.val_cases[place] for place in places):
            self.run.leave_if_asked()
            probabilities = class_probabilities(
                network,
                case.image,
                self.plan,
                windows=self.windows,
                device=self.fabric.device,
                available=case.available,
            )
            found.append(probabilities.tolist())
            progress.advance()
        probabilities = np.array(gathered(found))
        truth = np.array([self.classes.of_case[case.name] for case in self.val_cases.cases])
        area = auroc(probabilities, truth)
        surprise = float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)).mean())
        values = {"auroc": area, "balanced_accuracy": balanced_accuracy(probabilities, truth), "loss": surprise}
        self.run.log_metrics(step, "validate", values)
        now = reached(area, surprise)
        if now > self.best:
            self.best = now
            state = {"step": step, "auroc": area, "loss": surprise, "network": network.state_dict()}
            self.run.save_checkpoint(state, "best", step=step)

    def _finish(self) -> None:
        """Write the model folder: the best validated weights, or the last ones where nothing was validated."""
        network = self._kept.eval()
        best = self.run.load_checkpoint("best") if len(self.val_cases) else None
        if best is not None:
            network.load_state_dict(best["network"])
        metrics = {} if best is None else {"validation_auroc": best["auroc"], "step": best["step"]}
        settings = {**self.settings.model_dump(mode="json"), "windows": self.windows}
        training = {**self.about, "steps": self.steps, "settings": settings}
        training["provenance"] = with_weights(self.record, network)
        save_model(
            self.run.path("model"),
            network,
            self.spec,
            self.plan,
            training=training,
            metrics=metrics,
            classes=self.classes.names,
        )


def reached(auroc: float, loss: float) -> list[float]:
    """How good weights are, to be compared: of equal AUROC, the lower cross-entropy wins."""
    return [0.0 if math.isnan(auroc) else auroc, -loss]


def classes_of_run(run: str | Path, dataset: Dataset, table: str | Path | None) -> VolumeClasses:
    """The classes of the data set; if their file is gone since the run began, as the run wrote them down.

    Raises:
        BadDataError: see `volume_classes`.
    """
    kept = Path(run) / CLASSES
    source = dataset.folder / "dataset.json" if table is None else Path(table)
    if kept.is_file() and not source.exists():
        return VolumeClasses.from_plain(read_json(kept), kept)
    return volume_classes(dataset, table)


def with_larger_batch(run: Run, plan: Plan, windows: int) -> Plan:
    """A new plan with as many volumes a step as the windows of a few leave room for; a volume has but one class.

    Args:
        run: its plan.json is replaced.
        plan: made for segmentation.
        windows: of a volume.
    """
    batch = max(plan.batch_size, WINDOWS_PER_STEP // windows)
    if batch == plan.batch_size:
        return plan
    reason = f"a class says less than a label map, so {batch} volumes a step for classification"
    run.events.emit("note", message=f"batch_size: {batch} instead of {plan.batch_size} ({reason})")
    plan = plan.model_copy(update={"batch_size": batch, "reasons": plan.reasons | {"batch_size": reason}})
    if is_main():
        plan.save(run.path("plan.json"))
    barrier()
    return plan


def class_weights(counts: list[int], balance: float) -> torch.Tensor:
    """Weight of a case of each class: (number of cases / (classes · cases of the class)) ** balance, of mean 1.

    Args:
        counts: training cases of each class, none of them 0.
        balance: 1 for the same say of all classes, 0 for the same of all cases.
    """
    cases = torch.tensor(counts, dtype=torch.float64)
    weights = (cases.sum() / (len(counts) * cases)) ** balance
    return (weights * cases.sum() / (weights * cases).sum()).float()


def classes_digest(classes: VolumeClasses) -> str:
    """What tells whether classes have changed since a run began."""
    return hashlib.sha256(json.dumps([classes.names, sorted(classes.of_case.items())]).encode()).hexdigest()[:16]
