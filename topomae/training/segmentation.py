"""Learning to segment from label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from topomae.config import FinetuneSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, Dataset
from topomae.data.loading import FinetuningCrops
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed
from topomae.inference.sliding_window import predict_scores
from topomae.networks.factory import NetworkSpec, PaddedSegmenter, build_segmenter
from topomae.parallel.devices import Device
from topomae.runs.folder import Run
from topomae.runs.provenance import record_training
from topomae.training.initialization import Start, as_begun, begin_with_frequencies, initialize, keeps_heads
from topomae.training.optimization import Part
from topomae.training.segmentation_loss import DeepDiceCrossEntropy
from topomae.training.supervised import SupervisedTraining, Teaching

SUPERVISION = (4 / 7, 2 / 7, 1 / 7)  # weights of the three resolutions, as published for UNETR++
_COUNTED = 16  # crops that tell how frequent labels are


class SegmentationTraining(SupervisedTraining):
    """Dice and cross-entropy on crops; the weights with the best mean Dice are kept."""

    headline = "dice"

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
        spec = NetworkSpec.of(
            plan,
            architecture=settings.architecture,
            fused_stages=settings.fused_stages,
            missing_modalities=settings.modality_dropout > 0 or any(case.missing for case in train),
        )
        spec = as_begun(spec, start)
        torch.manual_seed(settings.seed)
        network = build_segmenter(spec)
        if start is None and not run.resuming:  # else the crop is settled
            for costly in _costly_padding(network, spec):
                run.events.warning(costly)
        taken = initialize(network, start, settings.initialization)
        self.heads_are_new = not keeps_heads(start, settings.initialization)
        folder = run.path("preprocessed")
        teaching = Teaching(
            PreprocessedCases(folder, dataset, train, plan, with_label=True),
            PreprocessedCases(folder, dataset, val, plan, with_label=True),
            spec,
            {"data": dataset.name, "init": taken, "cases": [case.name for case in train]},
            record_training("finetune", dataset, plan, settings, device, init=None if start is None else start.folder),
        )
        parts = _parts(network, settings, start)
        super().__init__(run, plan, settings, device, network, parts, teaching, schedule=settings.schedule)
        self.objective = DeepDiceCrossEntropy(SUPERVISION)

    def before_training(self) -> None:
        """Let new heads begin with the labels' frequencies, by the first crops that training shows."""
        heads = getattr(self.network.module, "heads", None)  # MONAI's networks have none
        if heads is None or not self.heads_are_new:
            return
        samples, voxels = self.samples(), torch.zeros(self.plan.classes)
        for index in range(min(_COUNTED, self.steps * self.plan.batch_size)):
            voxels += torch.bincount(samples[index]["label"].flatten(), minlength=self.plan.classes)
        begin_with_frequencies(heads, voxels / voxels.sum())

    def samples(self) -> FinetuningCrops:
        """Augmented crops with labels."""
        return FinetuningCrops(
            self.teaching.train,
            self.plan,
            seed=self.settings.seed,
            foreground_fraction=self.settings.foreground_fraction,
            augmentation=self.settings.augmentation,
            modality_dropout=self.settings.modality_dropout,
        )

    def loss(self, batch: dict[str, torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Dice and cross-entropy at every resolution of the decoder."""
        logits = self.network(batch["image"], batch.get("available"))
        return self.objective(logits, batch["label"]), {}

    def predict(self, network: torch.nn.Module, case: Preprocessed) -> list[float]:
        """Dice of every class on the preprocessed grid."""
        scores = predict_scores(
            network,
            torch.from_numpy(np.array(case.image)),
            self.plan,
            device=self.fabric.device,
            available=case.available,
        )
        return dice_per_class(scores.argmax(0).numpy(), case.label, len(self.plan.class_values))

    def judge(self, predictions: Sequence[list[float]]) -> dict[str, float]:
        """Mean Dice of each label over the cases that have it, and the mean of these."""
        means = np.array([_mean(column) for column in np.array(predictions).T])
        by_label = {f"dice/{name}": mean for name, mean in zip(self.plan.labels.values(), means.tolist(), strict=True)}
        return {"dice": _mean(means), **by_label}

    def doubts(self, metrics: dict[str, float]) -> list[str]:
        """Labels of validation cases that the model never finds where they are."""
        missed = [
            name
            for index, name in enumerate(self.plan.labels.values(), start=1)
            if metrics[f"dice/{name}"] == 0 and any((case.label == index).any() for case in self.teaching.val)
        ]
        if not missed:
            return []
        return [
            f"the model does not find {', '.join(missed)}: the Dice is 0 in every validation case. "
            "Train longer, or look whether the label maps lie on their images"
        ]


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


def _costly_padding(network: torch.nn.Module, spec: NetworkSpec) -> list[str]:
    """Say that the network works on much more than the crop, if it does."""
    if not isinstance(network, PaddedSegmenter):
        return []
    padded = network.padded(spec.crop_size)
    times = math.prod(padded) / math.prod(spec.crop_size)
    if times < 2:
        return []
    crop, whole = (" × ".join(str(n) for n in shape) for shape in (spec.crop_size, padded))
    return [
        f"{spec.architecture} works on {whole} voxels at least, so that crops of {crop} take {times:.1f} times as "
        f"long as they would alone. --set crop_size={','.join(str(n) for n in padded)} makes use of them"
    ]


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
