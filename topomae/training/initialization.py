"""Where fine-tuning starts from: a pre-training run, a finished model, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from topomae.config import ClassifySettings, FinetuneSettings
from topomae.data.cases import Dataset
from topomae.data.plan import Plan
from topomae.data.planning import SET_BY_USER, checked_fields
from topomae.errors import BadDataError, BadSettingError
from topomae.models.folder import Model, load_model
from topomae.models.pretrained import Pretrained, is_pretrained, load_pretrained, take_weights
from topomae.networks.factory import NetworkSpec
from topomae.networks.fused_segmenter import FusedSegmenter
from topomae.runs.folder import Run

_RAREST = 1e-3  # frequency of a class that new heads begin with
# What must stay as it was, for weights to fit or to mean the same.
_FIXED = ("size", "crop_size", "patch_size", "stem_stride")


@dataclass(frozen=True)
class Start:
    """Weights to start from, and the plan they were made with."""

    weights: Pretrained | Model

    @property
    def folder(self) -> Path:
        return self.weights.folder

    def write_plan(
        self,
        run: Run,
        dataset: Dataset,
        size: str | None,
        overrides: Mapping[str, Any],
        adapt: Callable[[Plan], Plan] = lambda plan: plan,
    ) -> None:
        """Put the plan of the start, with this data set's labels, into a run folder that has none yet.

        Args:
            run: where to put it.
            dataset: that is learnt from.
            size: asked for by the user, if at all.
            overrides: fields set by the user.
            adapt: what the task changes in the plan.
        Raises:
            BadSettingError: other modalities, or an override that the weights do not allow.
        """
        path = run.path("plan.json")
        plan = self.weights.plan
        if len(plan.modalities) != len(dataset.modalities):
            raise BadSettingError(
                f"{self.folder} was trained on {', '.join(plan.modalities)}, "
                f"the data set has {', '.join(dataset.modalities)}",
                hint="Pre-train on this data set, or use --init scratch.",
            )
        wanted = checked_fields({**overrides, **({"size": size} if size else {})})
        for name in _FIXED:
            if name in wanted and wanted[name] != getattr(plan, name):
                raise BadSettingError(
                    f"{name} is {getattr(plan, name)} in {self.folder} and cannot be changed to {wanted[name]}",
                    hint="Leave it out, or pre-train with it.",
                )
        if path.exists():
            return
        values = plan.model_dump() | {"dataset": dataset.name, "labels": dataset.labels} | wanted
        values["reasons"] = plan.reasons | dict.fromkeys(overrides, SET_BY_USER)
        adapt(Plan.check(values)).save(path)


def find_start(init: str | Path, settings: FinetuneSettings | ClassifySettings) -> Start | None:
    """Read what `--init` names; None for `scratch`.

    Raises:
        BadDataError: it is neither a pre-training run nor a model.
        BadSettingError: the settings ask for pre-trained weights of a network that has none.
    """
    if str(init) == "scratch" or settings.initialization == "scratch":
        return None
    folder = Path(init)
    if not folder.is_dir():
        raise BadDataError(
            "there is no such folder to start from",
            hint="Give --init a pre-training run, a model folder, or the word scratch. A file with weights of another "
            "program is for topomae pretrain --init.",
            path=folder,
        )
    if not is_pretrained(folder):
        return Start(load_model(folder, task=None))
    if settings.architecture in ("unetr", "swinunetr"):
        raise BadSettingError(
            f"architecture={settings.architecture} cannot take over pre-trained weights",
            hint="Use --init scratch, or architecture fused or unetrpp.",
        )
    return Start(load_pretrained(folder))


def as_begun(spec: NetworkSpec, start: Start | None) -> NetworkSpec:
    """The specification with the kind of UNETR++ that the weights were trained in, also by an earlier version."""
    if start is None:
        return spec
    begun = start.weights.spec
    return spec.model_copy(update={"block_norm": begun.block_norm, "form": begun.form})


def initialize(network: nn.Module, start: Start | None, which: str) -> str:
    """Give a segmentation network its first weights; return in words what was taken over.

    Args:
        network: from `build_segmenter`.
        start: weights to take over, or None.
        which: `pretrained` (everything), `vit-only`, `unetrpp-only` or `scratch`.
    Raises:
        BadDataError: the weights do not fit the network.
    """
    if start is None or which == "scratch":
        return "random weights"
    if keeps_heads(start, which):
        if start.weights.classes:
            raise BadSettingError(
                f"{start.folder} says the class of whole volumes, and cannot be trained on to segment",
                hint="Start from a pre-training run or a model that segments, or add --task classification.",
            )
        take_weights(network, start.weights.network.state_dict(), start.folder)
        return f"model {start.weights.plan.dataset}"
    taken = []
    if which in ("pretrained", "unetrpp-only"):
        take_weights(network.unetrpp, start.weights.part("unetrpp"), start.folder)
        taken.append("UNETR++")
    if which in ("pretrained", "vit-only") and isinstance(network, FusedSegmenter):
        take_weights(network.vit, start.weights.part("vit.encoder"), start.folder)
        taken.append("ViT encoder")
    return f"pre-trained {' and '.join(taken) or 'nothing'} ({start.weights.plan.dataset})"


def keeps_heads(start: Start | None, which: str) -> bool:
    """Whether training goes on with a finished model, heads included, see `initialize`."""
    return start is not None and which != "scratch" and isinstance(start.weights, Model)


@torch.no_grad()
def begin_with_frequencies(heads: Iterable[nn.Module], frequencies: torch.Tensor) -> None:
    """Let heads say at first how frequent each class is, whatever their features.

    Random heads first have to learn that most voxels are background, and how long that takes is chance. Lin et al.,
    "Focal Loss for Dense Object Detection" (ICCV 2017, section 4.1), begin with the frequencies for the same reason.

    Args:
        heads: 1×1×1 convolutions to logits, as MONAI's `UnetOutBlock`.
        frequencies: (classes,) parts of the voxels; below a thousandth they count as that.
    """
    logits = frequencies.clamp(min=_RAREST).log()
    for head in heads:
        nn.init.zeros_(head.conv.conv.weight)
        head.conv.conv.bias.copy_(logits)
