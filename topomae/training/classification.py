"""Fine-tuning for classes of whole volumes: a linear layer on pre-trained encoders, which learn on as well."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from topomae.classification.bags import TrainingBags
from topomae.classification.labels import VolumeClasses, volume_classes
from topomae.classification.planning import plan_for_classes, windows_of
from topomae.classification.prediction import class_probabilities
from topomae.classification.scores import auroc, balanced_accuracy
from topomae.classification.splitting import split_classes
from topomae.config import ClassifySettings
from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, Dataset
from topomae.data.json_files import read_json
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed
from topomae.events import Events
from topomae.networks.factory import NetworkSpec, build_classifier
from topomae.parallel.devices import Device, choose_device
from topomae.parallel.distributed import is_main, processes, together
from topomae.parallel.global_means import Fraction, global_means
from topomae.runs.folder import Run
from topomae.runs.provenance import record_training
from topomae.training.classifier_start import goes_on, initialize_classifier, learning_parts
from topomae.training.initialization import Start, as_begun, find_start
from topomae.training.preparation import settle_plan
from topomae.training.run_cases import checked_cases, open_run_dataset
from topomae.training.supervised import SupervisedTraining, Teaching

CLASSES = "classes.json"  # in the run folder
STANDARDIZED_BY = 64  # samples


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

            def for_classes(plan: Plan) -> Plan:
                return plan_for_classes(plan, windows_of(reports, plan, settings.windows), processes().world)

            given = {"overrides": overrides, "adapt": for_classes}
            if start is not None and is_main():
                start.write_plan(opened, dataset, size, **given)
            settled = settle_plan(opened, dataset, reports, size=size or "small", device=where, **given)
            windows = windows_of(reports, settled, settings.windows)
            training = (dataset, train, val, known, max(windows), settled, settings, where, start)
            ClassificationTraining(opened, *training).finetune()
    return Path(run).resolve() / "model"


class ClassificationTraining(SupervisedTraining):
    """Cross-entropy on volumes; the weights with the best AUROC are kept."""

    headline = "auroc"

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
        self.known, self.classes, self.windows = classes, classes.names, windows
        spec = NetworkSpec.of(
            plan,
            task="classification",
            architecture=settings.architecture,
            out_channels=len(classes.names),
            missing_modalities=settings.modality_dropout > 0 or any(case.missing for case in train),
        )
        spec = as_begun(spec, start)
        torch.manual_seed(settings.seed)
        network = build_classifier(spec)
        taken = initialize_classifier(network, start, settings.initialization, classes.names)
        self.standardized = goes_on(start, settings.initialization, classes.names)
        folder = run.path("preprocessed")
        init = None if start is None else start.folder
        teaching = Teaching(
            PreprocessedCases(folder, dataset, train, plan, with_label=False),
            PreprocessedCases(folder, dataset, val, plan, with_label=False),
            spec,
            {"data": dataset.name, "init": taken, "cases": [case.name for case in train]},
            record_training(
                "classification", dataset, plan, settings, device, init=init, classes=classes_digest(classes)
            ),
        )
        self.frozen = taken != "random weights" and settings.encoder_learning_rate_scale == 0
        parts = learning_parts(network, taken != "random weights", settings.encoder_learning_rate_scale)
        super().__init__(run, plan, settings, device, network, parts, teaching)
        self.weights = class_weights(classes.counts(train), settings.class_balance).to(self.fabric.device)

    def samples(self) -> TrainingBags:
        """Volumes as bags of augmented windows."""
        return TrainingBags(
            self.teaching.train,
            [self.known.of_case[case.name] for case in self.teaching.train.cases],
            self.plan,
            seed=self.settings.seed,
            most=self.windows,
            augmentation=self.settings.augmentation,
            modality_dropout=self.settings.modality_dropout,
        )

    @torch.no_grad()
    def before_training(self) -> None:
        """Standardize features by the first training samples; a run that goes on then takes what it began with.

        By samples as training shows them, augmented and with modalities hidden: features that hardly differ between
        whole images may differ a hundred times as much where one is missing, and would drown all others.
        """
        if self.standardized:
            return
        network, samples = self.network.module.eval(), self.samples()
        pooled = []
        for index in range(min(STANDARDIZED_BY, self.steps * self.plan.batch_size)):
            sample = {name: value[None].to(self.fabric.device) for name, value in samples[index].items()}
            pooled.append(network.pooled(sample["windows"], sample["present"], sample.get("available")))
        network.standardize(torch.cat(pooled))

    def loss(self, batch: dict[str, torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Cross-entropy, in which every class has the same say.

        The weights are those of all training cases and the mean is over samples, whatever their classes: the
        batches then add up to what all cases at once would give.
        """
        if self.frozen:  # their normalizations would learn on, and their dropout make noise
            self.network.module.encoders().eval()
        logits = self.network(batch["windows"], batch["present"], batch.get("available")).float()
        each = F.cross_entropy(logits, batch["class"], reduction="none") * self.weights[batch["class"]]
        right = (logits.argmax(1) == batch["class"]).float()
        means = global_means({"loss": Fraction(each.sum(), len(each)), "accuracy": Fraction(right.sum(), len(right))})
        return means["loss"], {"accuracy": means["accuracy"]}

    def predict(self, network: torch.nn.Module, case: Preprocessed) -> list[float]:
        """Probability of every class."""
        probabilities = class_probabilities(
            network,
            case.image,
            self.plan,
            windows=self.windows,
            device=self.fabric.device,
            available=case.available,
        )
        return probabilities.tolist()

    def judge(self, predictions: Sequence[list[float]]) -> dict[str, float]:
        """AUROC, balanced accuracy and cross-entropy."""
        probabilities = np.array(predictions)
        truth = np.array([self.known.of_case[case.name] for case in self.teaching.val.cases])
        surprise = float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)).mean())
        return {
            "auroc": auroc(probabilities, truth),
            "balanced_accuracy": balanced_accuracy(probabilities, truth),
            "loss": surprise,
        }

    def goodness(self, metrics: dict[str, float]) -> list[float]:
        """Of equal AUROC, the lower cross-entropy wins; where AUROC is not defined, that alone counts."""
        return [0.0 if math.isnan(metrics["auroc"]) else metrics["auroc"], -metrics["loss"]]

    def told_settings(self) -> dict[str, Any]:
        """The settings, with as many windows as volumes were in fact looked at with."""
        return {**super().told_settings(), "windows": self.windows}


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
