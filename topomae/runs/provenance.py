"""Where a network comes from: everything needed to train it again, kept in every model folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from topomae.config import Settings
from topomae.data.cases import Dataset
from topomae.data.json_files import read_json, validated
from topomae.data.plan import Plan
from topomae.errors import BadDataError
from topomae.models.pretrained import TRAINING
from topomae.parallel.devices import Device
from topomae.parallel.distributed import processes
from topomae.recipes.recipe import Recipe
from topomae.versions import code_state, machine, versions

Kind = Literal["pretrain", "finetune", "classification"]
METADATA = "configs/metadata.json"  # in that of a model, under training and provenance
_LONGEST_CHAIN = 10  # trainings that start from one another


class CaseContent(BaseModel):
    """SHA-256 of the files of one case; None for a file that it does not have or that was not looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: tuple[str | None, ...]
    label: str | None = None


class DataRecord(BaseModel):
    """The data of a training.

    Attributes:
        name: of the data set.
        modalities: names of the image channels.
        sha256: of the content of all files that were used, whatever they are called.
        cases: content of each case by its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    modalities: tuple[str, ...]
    sha256: str
    cases: dict[str, CaseContent]


class Provenance(BaseModel):
    """One training.

    Attributes:
        format: of this record.
        kind: what was trained.
        settings: all of them, resolved for the size of the network.
        plan: the plan, as in plan.json.
        data: what it was trained and validated on.
        versions: of Python and the libraries.
        code: `sha256` of the engine's files and `git_revision`.
        machine: instruction set of the CPU, threads.
        device: `cpu` or `cuda`.
        processes: that trained together.
        weights: SHA-256 of the trained weights, see `weights_digest`.
        init: the training that it started from.
        classes: digest of the class of each case, of a classification.
        recipe: that was followed, if any.
        imported: SHA-256 of the file with weights of another program that it started from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Kind
    settings: dict[str, Any]
    plan: dict[str, Any]
    data: DataRecord
    versions: dict[str, str | None]
    code: dict[str, str | None]
    machine: dict[str, Any]
    device: Literal["cpu", "cuda"]
    processes: Annotated[int, Field(ge=1)] = 1
    weights: str | None = None
    init: Provenance | None = None
    classes: str | None = None
    recipe: Recipe | None = None
    imported: str | None = None

    def stages(self) -> list[Provenance]:
        """The trainings in the order they were done, this one last."""
        before = self.init.stages() if self.init else []
        return [*before, self]


def record_training(
    kind: Kind,
    dataset: Dataset,
    plan: Plan,
    settings: Settings,
    device: Device,
    *,
    init: str | Path | None = None,
    classes: str | None = None,
    imported: str | None = None,
) -> Provenance | None:
    """Write down what decides the result of a training; None where the content of the data is not known.

    Args:
        kind: what is trained.
        dataset: of a run that has checked its cases.
        plan: the settled plan.
        settings: resolved.
        device: where it is trained.
        init: folder of the network that it starts from.
        classes: digest of the class of each case, of a classification.
        imported: SHA-256 of a file with weights of another program that it starts from.
    """
    if dataset.cache is None:
        return None
    before = None
    if init is not None:
        with suppress(BadDataError):  # of a model that has no record, or a damaged one
            before = read_provenance(init)
    if before is not None and len(before.stages()) >= _LONGEST_CHAIN:
        before = None  # who trains a model on and on does not need its first steps for ever
    data = {"name": dataset.name, "modalities": dataset.modalities, **dataset.cache.fingerprint}
    return Provenance(
        kind=kind,
        settings=settings.model_dump(mode="json"),
        plan=plan.model_dump(mode="json"),
        data=DataRecord.model_validate(data),
        versions=versions(),
        code=code_state(),
        machine=machine(),
        device=device.kind,
        processes=processes().world,
        init=before,
        classes=classes,
        recipe=None if dataset.prescribed is None else dataset.prescribed.recipe,
        imported=imported,
    )


def with_weights(provenance: Provenance | None, network: torch.nn.Module) -> dict[str, Any] | None:
    """The record of a finished training, as JSON-able values.

    Args:
        provenance: from `record_training`.
        network: the trained network.
    """
    if provenance is None:
        return None
    done = provenance.model_copy(update={"weights": weights_digest(network.state_dict())})
    return done.model_dump(mode="json")


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and bits of weights; equal if and only if the weights are."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_provenance(folder: str | Path) -> Provenance:
    """The record of a trained network.

    Args:
        folder: a pre-training or fine-tuning run, or a model folder.
    Raises:
        BadDataError: there is no trained network, or it does not say where it comes from.
    """
    folder = Path(folder)
    for place in (folder, folder / "model"):
        for name, keys in ((TRAINING, ()), (METADATA, ("training", "provenance"))):
            if (place / name).is_file():
                content: Any = read_json(place / name)
                for key in keys:
                    content = content.get(key) if isinstance(content, dict) else None
                if content is not None:
                    return validated(Provenance, content, place / name, "Copy the model folder again.")
    raise BadDataError(
        "does not say how it was trained",
        hint="Give the folder of a finished run, or of a model that this version of TopoMAE has trained.",
        path=folder,
    )
