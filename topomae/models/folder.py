"""A model as a folder: a MONAI bundle with everything needed to use it, and nothing that is executed.

NAME/
  plan.json                   how images are prepared
  network.json                how the network is built; checksum of its weights; classes of whole volumes
  labels.json                 value, name, colour and terminology of each label
  models/model.safetensors    weights
  configs/metadata.json       MONAI metadata, provenance, metrics
  configs/inference.json      for users of `monai.bundle` only, never read here
  docs/README.md              the same in words
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt
from torch import nn

from topomae.data.json_files import read_json, validated
from topomae.data.plan import Plan
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.events import to_plain
from topomae.files import told_as_run_error, write_json_atomic, write_text_atomic
from topomae.models.bundle import bundle_metadata, inference_config, model_card
from topomae.models.classifier_bundle import of_classifier
from topomae.models.files import COPY_AGAIN, check_size, damaged, model_file
from topomae.models.label_table import LabelTable
from topomae.models.pretrained import is_pretrained
from topomae.models.weights import WeightsError, check_unchanged, load_weights, read_weights, write_weights
from topomae.networks.factory import NetworkSpec, Task, build_network
from topomae.networks.outline import outline

FORMAT = 1
Built = TypeVar("Built")
PLAN, NETWORK, LABELS = "plan.json", "network.json", "labels.json"
WEIGHTS = "models/model.safetensors"
METADATA, INFERENCE, README = "configs/metadata.json", "configs/inference.json", "docs/README.md"


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready for use.

    Attributes:
        network: in evaluation mode, on the CPU.
        spec: how it was built.
        plan: how images are prepared for it.
        metadata: content of `configs/metadata.json`, with `training` (provenance) and `eval_metrics`.
        folder: where it was read from.
        classes: names of the classes of whole volumes, one per output of the network; () if it segments.
    """

    network: nn.Module = field(repr=False)
    spec: NetworkSpec
    plan: Plan
    metadata: dict[str, Any] = field(repr=False)
    folder: Path
    classes: tuple[str, ...] = ()


class _NetworkFile(BaseModel):
    """`network.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    network: NetworkSpec
    weights_sha256: str
    weights_bytes: NonNegativeInt
    classes: tuple[str, ...] = ()


def save_model(
    folder: str | Path,
    network: nn.Module,
    spec: NetworkSpec,
    plan: Plan,
    *,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    classes: Sequence[str] = (),
) -> Path:
    """Write a model folder, whole or not at all; a model that is there already is replaced.

    Args:
        folder: the model folder to be.
        network: built from `spec`; on any device.
        spec: how to build it.
        plan: how images are prepared for it.
        training: where the weights come from (data, cases, settings, steps), as JSON-able values.
        metrics: how good they are, by name.
        classes: names of the classes of whole volumes; () for a network that segments.
    Returns:
        The folder.
    Raises:
        RunError: the folder holds something else, or it cannot be written.
    """
    folder = Path(folder)
    _check_replaceable(folder)
    for leftover in folder.parent.glob(f".tmp-*.{glob.escape(folder.name)}"):  # of a writer that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    new = folder.with_name(f".tmp-{secrets.token_hex(6)}.{folder.name}")
    try:
        with told_as_run_error(folder):
            _write(new, network, spec, plan, training, metrics, tuple(classes))
            _replace(folder, new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return folder


def load_model(folder: str | Path, *, task: Task | None = "segmentation") -> Model:
    """Read a model folder. Everything is checked before a network is built; nothing in it is executed.

    Args:
        folder: the model folder, or a finished fine-tuning run.
        task: what the model is needed for; None takes any.
    Raises:
        BadDataError: naming the folder and what is wrong: no model, one for another task, a run that has not
            finished, a newer version, damaged or missing files, weights that do not fit.
    """
    place = _find(Path(folder))
    description = _read_description(place)
    _check_task(description.network, task, place)
    plan = _read_plan(place)
    metadata = read_json(model_file(place, METADATA))
    spec = description.network
    _check_fit(spec, plan, description.classes, place)
    file = model_file(place, WEIGHTS)
    try:
        check_unchanged(file, sha256=description.weights_sha256, size=description.weights_bytes)
        weights = read_weights(file, _built(lambda: outline(lambda: build_network(spec)), place))
        network = _built(lambda: build_network(spec), place)
        load_weights(network, weights)
    except WeightsError as error:
        raise damaged(f"{WEIGHTS}: {error}", place) from None
    return Model(network.eval(), spec, plan, metadata, place, description.classes)


def load_network(folder: str | Path) -> nn.Module:
    """The network of a model folder in evaluation mode, for programs that need nothing else (MONAI)."""
    return load_model(folder, task=None).network


def _write(
    folder: Path,
    network: nn.Module,
    spec: NetworkSpec,
    plan: Plan,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    classes: tuple[str, ...],
) -> None:
    sha256, size = write_weights(folder / WEIGHTS, network)
    description = _NetworkFile(format=FORMAT, network=spec, weights_sha256=sha256, weights_bytes=size, classes=classes)
    metadata, inference = bundle_metadata(spec, plan, training, metrics), inference_config(plan)
    card = model_card(spec, plan, training, metrics)
    if classes:
        metadata, inference, card = of_classifier(metadata, inference, card, classes)
    plan.save(folder / PLAN)
    write_json_atomic(folder / LABELS, LabelTable.of(plan.labels).model_dump(mode="json"))
    write_json_atomic(folder / METADATA, metadata)
    write_json_atomic(folder / INFERENCE, inference)
    write_text_atomic(folder / README, card)
    write_json_atomic(folder / NETWORK, to_plain(description.model_dump(mode="json")))


def _check_replaceable(folder: Path) -> None:
    """Refuse to write over anything but an empty folder or a model."""
    with told_as_run_error(folder):
        ours = not folder.exists() or (folder.is_dir() and ((folder / NETWORK).exists() or not any(folder.iterdir())))
    if not ours:
        raise RunError("holds other things than a model", hint="Choose a new folder.", path=folder)


def _replace(folder: Path, new: Path) -> None:
    """Put the new folder into its place; the old one is moved out of the way first and then removed."""
    old = folder.with_name(f".tmp-{secrets.token_hex(6)}.{folder.name}")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _find(folder: Path) -> Path:
    """The model folder itself, given it or its run."""
    if not folder.is_dir():
        told = "is a file, not a model folder" if folder.exists() else "there is no such model folder"
        raise BadDataError(told, hint="Give the folder of a model or of a fine-tuning run.", path=folder)
    if is_pretrained(folder):
        raise BadDataError(
            "holds a pre-trained network, which cannot segment yet",
            hint="Fine-tune it on labelled cases first: topomae finetune --init with this folder.",
            path=folder,
        )
    for place in (folder, folder / "model"):
        if (place / NETWORK).is_file():
            return place
    if (folder / "settings.json").is_file():
        raise BadDataError(
            "the run has not finished, so that there is no model yet",
            hint="Start the same command again to finish it.",
            path=folder,
        )
    if (folder / WEIGHTS).is_file() or (folder / METADATA).is_file():
        raise damaged(f"{NETWORK} is missing, so that it cannot be used as a model", folder)
    raise BadDataError(
        "is not a model folder", hint="Give the folder of a model or of a fine-tuning run.", path=folder
    )


def _read_description(place: Path) -> _NetworkFile:
    content = read_json(model_file(place, NETWORK))
    _check_version(content.get("format"), place)
    return validated(_NetworkFile, content, place / NETWORK, COPY_AGAIN)


def _read_plan(place: Path) -> Plan:
    content = read_json(model_file(place, PLAN))
    _check_version(content.get("version"), place)
    try:
        return Plan.check(content, path=place / PLAN)
    except BadSettingError as error:
        raise BadDataError(error.message, hint=COPY_AGAIN, path=error.path) from None


def _check_version(version: object, place: Path) -> None:
    if isinstance(version, (int, float)) and not isinstance(version, bool) and version > FORMAT:
        raise BadDataError(
            f"the model was made by a newer version of TopoMAE (format {version}, known is {FORMAT})",
            hint="Update TopoMAE.",
            path=place,
        )


def _check_task(spec: NetworkSpec, task: Task | None, place: Path) -> None:
    if task is None or spec.task == task:
        return
    if task == "segmentation":
        message, hint = "the model says the class of whole volumes and cannot segment", "Use it by topomae classify."
    else:
        message, hint = "the model segments and knows no class of whole volumes", "Use it by topomae segment."
    raise BadDataError(message, hint=hint, path=place)


def _check_fit(spec: NetworkSpec, plan: Plan, classes: tuple[str, ...], place: Path) -> None:
    """Refuse a network that does not belong to the plan, or that is too large to be true."""
    wanted = len(classes) if spec.task == "classification" else plan.classes
    if (spec.in_channels, spec.out_channels) != (plan.channels, wanted):
        stated = f"{spec.in_channels} images and {spec.out_channels} classes"
        raise damaged(f"{NETWORK} says {stated}, {PLAN} {plan.channels} and {wanted}", place)
    check_size(spec, place, plan.crop_size)


def _built(build: Callable[[], Built], place: Path) -> Built:
    with torch.random.fork_rng(devices=[]):  # initial weights are replaced: leave the random state alone
        try:
            return build()
        except (ValueError, IndexError, AssertionError, RuntimeError, OverflowError, ZeroDivisionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise damaged(f"the network of {NETWORK} cannot be built ({reason})", place) from None
