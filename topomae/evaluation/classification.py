"""Predicted classes against true ones: writes metrics.csv, a row per case, and summary.json."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topomae.bounded_reading import read_text
from topomae.classification.labels import VolumeClasses, classes_of_table, volume_classes
from topomae.classification.records import (
    CalibrationBin,
    ClassesSummary,
    ClassRow,
    ClassSummary,
    Measured,
    rows_from_csv,
    rows_to_csv,
)
from topomae.classification.scores import (
    METRICS,
    auroc_per_class,
    confidence_intervals,
    f1_per_class,
    recall_per_class,
    reliability,
)
from topomae.classification.table import Predictions, select
from topomae.data.dataset import open_dataset
from topomae.errors import BadDataError
from topomae.evaluation.pairing import some
from topomae.files import write_json_atomic, write_text_atomic

if TYPE_CHECKING:
    from topomae.events import Events

TABLE, SUMMARY = "metrics.csv", "summary.json"


@dataclass(frozen=True)
class ClassEvaluation:
    """The result of `evaluate_classes`.

    Attributes:
        rows: by case name.
        summary: numbers, and what was left out.
        folder: where metrics.csv and summary.json lie.
    """

    rows: tuple[ClassRow, ...]
    summary: ClassesSummary
    folder: Path | None = field(default=None, compare=False)

    @classmethod
    def load(cls, folder: str | Path) -> ClassEvaluation:
        """Read what `evaluate_classes` wrote.

        Raises:
            BadDataError: a file is missing or is not as `evaluate_classes` writes it.
        """
        folder = Path(folder)
        try:
            summary = ClassesSummary.model_validate_json(read_text(folder / SUMMARY))
            rows = rows_from_csv(read_text(folder / TABLE))
        except (OSError, ValueError, csv.Error) as error:
            raise BadDataError(
                f"this is no complete evaluation ({type(error).__name__})",
                hint="Run topomae evaluate again.",
                path=folder,
            ) from None
        return cls(rows, summary, folder)


def evaluate_classes(
    predictions: str | Path,
    labels: str | Path,
    output: str | Path,
    *,
    bootstrap: int = 1000,
    events: Events | None = None,
) -> ClassEvaluation:
    """Compare predicted with true classes; write metrics.csv and summary.json.

    Args:
        predictions: table that `classify` wrote, or the folder that it is in.
        labels: data set folder with classes in its dataset.json (its test cases if it names any that were
            predicted, else all), or a CSV file with the columns case and class.
        output: folder for the two files.
        bootstrap: resamples of the confidence intervals.
        events: receives warnings.
    Returns:
        All rows and the summary.
    Raises:
        BadDataError: a table cannot be read, other classes than the predicted ones, or no case in both.
    """
    predictions, labels, output = Path(predictions), Path(labels), Path(output)
    found = Predictions.load(predictions)
    known, subject_of, test = _truth(labels)
    cases, missing, notes = _cases_to_judge(known, test, found, labels)
    truth = _indices(known, cases, found, labels)
    probabilities = select(found, cases)
    subjects = [subject_of[case] for case in cases]
    rows = tuple(
        ClassRow(case, subject, found.classes[t], found.classes[int(p.argmax())], tuple(map(float, p)))
        for case, subject, t, p in zip(cases, subjects, truth, probabilities, strict=True)
    )
    summary = _summary(
        found.classes,
        probabilities,
        truth,
        subjects,
        bootstrap,
        missing_predictions=missing,
        predictions_without_class=tuple(sorted(set(found.cases) - known.of_case.keys())),
        notes=notes,
        sources={"predictions": str(predictions.absolute()), "labels": str(labels.absolute())},
    )
    write_text_atomic(output / TABLE, rows_to_csv(rows, found.classes))
    write_json_atomic(output / SUMMARY, summary.model_dump(mode="json"))
    for sentence in left_out(summary):
        if events is not None:
            events.warning(sentence)
    return ClassEvaluation(rows, summary, output)


def left_out(summary: ClassesSummary) -> list[str]:
    """Sentences about what the numbers do not cover: for the terminal and the report."""
    sentences = [note[:1].upper() + note[1:] for note in summary.notes]
    if missing := summary.missing_predictions:
        of = f"{len(missing)} of {len(missing) + summary.cases} cases with a class ({some(missing)})"
        sentences.append(f"Without a prediction, and so in no number: {of}")
    if extra := summary.predictions_without_class:
        sentences.append(f"Predictions without a class to judge them by: {len(extra)} ({some(extra)})")
    absent = [name for name, one in summary.per_class.items() if not one.cases]
    if absent:
        sentences.append(f"No case has the class {', '.join(absent)}: what needs it is not defined")
    return sentences


def is_class_evaluation(folder: str | Path) -> bool:
    """Whether a folder holds an evaluation of classes (as against one of label maps)."""
    try:
        head = read_text(Path(folder) / SUMMARY)[:200]
    except OSError:
        return False
    return '"task": "classification"' in head


def _truth(labels: Path) -> tuple[VolumeClasses, dict[str, str], tuple[str, ...]]:
    """Classes, the subject of each case, and the test cases where the data set names any."""
    if labels.is_dir():
        dataset = open_dataset(labels)
        subject_of = {case.name: case.subject or case.name for case in dataset.cases}
        return volume_classes(dataset), subject_of, dataset.fixed_split.test if dataset.fixed_split else ()
    known = classes_of_table(labels)
    return known, {case: case for case in known.of_case}, ()


def _cases_to_judge(
    known: VolumeClasses, test: tuple[str, ...], found: Predictions, labels: Path
) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    """The test cases, if the data set names any and they were predicted, else all; those without prediction; notes."""
    both = sorted(set(found.cases) & known.of_case.keys())
    if not both:
        raise BadDataError(
            f"no predicted case has a class: predictions are of {some(found.cases)}, classes of "
            f"{some(known.of_case) or 'nothing'}",
            hint="The cases must have the same names in both.",
            path=labels,
        )
    wanted = set(test) & known.of_case.keys()
    if not wanted:
        return both, tuple(sorted(known.of_case.keys() - set(both))), ()
    judged = [case for case in both if case in wanted]
    if not judged:
        return both, (), ("these are not the data set's test cases",)
    others = [case for case in both if case not in wanted]
    note = f"predictions of cases that are not test cases were not judged: {len(others)} ({some(others)})"
    return judged, tuple(sorted(wanted - set(judged))), (note,) if others else ()


def _indices(known: VolumeClasses, cases: list[str], found: Predictions, labels: Path) -> np.ndarray:
    """(n,) index of each case's true class among the predicted ones."""
    place = {name: index for index, name in enumerate(found.classes)}
    names = [known.names[known.of_case[case]] for case in cases]
    unknown = sorted(set(names) - place.keys())
    if unknown:
        raise BadDataError(
            f"the model was trained on the classes {', '.join(found.classes)}, but there are cases of "
            f"{', '.join(unknown)}",
            hint="Write the classes' names as the model knows them.",
            path=labels,
        )
    return np.array([place[name] for name in names])


def _summary(
    classes: tuple[str, ...],
    probabilities: np.ndarray,
    truth: np.ndarray,
    subjects: list[str],
    resamples: int,
    **rest: object,
) -> ClassesSummary:
    limits = confidence_intervals(probabilities, truth, subjects, resamples=resamples)
    predicted = probabilities.argmax(1)
    count = len(classes)
    columns = (
        auroc_per_class(probabilities, truth),
        recall_per_class(predicted, truth, count),
        f1_per_class(predicted, truth, count),
    )
    confusion = np.zeros((count, count), int)
    np.add.at(confusion, (truth, predicted), 1)
    return ClassesSummary(
        cases=len(truth),
        subjects=len(set(subjects)),
        classes=classes,
        overall={
            name: Measured(
                value=_defined(metric(probabilities, truth)),
                low=_defined(limits[name][0]),
                high=_defined(limits[name][1]),
            )
            for name, metric in METRICS.items()
        },
        per_class={
            name: ClassSummary(cases=int((truth == index).sum()), auroc=area, recall=recall, f1=harmonic)
            for index, name in enumerate(classes)
            for area, recall, harmonic in [[_defined(column[index]) for column in columns]]
        },
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        calibration=tuple(
            CalibrationBin(cases=one.cases, confidence=_defined(one.confidence), accuracy=_defined(one.accuracy))
            for one in reliability(probabilities, truth)
        ),
        resamples=resamples,
        **rest,
    )


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
