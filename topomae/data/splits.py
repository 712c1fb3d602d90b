"""Which cases train, validate and test: splits.json, or folds drawn over subjects."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from topomae.data.cases import Dataset, Split
from topomae.data.json_files import read_json, validated
from topomae.errors import BadDataError, BadSettingError

_HINT = 'The file holds {"train": [...], "val": [...], "test": [...]} with case names without suffix.'


class SplitsJson(BaseModel):
    """The keys of splits.json that matter here; others are ignored.

    Attributes:
        train, val, test: case names without suffix.
        subject_of: case name to the id of the person scanned.
    """

    model_config = ConfigDict(extra="ignore")
    train: list[str]
    val: list[str] = []
    test: list[str] = []
    subject_of: dict[str, str] = {}

    @field_validator("train", "val", "test")
    @classmethod
    def _composed(cls, names: list[str]) -> list[str]:
        return [unicodedata.normalize("NFC", name) for name in names]

    @field_validator("subject_of", mode="before")
    @classmethod
    def _ids_as_text(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {unicodedata.normalize("NFC", str(name)): str(subject) for name, subject in value.items()}


def read_splits(path: Path, names: Collection[str]) -> tuple[Split, dict[str, str]]:
    """Read splits.json.

    Args:
        path: the file.
        names: the cases of the data set.

    Returns:
        The split, and the subject of every case of the data set (its own name if not given).

    Raises:
        BadDataError: not valid, a case in two lists or twice in one, a case that does not exist,
            or scans of one subject in two lists.
    """
    content = validated(SplitsJson, read_json(path), path, _HINT)
    lists = {"train": content.train, "val": content.val, "test": content.test}
    seen: dict[str, str] = {}
    twice = [(name, key) for key, group in lists.items() for name in group if seen.setdefault(name, key) != key]
    if twice:
        name, second = twice[0]
        raise BadDataError(
            f'{len(twice)} cases stand in two lists, for instance {name} in "{seen[name]}" and "{second}"',
            hint="Leave each case in one list, or the test would measure what was trained on.",
            path=path,
        )
    for key, group in lists.items():
        repeated = next((name for name, times in Counter(group).items() if times > 1), None)
        if repeated:
            raise BadDataError(
                f'the case stands more than once in "{key}"', hint="List it once.", case=repeated, path=path
            )
    unknown = sorted(seen.keys() - set(names))
    if unknown:
        raise BadDataError(
            f"the data set has no case named {', '.join(unknown[:3])}{' ...' if len(unknown) > 3 else ''} "
            f"({len(unknown)} of {len(seen)} names are unknown)",
            hint="Use the file names without suffix, or take the names out.",
            path=path,
        )
    subjects = {name: content.subject_of.get(name, name) for name in names}
    _check_subjects(seen, subjects, path)
    return Split(tuple(content.train), tuple(content.val), tuple(content.test)), subjects


def split_dataset(dataset: Dataset, *, fold: int = 0, folds: int = 5, seed: int = 0) -> Split:
    """Say which cases train and which validate.

    The split that lies beside the data is used as it is, and so are nnU-Net's folds. Without either, the
    subjects with labels are dealt into folds, in an order that depends on the seed and their names alone;
    fold `fold` validates. Unlabelled cases train, except those of subjects who validate, which are left out.

    Args:
        dataset: from `open_dataset`.
        fold: the fold that validates, from 0 on.
        folds: number of folds; at most one per labelled subject is made.
        seed: another seed deals other folds.

    Returns:
        Split of case names, each list in the data set's order. With fewer than two labelled
        subjects nothing is left for validation.

    Raises:
        BadSettingError: there is no such fold, or a fold is asked for beside a fixed split.
    """
    if dataset.fixed_split is None and dataset.folds:
        if fold >= len(dataset.folds):
            raise BadSettingError(
                f"there is no fold {fold}: splits_final.json has {len(dataset.folds)}",
                hint=f"Give a fold from 0 to {len(dataset.folds) - 1}.",
                path=dataset.folder,
            )
        return dataset.folds[fold]
    if folds < 2 or not 0 <= fold < folds:
        raise BadSettingError(
            f"there is no fold {fold} of {folds}",
            hint="Give a fold from 0 on, below the number of folds (2 or more).",
        )
    if dataset.fixed_split is not None:
        if fold:
            raise BadSettingError(
                f"fold {fold} is asked for, but the data set has a fixed split",
                hint="Go without splits.json, and without a recipe, to draw folds; or leave the fold out.",
                path=dataset.folder,
            )
        return dataset.fixed_split
    subject_of = {case.name: case.subject or case.name for case in dataset.cases}
    labelled = sorted({subject_of[case.name] for case in dataset.labelled})
    names = [case.name for case in dataset.cases]
    if len(labelled) < 2:
        return Split(train=tuple(names), val=())
    folds = min(folds, len(labelled))
    if fold >= folds:
        raise BadSettingError(
            f"there is no fold {fold}: {len(labelled)} labelled subjects give {folds} folds",
            hint=f"Give a fold from 0 to {folds - 1}.",
        )
    # Sorting by a hash instead of shuffling: the same order on every machine and version for ever.
    dealt = sorted(labelled, key=lambda s: hashlib.sha256(f"{seed}:{s}".encode()).digest())
    validating = set(dealt[fold::folds])
    has_label = {case.name for case in dataset.labelled}
    return Split(
        train=tuple(name for name in names if subject_of[name] not in validating),
        val=tuple(name for name in names if subject_of[name] in validating and name in has_label),
    )


def _check_subjects(list_of: dict[str, str], subjects: dict[str, str], path: Path) -> None:
    """Refuse a split that parts the scans of one subject."""
    first: dict[str, str] = {}
    for name, key in list_of.items():
        other = first.setdefault(subjects[name], name)
        if list_of[other] != key:
            raise BadDataError(
                f'{other} in "{list_of[other]}" and {name} in "{key}" are of one subject ({subjects[name]})',
                hint="Keep the scans of a subject in one list.",
                path=path,
            )
