"""What an evaluation of classes consists of: a row per case, and what the rows add up to."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from topomae.harmless import spreadsheet_cell, text_of_cell

_FIXED = ["case", "subject", "class", "predicted"]


class Measured(BaseModel):
    """A number and its 95 % confidence interval; None where it is not defined."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    value: float | None
    low: float | None = None
    high: float | None = None


class ClassSummary(BaseModel):
    """What is known of one class.

    Attributes:
        cases: how many have it.
        auroc: against the rest. recall: part of them found. f1: harmonic mean of precision and recall.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    cases: int
    auroc: float | None
    recall: float | None
    f1: float | None


class CalibrationBin(BaseModel):
    """Cases whose highest probability lies in one tenth of 0 to 1; see `scores.Bin`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    cases: int
    confidence: float | None
    accuracy: float | None


class ClassesSummary(BaseModel):
    """Content of summary.json.

    Attributes:
        cases: number of cases that have a prediction and a class.
        subjects: number of people they are of.
        classes: names, in the order of `confusion`.
        overall: by metric, see `scores.METRICS`.
        per_class: by name.
        confusion: row per true class, column per predicted class: cases.
        calibration: from least to most confident.
        resamples: of the bootstrap.
        missing_predictions: cases with a class but no prediction; they are in no number.
        predictions_without_class: predictions that were not judged.
        notes: what else a reader should know.
        sources: what was compared.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    task: Literal["classification"] = "classification"
    cases: int
    subjects: int
    classes: tuple[str, ...]
    overall: dict[str, Measured]
    per_class: dict[str, ClassSummary]
    confusion: tuple[tuple[int, ...], ...]
    calibration: tuple[CalibrationBin, ...]
    resamples: int
    missing_predictions: tuple[str, ...] = ()
    predictions_without_class: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: dict[str, str] = {}


@dataclass(frozen=True)
class ClassRow:
    """One case: its true and its predicted class, and the probability of every class."""

    case: str
    subject: str
    true: str
    predicted: str
    probabilities: tuple[float, ...]


def rows_to_csv(rows: tuple[ClassRow, ...], classes: tuple[str, ...]) -> str:
    """The table as CSV text with a header; probabilities with 6 decimals."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FIXED, *(f"probability {name}" for name in classes)])
    for row in rows:
        values = (f"{value:.6f}" for value in row.probabilities)
        texts = map(spreadsheet_cell, (row.case, row.subject, row.true, row.predicted))
        writer.writerow([*texts, *values])
    return text.getvalue()


def rows_from_csv(text: str) -> tuple[ClassRow, ...]:
    """Rows; ValueError or csv.Error if they are not what `rows_to_csv` writes."""
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    if not rows or rows[0][:4] != _FIXED or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("other columns")
    return tuple(ClassRow(*map(text_of_cell, row[:4]), tuple(float(value) for value in row[4:])) for row in rows[1:])
