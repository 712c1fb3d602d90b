"""Model folders: what a model segments, what it was trained on, whether a volume fits it. Only text files are read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.harmless import cleanName, isElsewhere
from TopoMAELib.volumes import VolumeError, volumeArrayAndAffine

_KNOWN_FORMAT = 1
_MOST_BYTES = 16 << 20  # of one text
_MAX_SPACING_RATIO = 3.0
_LOWEST_HU = -900.0  # air; no other modality has such values
_MR_NAMES = re.compile(r"mr|t1|t2|flair", re.IGNORECASE)


class ModelFolderError(ValueError):
    """A folder that cannot be used as a model; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class ModelLabel:
    """One label: value in label maps, name, colour (red, green, blue, 0 to 255), terminology as in `labels.json`."""

    value: int
    name: str
    colour: tuple[int, int, int]
    terminology: dict | None = None


@dataclass(frozen=True)
class ModelCard:
    """What a person wants to know about a model before using it.

    Attributes:
        folder: the model folder itself, absolute.
        name: data set and run.
        labels: ascending by value.
        modalities: name of each image that it needs, in order.
        spacing: mm per voxel along R, A, S at which it works.
        normalization: per modality `ct` where it expects Hounsfield units, else another word.
        validationDice: mean Dice on validation cases, 0 to 1; None if it was not measured.
        trainingCases: number of labelled cases; None if not known.
        network: architecture and size, such as `fused, small`.
        pretrainedRun: folder of the pre-trained network that it started from, if it is still there; else empty.
        sizeOnDisk: bytes.
        missingModalities: whether it was trained to do without some of the images.
    """

    folder: str
    name: str
    labels: tuple[ModelLabel, ...]
    modalities: tuple[str, ...]
    spacing: tuple[float, float, float]
    normalization: tuple[str, ...]
    validationDice: float | None
    trainingCases: int | None
    network: str
    pretrainedRun: str
    sizeOnDisk: int
    missingModalities: bool = False

    @classmethod
    def read(cls, folder: str | Path) -> ModelCard:
        """Read the card of a model.

        Args:
            folder: a model folder, or a finished fine-tuning run.
        Raises:
            ModelFolderError: it is no model, one that does not segment, one of a newer version, or damaged.
        """
        place = _find(Path(folder))
        plan, network = _readObject(place / "plan.json"), _readObject(place / "network.json")
        labels, metadata = _readObject(place / "labels.json"), _readObject(place / "configs" / "metadata.json")
        if max(_number(plan.get("version")), _number(network.get("format"))) > _KNOWN_FORMAT:
            message = _("The model in {folder} was made by a newer version of TopoMAE; update TopoMAE.")
            raise ModelFolderError(message.format(folder=place))
        if isinstance(network.get("network"), dict) and network["network"].get("task") == "classification":
            message = _("The model in {folder} says the class of whole volumes and cannot segment.")
            raise ModelFolderError(message.format(folder=place))
        try:
            return cls._of(place, plan, network["network"], labels, metadata)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise _damaged(place, f"{type(error).__name__}: {error}") from None

    @classmethod
    def _of(cls, place: Path, plan: dict, network: dict, labels: dict, metadata: dict) -> ModelCard:
        entries = sorted(labels["labels"], key=lambda entry: entry["value"])
        spacing = tuple(float(mm) for mm in plan["spacing"])
        if len(spacing) != 3 or not all(0 < mm < math.inf for mm in spacing) or not plan["modalities"]:
            raise ValueError("impossible spacing or no modality in plan.json")
        cases = metadata.get("training", {}).get("cases")
        dice = metadata.get("eval_metrics", {}).get("validation_dice")
        run = place.parent if place.name == "model" else place
        return cls(
            folder=str(place),
            name=cleanName(f"{plan['dataset']} ({run.name})"),
            labels=tuple(_labelOf(entry) for entry in entries),
            modalities=tuple(cleanName(name) for name in plan["modalities"]),
            spacing=spacing,
            normalization=tuple(str(how["kind"]) for how in plan["normalization"]),
            validationDice=float(dice) if isinstance(dice, (int, float)) else None,
            trainingCases=len(cases) if isinstance(cases, list) else None,
            network=cleanName(f"{network['architecture']}, {network['size']}"),
            pretrainedRun=_pretrainedRun(place),
            sizeOnDisk=sum(file.stat().st_size for file in place.rglob("*") if file.is_file()),
            missingModalities=network.get("missing_modalities") is True,
        )

    def misfit(self, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode | None]) -> list[str]:
        """Say in what volumes are unlike those that the model was trained on; empty if they look alike.

        Args:
            volumeNodes: one vtkMRMLScalarVolumeNode per modality, in the model's order; None where there is none.
        """
        nodes = [node for node in volumeNodes if node is not None]
        if not self.isEnough(volumeNodes):
            names = ", ".join(self.modalities)
            message = _("The model needs {needed} volumes ({names}), but {given} are chosen.")
            if len(self.modalities) == 1:
                message = _("The model needs one volume ({names}), but {given} are chosen.")
            return [message.format(needed=len(self.modalities), names=names, given=len(nodes))]
        try:
            volumes = [volumeArrayAndAffine(node) for node in nodes]
        except VolumeError as error:
            return [str(error)]
        found = self._missing(volumeNodes)
        for node, name, kind in zip(volumeNodes, self.modalities, self.normalization, strict=False):
            found += _valueMisfit(node, name, kind) if node is not None else []
        return found + _gridMisfit(nodes, volumes) + self._spacingMisfit(nodes[0], volumes[0][1])

    def isEnough(self, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode | None]) -> bool:
        """Whether the model can work with these: one per modality, or at least one if it does without the others."""
        given = [node is not None for node in volumeNodes]
        return len(given) == len(self.modalities) and (any(given) if self.missingModalities else all(given))

    def _missing(self, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode | None]) -> list[str]:
        pairs = list(zip(self.modalities, volumeNodes, strict=True))
        missing = [name for name, node in pairs if node is None]
        if not missing:
            return []
        message = _("{missing} not available: the model looks at {given} alone.")
        given = ", ".join(name for name, node in pairs if node is not None)
        return [message.format(missing=", ".join(missing), given=given)]

    def _spacingMisfit(self, node: slicer.vtkMRMLScalarVolumeNode, affine: np.ndarray) -> list[str]:
        given = rasSpacing(affine)
        if max(max(a / b, b / a) for a, b in zip(given, self.spacing, strict=True)) <= _MAX_SPACING_RATIO:
            return []
        message = _("{name}: its voxels of {given} mm are very unlike the {wanted} mm that the model works at.")
        return [message.format(name=node.GetName(), given=_millimeters(given), wanted=_millimeters(self.spacing))]


def rasSpacing(affine: np.ndarray) -> tuple[float, float, float]:
    """mm between voxels along the array axes closest to R, A and S of an affine (4, 4)."""
    columns = np.asarray(affine, float)[:3, :3]
    lengths = np.maximum(np.linalg.norm(columns, axis=0), 1e-9)
    left, _singular, right = np.linalg.svd(columns / lengths)
    alignment = np.abs(left @ right)
    spacing = [0.0, 0.0, 0.0]
    for axis in range(3):
        direction = int(alignment[:, axis].argmax())
        spacing[direction] = float(lengths[axis])
        alignment[direction, :] = -1.0
    return tuple(spacing)


def _valueMisfit(node: slicer.vtkMRMLScalarVolumeNode, modality: str, kind: str) -> list[str]:
    lowest = float(node.GetImageData().GetScalarRange()[0])
    if kind == "ct" and lowest >= 0:
        message = _(
            "{name}: no value is below 0, so these are probably not the Hounsfield units that the model was "
            "trained on ({modality})."
        )
        return [message.format(name=node.GetName(), modality=modality)]
    if kind != "ct" and lowest <= _LOWEST_HU and _MR_NAMES.search(modality):
        message = _("{name}: values down to {lowest} as in CT, but the model was trained on {modality}.")
        return [message.format(name=node.GetName(), lowest=f"{lowest:g}", modality=modality)]
    return []


def _gridMisfit(nodes: Sequence, volumes: Sequence) -> list[str]:
    array, affine = volumes[0]
    for node, (otherArray, otherAffine) in zip(nodes[1:], volumes[1:], strict=True):
        if otherArray.shape != array.shape or np.abs(otherAffine - affine).max() > 1e-2:
            message = _("{name} has other voxels than {first}; resample it to the same grid first.")
            return [message.format(name=node.GetName(), first=nodes[0].GetName())]
    return []


def _find(folder: Path) -> Path:
    """The model folder itself, given it or its run."""
    for place in (folder, folder / "model"):
        if (place / "network.json").is_file() and (place / "labels.json").is_file():
            return place.resolve()
    if not folder.is_dir():
        message = _("There is no folder {folder}; choose the folder of a model or of a finished fine-tuning run.")
    elif (folder / "settings.json").is_file():
        message = _("The run in {folder} holds no model that can segment: it is a pre-training, or has not finished.")
    else:
        message = _("{folder} is no model; choose the folder of a model or of a finished fine-tuning run.")
    raise ModelFolderError(message.format(folder=folder))


def _readObject(file: Path) -> dict:
    try:
        if file.stat().st_size > _MOST_BYTES or not file.is_file():
            raise ValueError(_("not a text file of moderate size"))
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from None
    if not isinstance(content, dict):
        raise _damaged(file, _("not an object"))
    return content


def _labelOf(entry: dict) -> ModelLabel:
    red, green, blue = (min(255, max(0, int(part))) for part in entry["colour"])
    value, terminology = int(entry["value"]), entry.get("terminology")
    if value <= 0:
        raise ValueError(f"label value {value}")
    return ModelLabel(value, cleanName(entry["name"]), (red, green, blue), terminology)


def _pretrainedRun(place: Path) -> str:
    """Where the training of a model in its run folder started from; empty if that is not there."""
    try:
        settings = _readObject(place.parent / "settings.json")
        start = settings["settings"]["init"]
        if not isinstance(start, str) or isElsewhere(start, place) or not Path(start).is_dir():
            return ""
        # What is recorded may be the folder `model` in the run folder.
        isPart = Path(start).name == "model" and (Path(start).parent / "settings.json").is_file()
        return str(Path(start).parent) if isPart else start
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _number(value: object) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _damaged(place: Path, reason: str) -> ModelFolderError:
    message = _("{place} is damaged ({reason}); copy the model folder again.")
    return ModelFolderError(message.format(place=place, reason=reason))


def _millimeters(spacing: Sequence[float]) -> str:
    return " × ".join(f"{mm:.3g}" for mm in spacing)
