"""Which cases train and which validate: the split of the data set, or folds with a share of each class."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from itertools import zip_longest

from topomae.classification.labels import VolumeClasses
from topomae.config import ClassifySettings
from topomae.data.cases import Case, Dataset
from topomae.data.splits import split_dataset
from topomae.errors import BadDataError, BadSettingError


def split_classes(
    dataset: Dataset, classes: VolumeClasses, settings: ClassifySettings
) -> tuple[list[Case], list[Case]]:
    """The training and the validation cases, all of which have a class.

    Raises:
        BadDataError: a class has no training case, or fewer cases train than are asked for.
        BadSettingError: there is no such fold.
    """
    if dataset.fixed_split is not None or dataset.folds:
        split = split_dataset(dataset, fold=settings.fold, folds=settings.folds, seed=settings.seed)
        train, val = (set(names) & classes.of_case.keys() for names in (split.train, split.val))
    else:
        val = stratified_fold(dataset, classes, fold=settings.fold, folds=settings.folds, seed=settings.seed)
        train = classes.of_case.keys() - val
    train, val = ([case for case in dataset.cases if case.name in names] for names in (train, val))
    if settings.labelled is not None:
        train = _first(train, classes, settings.labelled, dataset)
    for name, count in zip(classes.names, classes.counts(train), strict=True):
        if not count:
            raise BadDataError(
                f"no training case has the class {name}",
                hint="Every class needs at least one; with splits.json, see which cases train.",
                path=dataset.folder,
            )
    return train, val


def stratified_fold(dataset: Dataset, classes: VolumeClasses, *, fold: int, folds: int, seed: int) -> set[str]:
    """Names of the cases that validate: each fold has a share of every class, and no subject stands in two.

    Args:
        dataset: for the subjects.
        classes: of the cases; those without a class are in no fold.
        fold: from 0 on.
        folds: number of folds; at most one per subject is made.
        seed: another seed deals other folds; names and seed alone decide.
    Raises:
        BadSettingError: there is no such fold.
    """
    members: dict[str, list[Case]] = defaultdict(list)
    for case in dataset.cases:
        if case.name in classes.of_case:
            members[case.subject or case.name].append(case)
    if len(members) < 2:
        return set()
    folds = min(folds, len(members))
    if fold >= folds:
        raise BadSettingError(
            f"there is no fold {fold}: {len(members)} subjects with a class give {folds} folds",
            hint=f"Give a fold from 0 to {folds - 1}.",
        )

    def order(subject: str) -> tuple[list[int], bytes]:
        # Sorted by class, dealing gives each fold its share of each. A hash, as for other splits: it never changes.
        own = sorted({classes.of_case[case.name] for case in members[subject]})
        return own, hashlib.sha256(f"{seed}:{subject}".encode()).digest()

    dealt = sorted(members, key=order)
    return {case.name for subject in dealt[fold::folds] for case in members[subject]}


def _first(train: list[Case], classes: VolumeClasses, count: int, dataset: Dataset) -> list[Case]:
    """The first cases, taken from the classes in turn, in the data set's order."""
    if count > len(train):
        raise BadDataError(
            f"labelled={count} asks for more than the {len(train)} training cases with a class",
            hint="Use fewer.",
            path=dataset.folder,
        )
    groups = [[case for case in train if classes.of_case[case.name] == index] for index in range(len(classes.names))]
    in_turn = [case for round_ in zip_longest(*groups) for case in round_ if case is not None]
    chosen = {case.name for case in in_turn[:count]}
    return [case for case in train if case.name in chosen]
