"""dataset.json: the description of a data set by the Medical Segmentation Decathlon and by nnU-Net."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from topomae.data.cases import Case
from topomae.data.file_names import READABLE, image_suffix, path_within, split_channel, stem_of
from topomae.data.json_files import read_json, validated
from topomae.errors import BadDataError
from topomae.harmless import file_name_problem

_HINT = "See the Medical Segmentation Decathlon or nnU-Net for the format."


class Entry(BaseModel):
    """One case: image files in modality order (or one file), and its label map if there is one.

    null in the list of images stands for a modality that the case lacks. nnU-Net's list gives each case a name.
    """

    model_config = ConfigDict(extra="ignore", strict=True)
    image: list[str | None] = Field(min_length=1)
    label: str | None = None
    identifier: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_short_forms(cls, value: Any) -> Any:
        """Allow "file" for {"image": ["file"]}, and nnU-Net's "images"."""
        if isinstance(value, (str, list)):
            value = {"image": value}
        if isinstance(value, dict):
            value = {**value, "image": value.get("image", value.get("images"))}
            if value["image"] is None:
                raise ValueError('no "image" given')
            if isinstance(value["image"], str):
                value["image"] = [value["image"]]
            if isinstance(value["image"], list) and value["image"] and all(one is None for one in value["image"]):
                raise ValueError("every image is null")
        return value

    @field_validator("identifier")
    @classmethod
    def _identifier_names_files(cls, name: str | None) -> str | None:
        if name is not None and (problem := file_name_problem(name, ".nii.gz")):
            raise ValueError(f"the name of the case {problem}")
        return name and unicodedata.normalize("NFC", name)


class DatasetJson(BaseModel):
    """The keys of dataset.json that matter here; others are ignored.

    "test" lists images held out by their publisher: they are not cases here, so that nothing is
    trained on them unasked. "unlabelled" lists further images for pre-training.
    """

    model_config = ConfigDict(extra="ignore")
    name: str = ""
    modality: dict[int, str] = {}
    labels: dict[int, str] | None = None
    training: list[Entry] | None = None
    unlabelled: list[Entry] = []
    numTraining: int | None = None
    file_ending: str = ""

    @model_validator(mode="before")
    @classmethod
    def _accept_nnunet(cls, value: Any) -> Any:
        """Allow nnU-Net 2's names: "channel_names" and {"dataset": {case: {"images", "label"}}}."""
        if isinstance(value, dict):
            value = dict(value)
            value.setdefault("modality", value.get("channel_names", {}))
            if isinstance(value.get("dataset"), dict) and "training" not in value:
                value["training"] = [
                    {**entry, "identifier": name} if isinstance(entry, dict) else entry
                    for name, entry in value["dataset"].items()
                ]
        return value

    @field_validator("file_ending")
    @classmethod
    def _ending_is_read(cls, ending: str) -> str:
        if ending and image_suffix("image" + ending) is None:
            raise ValueError(f"files ending in {ending} are not read; convert them to {READABLE}")
        return ending

    @field_validator("modality", mode="before")
    @classmethod
    def _modality_by_index(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        return dict(enumerate(value)) if isinstance(value, list) else value

    @field_validator("modality")
    @classmethod
    def _modality_in_order(cls, value: dict[int, str]) -> dict[int, str]:
        if sorted(value) != list(range(len(value))):
            raise ValueError(f"modalities must be numbered 0, 1, 2 ..., not {sorted(value)}")
        return {index: value[index].strip() or "image" for index in sorted(value)}

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_by_value(cls, value: Any) -> Any:
        """Turn nnU-Net 2's {name: value} into {value: name}."""
        if not isinstance(value, dict):
            return value
        negative = next((key for key in value if re.fullmatch(r"\s*-\d+\s*", str(key))), None)
        if negative is not None:
            raise ValueError(f"the label value {negative} is negative")
        if all(str(key).strip().isdecimal() for key in value):
            return value
        turned: dict[Any, str] = {}
        for name, number in value.items():
            if isinstance(number, list) and len(number) == 1:
                number = number[0]
            if isinstance(number, list):
                raise ValueError(
                    f"'{name}' is a region of several values ({', '.join(map(str, number))}), which is not supported; "
                    "give each value a name of its own instead"
                )
            if isinstance(number, bool) or not str(number).strip().isdecimal():
                raise ValueError(f"the label '{name}' has the value {number}, no whole number from 0 on")
            if name.lower() == "ignore":
                raise ValueError("voxels to ignore are not supported; give them the value 0 and leave it out")
            if int(number) in turned:
                raise ValueError(f"'{turned[int(number)]}' and '{name}' have the same value {number}")
            turned[int(number)] = name
        return turned

    @field_validator("labels")
    @classmethod
    def _labels_ascending(cls, value: dict[int, str] | None) -> dict[int, str] | None:
        """Leave out background and check the names."""
        if value is None:
            return None
        named = {number: value[number].strip() for number in sorted(value) if number != 0}
        if any(not name for name in named.values()) or len(set(named.values())) < len(named):
            raise ValueError("every label needs a name of its own")
        return named


def read_dataset_json(path: Path) -> DatasetJson:
    """Read and check dataset.json; the files it lists are looked at by `listed_cases`.

    Raises:
        BadDataError: with the line, the entry or the key that is wrong.
    """
    description = validated(DatasetJson, read_json(path), path, _HINT)
    entries = description.training or []
    if description.labels is None and (any(entry.label for entry in entries) or description.training is None):
        raise BadDataError(
            'the key "labels" is missing, so the values in the label maps have no names',
            hint='Add for instance "labels": {"0": "background", "1": "liver"}.',
            path=path,
        )
    return description


def listed_cases(description: DatasetJson, path: Path) -> list[Case]:
    """Turn the entries of dataset.json into cases, checking that every file is there and inside the folder.

    Raises:
        BadDataError: a path leads outside, a file is missing, a case stands twice, the number of
            files differs from that of modalities, or numTraining is another number than listed.
    """
    training = description.training or []
    cases = [_case(entry, path) for entry in training]
    cases += [_case(entry.model_copy(update={"label": None}), path) for entry in description.unlabelled]
    times = Counter(case.name for case in cases)
    repeated = sorted(name for name in times if times[name] > 1)
    count = description.numTraining
    wrong_count = count is not None and count != len(training)
    if repeated:
        also = f", and numTraining says {count} where {len(training)} are listed" if wrong_count else ""
        raise BadDataError(
            f"the case is listed {times[repeated[0]]} times{also}",
            hint="List every case once; files of the same name in different folders need different names.",
            case=repeated[0],
            path=path,
        )
    if wrong_count:
        raise BadDataError(
            f"numTraining says {count} but {len(training)} cases are listed",
            hint="Correct numTraining, or list the missing cases.",
            path=path,
        )
    for case in cases:
        _check_files(case, description, path)
    return cases


def _case(entry: Entry, path: Path) -> Case:
    """Build a case named after its image, without nnU-Net's channel number where it has one."""
    stem = stem_of(next(one for one in entry.image if one is not None).replace("\\", "/"))
    base, channel = split_channel(stem)
    label_stem = stem_of(entry.label.replace("\\", "/")) if entry.label else None
    numbered = channel is not None and (len(entry.image) > 1 or label_stem == base)
    name = entry.identifier or (base if numbered else stem)
    images = tuple(None if image is None else path_within(image, path.parent, case=name) for image in entry.image)
    if len(images) == 1 and not os.path.exists(images[0]):
        images = _numbered_files(images[0]) or images
    label = path_within(entry.label, path.parent, case=name) if entry.label else None
    return Case(name, images, label)


def _numbered_files(path: Path) -> tuple[Path, ...]:
    """Return nnU-Net's a_0000.nii.gz, a_0001.nii.gz ... for a listed a.nii.gz that is not there itself."""
    suffix = image_suffix(path) or ""
    stem = path.name[: len(path.name) - len(suffix)]
    files: list[Path] = []
    while os.path.exists(file := path.with_name(f"{stem}_{len(files):04d}{suffix}")):
        files.append(file)
    return tuple(files)


def _check_files(case: Case, description: DatasetJson, path: Path) -> None:
    count = len(description.modality)
    if count and len(case.images) not in (1, count):
        raise BadDataError(
            f"{len(case.images)} image files are listed but the data set has {count} modalities",
            hint="List one file per modality (null for one that the case lacks), or a single 4-D file.",
            case=case.name,
            path=path,
        )
    if len(set(case.files)) < len(case.files):
        raise BadDataError(
            "the same image file is listed for two modalities",
            hint="List one file per modality.",
            case=case.name,
            path=path,
        )
    for file, kind in [*((image, "image") for image in case.images), (case.label, "label map")]:
        if file is not None and not os.path.isfile(file):  # unlike Path's, False for a name too long to exist
            raise BadDataError(
                f"the {kind} listed in {path.name} does not exist",
                hint="Restore the file, or take the case out of the list.",
                case=case.name,
                path=file,
            )
