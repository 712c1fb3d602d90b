"""Which prediction belongs to which label and image: by case name, the file name without its suffix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from topomae.data.cases import Dataset
from topomae.data.dataset import open_dataset
from topomae.data.file_names import is_image_file, stem_of
from topomae.errors import BadDataError, TopoMAEError

_DATASET_PARTS = (("dataset.json",), ("imagesTr", "labelsTr"), ("images", "labels"))
_NO_TEST_CASES = (
    "the data set names no labelled test cases in splits.json, so every labelled case with a prediction is judged; of "
    "those that the model was trained on, the numbers say nothing"
)


@dataclass(frozen=True)
class Pair:
    """A case that has both a prediction and a label."""

    case: str
    prediction: Path
    label: Path


@dataclass(frozen=True)
class Pairing:
    """What was found on both sides.

    Attributes:
        pairs: sorted by case name.
        missing: cases with a label that should have been predicted but were not.
        unlabelled: predictions that no label belongs to.
        label_names: label value to name where the data set tells them, else None.
        notes: sentences a user should read.
    """

    pairs: tuple[Pair, ...]
    missing: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    label_names: dict[int, str] | None = None
    notes: tuple[str, ...] = ()


def pair_files(predictions: Path, labels: Path) -> Pairing:
    """Match predictions with labels.

    Args:
        predictions: folder of label maps, or one file.
        labels: folder of label maps, data set folder (its test cases, if it names any, else its labelled
            cases), or one file. Two single files belong together whatever their names.

    Raises:
        BadDataError: something is not there, two files have the same case name, or nothing matches.
    """
    for path, what in ((predictions, "predictions"), (labels, "labels")):
        if not path.exists():
            raise BadDataError(f"the {what} do not exist", hint="Check the path.", path=path)
    if predictions.is_file() and labels.is_file():
        return Pairing((Pair(stem_of(predictions), predictions, labels),))
    found = files_by_case(predictions)
    if not found:
        raise BadDataError(
            "there are no predictions here",
            hint="Give the folder that topomae segment wrote to.",
            path=predictions,
        )
    if is_dataset(labels):
        dataset = open_dataset(labels)
        known = {case.name: case.label for case in dataset.labelled}
        wanted, notes = _cases_to_judge(dataset, known, found)
        names = dict(dataset.labels) or None
    else:
        known = wanted = files_by_case(labels)
        names, notes = _names_beside(labels), ()
    common = sorted(found.keys() & wanted.keys())
    if not common:
        raise BadDataError(
            f"no prediction has the name of a label: predictions are called {some(found)}, "
            f"labels {some(wanted) or 'nothing, there are none'}",
            hint="A prediction's file name without suffix must be its case name.",
            path=predictions,
        )
    missing = () if predictions.is_file() else tuple(sorted(wanted.keys() - found.keys()))
    return Pairing(
        pairs=tuple(Pair(case, found[case], wanted[case]) for case in common),
        missing=missing,
        unlabelled=tuple(sorted(found.keys() - known.keys())),
        label_names=names,
        notes=notes,
    )


def files_by_case(path: Path) -> dict[str, Path]:
    """Case name to image file, for the files directly in a folder, or for one file.

    Raises:
        BadDataError: two files have the same case name.
    """
    if path.is_file():
        return {stem_of(path): path}
    files: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if file.name.startswith(".") or not file.is_file() or not is_image_file(file):
            continue
        case = stem_of(file)
        if case in files:
            raise BadDataError(
                f"two files have this case name: {files[case].name} and {file.name}",
                hint="Keep one of them.",
                case=case,
                path=path,
            )
        files[case] = file
    return files


def image_of_case(images: Path, case: str) -> Path | None:
    """The (first) image of a case in a data set folder or folder of images; None if it is not found."""
    try:
        if is_dataset(images):
            return next((c.files[0] for c in open_dataset(images).cases if c.name == case and c.files), None)
        files = files_by_case(images) if images.exists() else {}
    except TopoMAEError:
        return None
    if images.is_file():
        return images
    return files.get(case) or files.get(f"{case}_0000")  # nnU-Net's name for the first channel


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a data set (as against a folder of label maps)."""
    return folder.is_dir() and any(all((folder / p).exists() for p in parts) for parts in _DATASET_PARTS)


def _cases_to_judge(
    dataset: Dataset, labelled: dict[str, Path], found: dict[str, Path]
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The labels of the test cases, if the data set names any and they were predicted; and notes."""
    test = dataset.fixed_split.test if dataset.fixed_split else ()
    in_test = {name: labelled[name] for name in test if name in labelled}
    if not in_test:
        return labelled, (_NO_TEST_CASES,)
    others = {name: path for name, path in labelled.items() if name in found and name not in in_test}
    if others and not found.keys() & in_test.keys():
        return others, ("these are not the data set's test cases",)
    note = f"predictions of cases that are not test cases were not judged: {len(others)} ({some(others)})"
    return in_test, (note,) if others else ()


def _names_beside(labels: Path) -> dict[int, str] | None:
    """Label names when the folder or file of labels lies inside a data set that tells them."""
    for folder in labels.absolute().parents[: 2 if labels.is_file() else 1]:
        if (folder / "dataset.json").is_file():
            try:
                return dict(open_dataset(folder).labels) or None
            except TopoMAEError:
                return None
    return None


def some(names: Iterable[str | int], most: int = 5) -> str:
    """The first few names, or numbers, for a message."""
    names = sorted(names)
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
