"""What nnU-Net keeps beside its raw data sets: the folds of its cross-validation."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from topomae.data.cases import Case, Split
from topomae.data.json_files import read_json_list, validated
from topomae.errors import BadDataError

SPLITS = "splits_final.json"
PREPROCESSED = "nnUNet_preprocessed"  # name of the folder, and of the environment variable that says where it is
_NAME = re.compile(r"(?:Dataset|Task)\d{3}_.+")
_HINT = 'The file holds a list with {"train": [...], "val": [...]} for every fold.'


class _Fold(BaseModel):
    model_config = ConfigDict(extra="ignore")
    train: list[str]
    val: list[str]

    @field_validator("train", "val")
    @classmethod
    def _composed(cls, names: list[str]) -> list[str]:
        return [unicodedata.normalize("NFC", name) for name in names]


class _Folds(BaseModel):
    folds: list[_Fold]


def find_folds(folder: Path, cases: Sequence[Case]) -> tuple[Split, ...]:
    """The folds of `splits_final.json`; () if there is none.

    It is looked for beside dataset.json and, if the folder has one of nnU-Net's names (Dataset004_Hippocampus), in
    the folder of that name in nnUNet_preprocessed: where the environment variable of that name says, else beside
    nnUNet_raw.

    Args:
        folder: the data set.
        cases: all of it. Those without a label, which nnU-Net does not know, train in every fold.
    Raises:
        BadDataError: it is damaged, a case in it does not exist, or stands on both sides.
    """
    path = next((place for place in _places(folder) if place.is_file()), None)
    if path is None:
        return ()
    listed = validated(_Folds, {"folds": read_json_list(path)}, path, _HINT).folds
    if not listed:
        raise BadDataError("there are no folds in the list", hint=_HINT, path=path)
    unlabelled = [case.name for case in cases if case.label is None]
    names = {case.name for case in cases}
    return tuple(_split(fold, number, names, unlabelled, path) for number, fold in enumerate(listed))


def data_sets_in(folder: Path) -> list[str]:
    """Names of nnU-Net's data sets in a folder of several, such as nnUNet_raw."""
    try:
        there = [place.name for place in folder.iterdir() if _NAME.fullmatch(place.name)]
    except OSError:
        return []
    return sorted(name for name in there if (folder / name / "dataset.json").is_file())


def _places(folder: Path) -> list[Path]:
    places = [folder / SPLITS]
    whole = folder.resolve()
    if _NAME.fullmatch(whole.name):
        named = os.environ.get(PREPROCESSED)
        beside = Path(named) if named else whole.parent.parent / PREPROCESSED
        places.append(beside / whole.name / SPLITS)
    return places


def _split(fold: _Fold, number: int, names: Collection[str], unlabelled: list[str], path: Path) -> Split:
    both = sorted(set(fold.train) & set(fold.val))
    unknown = sorted((set(fold.train) | set(fold.val)) - set(names))
    if both:
        raise BadDataError(
            f"the case both trains and validates in fold {number}",
            hint="Leave it in one of the lists.",
            case=both[0],
            path=path,
        )
    if unknown:
        raise BadDataError(
            f"the data set has no case named {', '.join(unknown[:3])}{' ...' if len(unknown) > 3 else ''}, which "
            f"fold {number} lists",
            hint="Let nnU-Net plan again, or remove the file to draw folds.",
            path=path,
        )
    train = dict.fromkeys([*fold.train, *(name for name in unlabelled if name not in fold.val)])
    return Split(tuple(train), tuple(dict.fromkeys(fold.val)))
