"""Opening a data set: what lies in a folder, as cases with a split. No voxels are read."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from topomae.data.case_loading import count_labels, load_case, load_case_label
from topomae.data.cases import Case, Dataset
from topomae.data.checks import CaseReport, Intensities, check_case, check_dataset, require_ok
from topomae.data.dataset_json import DatasetJson, listed_cases, read_dataset_json
from topomae.data.nnunet import data_sets_in, find_folds
from topomae.data.plain_folders import found_cases
from topomae.data.splits import read_splits, split_dataset
from topomae.data.volume_io import count_channels, read_labels
from topomae.errors import BadDataError, BadSettingError

__all__ = [
    "CaseReport",
    "Intensities",
    "check_case",
    "check_dataset",
    "discover_labels",
    "load_case",
    "load_case_label",
    "open_dataset",
    "require_ok",
    "split_dataset",
]

_MAX_DISCOVERED = 256


def open_dataset(folder: str | Path, *, modalities: Sequence[str] | None = None) -> Dataset:
    """Open a folder of volumes.

    Understood are, in this order: a dataset.json of the Medical Segmentation Decathlon or of nnU-Net 2;
    imagesTr/ and labelsTr/; images/ and labels/; volumes in the folder itself (unlabelled). Beside
    them, splits.json fixes the split and may tell which scans are of one subject; without it, nnU-Net's
    splits_final.json has the folds.

    Args:
        folder: the data set.
        modalities: names of the image channels, overriding those found; ("CT",) marks Hounsfield units.

    Returns:
        Dataset with cases sorted by name. Without dataset.json the names of labels are unknown and
        `labels` is empty: see `discover_labels`.

    Raises:
        BadDataError: what the folder holds is no data set, or contradicts itself.
        BadSettingError: `modalities` has another number of names than there are channels.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadDataError(
            "the data folder does not exist" if not folder.exists() else "not a folder",
            hint="Give the folder that holds dataset.json or the images.",
            path=folder,
        )
    path = folder / "dataset.json"
    description = read_dataset_json(path) if path.exists() else DatasetJson()
    if description.training is not None:
        cases = listed_cases(description, path)
    elif not path.exists() and (several := data_sets_in(folder)):
        more = f" and {len(several) - 3} more" if len(several) > 3 else ""
        raise BadDataError(
            f"the folder holds several data sets: {', '.join(several[:3])}{more}",
            hint="Give the folder of one of them.",
            path=folder,
        )
    else:
        cases = found_cases(folder, len(description.modality) or None, description.file_ending)
    cases = sorted(cases, key=lambda case: case.name)
    if not cases:
        raise BadDataError("the data set lists no cases", hint="List cases under training.", path=path)
    _check_names(cases)
    names = [case.name for case in cases]
    split, subjects = None, {name: name for name in names}
    if (folder / "splits.json").exists():
        split, subjects = read_splits(folder / "splits.json", names)
    folds = find_folds(folder, cases) if split is None else ()
    return Dataset(
        name=description.name.strip() or folder.resolve().name,
        folder=folder,
        cases=tuple(replace(case, subject=subjects[case.name]) for case in cases),
        modalities=_modalities(description, cases, modalities),
        labels=description.labels or {},
        fixed_split=split,
        folds=folds,
    )


def discover_labels(dataset: Dataset, reports: Sequence[CaseReport] | None = None) -> Dataset:
    """Name the labels of a data set that came without dataset.json after the values in its label maps.

    Args:
        dataset: from `open_dataset`; returned as it is if its labels have names.
        reports: from `check_dataset` with labels, which saves reading the label maps again.

    Returns:
        The data set with labels {1: "label 1", ...}.

    Raises:
        BadDataError: a label map cannot be read, or there are too many values for labels.
    """
    if dataset.labels:
        return dataset
    counted = {report.case.name: report.label_voxels for report in reports or ()}
    values: set[int] = set()
    for case in dataset.labelled:
        counts = counted.get(case.name)
        if counts is None:
            counts = count_labels(read_labels(case.label, case=case.name))
        values |= counts.keys()
        if len(values) > _MAX_DISCOVERED:
            raise BadDataError(
                f"the label maps hold more than {_MAX_DISCOVERED} different values, as an image would",
                hint="Put label maps into the label folder, or name the labels in a dataset.json.",
                case=case.name,
                path=case.label,
            )
    return replace(dataset, labels={value: f"label {value}" for value in sorted(values)})


def _check_names(cases: list[Case]) -> None:
    """Refuse names that would be one file on Windows or macOS, where results are named after cases."""
    seen: dict[str, Case] = {}
    for case in cases:
        key = unicodedata.normalize("NFC", case.name).casefold()
        if key in seen:
            raise BadDataError(
                f"its name collides with that of case {seen[key].name}"
                if seen[key].name != case.name
                else f"two cases have the same name ({seen[key].files[0].name} and {case.files[0].name})",
                hint="Rename one of them: names must differ by more than upper and lower case.",
                case=case.name,
                path=case.files[0],
            )
        seen[key] = case


def _modalities(description: DatasetJson, cases: list[Case], given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the name of each channel: given, else described, else "image" (numbered if several)."""
    count = len(description.modality) or max(len(case.images) for case in cases)
    if count == 1 and not description.modality:
        count = _channels_of(cases[0].files[0])
    if given is not None and len(given) != count:
        raise BadSettingError(
            f"{len(given)} modalities are given ({', '.join(given)}) but the images have {count} channels",
            hint="Give one name per channel.",
        )
    numbered = ("image",) if count == 1 else tuple(f"image {n}" for n in range(count))
    names = given or tuple(description.modality.values()) or numbered
    return tuple("CT" if name.casefold() == "ct" else name for name in names)


def _channels_of(path: Path) -> int:
    """Return the channels that a header declares; a file that cannot be read is told by the check."""
    try:
        return count_channels(path)
    except BadDataError:
        return 1
