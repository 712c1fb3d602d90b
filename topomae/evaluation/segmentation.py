"""Predictions against labels: reads and compares both, writes metrics.csv and summary.json."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from topomae.bounded_reading import read_text
from topomae.classification.table import is_class_table
from topomae.data.grids import describe_grid, onto_grid
from topomae.data.volume import Volume
from topomae.data.volume_io import read_labels
from topomae.errors import BadDataError, BadSettingError
from topomae.evaluation.metrics import MaskScores, compare_masks
from topomae.evaluation.pairing import Pair, is_dataset, pair_files, some
from topomae.evaluation.scores import Row, Summary, label_statistics, overall_statistics, rows_from_csv, rows_to_csv
from topomae.files import write_json_atomic, write_text_atomic

if TYPE_CHECKING:
    from topomae.evaluation.classification import ClassEvaluation
    from topomae.events import Events

TABLE = "metrics.csv"
SUMMARY = "summary.json"
TOLERANCE_MM = 1.0
MOST_LABELS = 1000  # a file with more different values than this is an image, not a label map

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        rows: by case name, then label; every case has a row for every label.
        summary: statistics, and what was left out.
        folder: where metrics.csv and summary.json lie.
    """

    rows: tuple[Row, ...]
    summary: Summary
    folder: Path | None = field(default=None, compare=False)

    @property
    def mean_dice(self) -> float:
        """Mean over cases of each case's mean Dice over its labels; nan if it is nowhere defined."""
        mean = self.summary.overall["dice"].mean
        return math.nan if mean is None else mean

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read what `evaluate` wrote.

        Raises:
            BadDataError: a file is missing or is not as `evaluate` writes it.
        """
        folder = Path(folder)
        try:
            summary = Summary.model_validate_json(read_text(folder / SUMMARY))
            rows = rows_from_csv(read_text(folder / TABLE))
        except (OSError, ValueError) as error:  # pydantic's ValidationError is a ValueError
            raise BadDataError(
                f"this is no complete evaluation ({type(error).__name__})",
                hint="Run topomae evaluate again.",
                path=folder,
            ) from None
        return cls(rows, summary, folder)


def evaluate(
    predictions: str | Path,
    labels: str | Path,
    output: str | Path,
    *,
    label_names: Mapping[int, str] | None = None,
    images: str | Path | None = None,
    surface_tolerance_mm: float | Mapping[int, float] = TOLERANCE_MM,
    bootstrap: int = 1000,
    events: Events | None = None,
) -> Evaluation | ClassEvaluation:
    """Compare predicted label maps with labels; write metrics.csv and summary.json.

    A table of classes, which `topomae.classify` writes, is compared with the classes of a data set or of a table;
    see `topomae.evaluation.classification`.

    Args:
        predictions: folder of label maps whose file names without suffix are the case names, or one file.
        labels: folder of label maps, data set folder (its test cases if it names any, else all labelled
            ones), or one file.
        output: folder for the two files.
        label_names: label value to name, without background (0). Default: what the data set says, else
            the values found in the labels.
        images: folder of the images, noted for the report's pictures. Default: the data set's own.
        surface_tolerance_mm: of surface Dice; one number, or by label value (others: 1 mm).
        bootstrap: resamples of the confidence intervals of classes.
        events: receives progress and warnings.

    Returns:
        All rows and the summary.

    Raises:
        BadDataError: a file cannot be read, a prediction and its label differ in geometry, or no
            prediction belongs to a label.
        BadSettingError: a tolerance is not a length or is for a label there is not.
    """
    if is_class_table(predictions):
        from topomae.evaluation.classification import evaluate_classes

        return evaluate_classes(predictions, labels, output, bootstrap=bootstrap, events=events)
    predictions, labels, output = Path(predictions), Path(labels), Path(output)
    pairing = pair_files(predictions, labels)
    names = dict(label_names) if label_names else pairing.label_names
    names = names and {int(value): str(name) for value, name in sorted(names.items()) if int(value) != 0}
    _check_tolerance(surface_tolerance_mm, names)

    found: list[_Compared] = []
    for pair in _tracked(pairing.pairs, events):
        found.append(_compare_pair(pair, names, surface_tolerance_mm))
    if names is None:
        in_labels = sorted(set().union(*(one.label_values for one in found)))
        names = {value: f"label {value}" for value in in_labels}
        _check_tolerance(surface_tolerance_mm, names)

    rows = tuple(
        Row.of(one.case, value, name, one.scores.get(value) or _ABSENT)
        for one in found
        for value, name in names.items()
    )
    summary = Summary(
        cases=len(found),
        overall=overall_statistics(rows),
        per_label=label_statistics(rows, names),
        surface_tolerance_mm={value: _tolerance(surface_tolerance_mm, value) for value in names},
        missing_predictions=pairing.missing,
        predictions_without_label=pairing.unlabelled,
        unnamed_in_predictions=_unnamed(found, names, "prediction_values"),
        unnamed_in_labels=_unnamed(found, names, "label_values"),
        notes=(*pairing.notes, *(note for one in found for note in one.notes)),
        sources=_sources(predictions, labels, images),
    )
    write_text_atomic(output / TABLE, rows_to_csv(rows))
    write_json_atomic(output / SUMMARY, summary.model_dump(mode="json"))
    for sentence in left_out(summary):
        if events is not None:
            events.warning(sentence)
    return Evaluation(rows, summary, output)


def left_out(summary: Summary) -> list[str]:
    """Sentences about what the numbers do not cover: for the terminal and the report."""
    sentences = [note[:1].upper() + note[1:] for note in summary.notes]
    if missing := summary.missing_predictions:
        of = f"{len(missing)} of {len(missing) + summary.cases} labelled cases ({some(missing)})"
        sentences.append(f"Without a prediction, and so in no mean: {of}")
    if extra := summary.predictions_without_label:
        sentences.append(f"Predictions without a label to judge them by: {len(extra)} ({some(extra)})")
    for where, cases in (
        ("predictions", summary.unnamed_in_predictions),
        ("labels", summary.unnamed_in_labels),
    ):
        if cases:
            values = some(set().union(*cases.values()), most=10)
            sentences.append(f"Label values without a name, not judged: {values} in the {where} of {some(cases)}")
    return sentences


@dataclass(frozen=True)
class _Compared:
    """What one case gave."""

    case: str
    scores: dict[int, MaskScores]
    prediction_values: frozenset[int]
    label_values: frozenset[int]
    notes: tuple[str, ...]


def _compare_pair(pair: Pair, names: Mapping[int, str] | None, tolerance: float | Mapping[int, float]) -> _Compared:
    prediction, label = _read_on_one_grid(pair)
    spacing = label.spacing
    p, y = prediction.array[0], label.array[0]
    boxes_p, boxes_y = _boxes(p, pair.case, pair.prediction), _boxes(y, pair.case, pair.label)
    scores = {}
    for value in boxes_p.keys() | boxes_y.keys():
        if names is not None and value not in names:
            continue
        box = _around([boxes[value] for boxes in (boxes_p, boxes_y) if value in boxes])
        scores[value] = compare_masks(
            p[box] == value, y[box] == value, spacing, tolerance_mm=_tolerance(tolerance, value)
        )
    notes = () if _right_angled(label.affine) else (f"case {pair.case}: {_OBLIQUE}",)
    return _Compared(pair.case, scores, frozenset(boxes_p), frozenset(boxes_y), notes)


_OBLIQUE = "the voxel axes are not at right angles, so distances and volumes are approximate"
_ABSENT = compare_masks(np.zeros((1, 1, 1), bool), np.zeros((1, 1, 1), bool))


def _read_on_one_grid(pair: Pair) -> tuple[Volume, Volume]:
    """Prediction and label in the label's voxel order; BadDataError if they are on different grids."""
    prediction = read_labels(pair.prediction, case=pair.case)
    label = read_labels(pair.label, case=pair.case)
    placed = onto_grid(prediction, label)
    if placed is None:
        raise BadDataError(
            f"prediction and label {pair.label.name} do not have the same geometry: the prediction has "
            f"{describe_grid(prediction)}, the label {describe_grid(label)}",
            hint="Predict on the image that the label was drawn on, or resample one onto the other.",
            case=pair.case,
            path=pair.prediction,
        )
    return placed, label


def _right_angled(affine: np.ndarray) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < 1e-2)


def _boxes(labels: np.ndarray, case: str, path: Path) -> dict[int, Box]:
    """Each value except 0 that occurs in an (I, J, K) label map, with its bounding box."""
    if labels.size == 0:
        return {}
    found = {n: box for n, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None}
    if len(found) > MOST_LABELS:
        raise BadDataError(
            f"this has {len(found)} different values, so it seems to be an image and not a label map",
            hint="Give the folder of label maps.",
            case=case,
            path=path,
        )
    return found


def _around(boxes: list[Box]) -> Box:
    """The smallest box that holds all of them."""
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _check_tolerance(tolerance: float | Mapping[int, float], names: Mapping[int, str] | None) -> None:
    by_label = tolerance if isinstance(tolerance, Mapping) else {None: tolerance}
    for label, value in by_label.items():
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
            raise BadSettingError(
                f"the surface tolerance {value!r} is not a length in mm", hint="Give a number such as 1.0."
            )
        if label is not None and names is not None and label not in names:
            raise BadSettingError(
                f"there is a surface tolerance for label {label}, which does not exist",
                hint=f"Labels are {', '.join(map(str, names))}.",
            )


def _tolerance(tolerance: float | Mapping[int, float], label: int) -> float:
    return float(tolerance.get(label, TOLERANCE_MM) if isinstance(tolerance, Mapping) else tolerance)


def _unnamed(found: Iterable[_Compared], names: Mapping[int, str], what: str) -> dict[str, tuple[int, ...]]:
    unnamed = {one.case: tuple(sorted(getattr(one, what) - names.keys())) for one in found}
    return {case: values for case, values in unnamed.items() if values}


def _sources(predictions: Path, labels: Path, images: str | Path | None) -> dict[str, str]:
    if images is None and is_dataset(labels):
        images = labels
    sources = {"predictions": predictions, "labels": labels, "images": images}
    return {name: str(Path(path).absolute()) for name, path in sources.items() if path is not None}


def _tracked(pairs: tuple[Pair, ...], events: Events | None) -> Iterable[Pair]:
    return pairs if events is None else events.track(pairs, "evaluate")
