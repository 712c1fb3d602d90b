"""The table of an evaluation (one row per case and label) and what its rows add up to."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from topomae.evaluation.metrics import BOTH_EMPTY, LABEL_EMPTY, PREDICTION_EMPTY, MaskScores
from topomae.harmless import spreadsheet_cell, text_of_cell

# What is summarised, in the order in which tables show it.
METRICS = (
    "dice",
    "surface_dice",
    "hd95_mm",
    "asd_mm",
    "volume_difference_ml",
    "volume_difference_percent",
    "b0_error",
    "b1_error",
    "b2_error",
    "betti_exact",
)


@dataclass(frozen=True)
class Row:
    """One label of one case. What is not defined is nan and `reason` says why (see `MaskScores`).

    Lengths are in mm, volumes in ml; b0, b1 and b2 count components, tunnels and cavities; `betti_exact`
    is 1 where all three agree.
    """

    case: str
    label: int
    name: str
    reason: str
    dice: float
    surface_dice: float
    hd95_mm: float
    asd_mm: float
    volume_label_ml: float
    volume_prediction_ml: float
    volume_difference_ml: float
    volume_difference_percent: float
    b0_label: int
    b1_label: int
    b2_label: int
    b0_prediction: int
    b1_prediction: int
    b2_prediction: int
    b0_error: float
    b1_error: float
    b2_error: float
    betti_exact: float

    @classmethod
    def of(cls, case: str, label: int, name: str, scores: MaskScores) -> Row:
        """The row for the scores of one structure."""
        betti = {}
        for i in range(3):
            betti[f"b{i}_label"] = scores.betti_label[i]
            betti[f"b{i}_prediction"] = scores.betti_prediction[i]
            betti[f"b{i}_error"] = scores.betti_error[i]
        direct = {f.name: getattr(scores, f.name) for f in fields(cls) if hasattr(scores, f.name)}
        return cls(case=case, label=label, name=name, **direct, **betti)


class Statistic(BaseModel):
    """A metric over the cases where it is defined.

    Attributes:
        mean: arithmetic mean; None where no case defines it.
        sd: sample standard deviation (divided by n - 1); None for fewer than two cases.
        median: None where no case defines it.
        cases: how many cases were counted.
        undefined: how many were left out because it is not defined there.
        reason: why a number above is None.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    mean: float | None
    sd: float | None
    median: float | None
    cases: int
    undefined: int
    reason: str = ""

    @classmethod
    def of(cls, values: Iterable[float]) -> Statistic:
        """Statistics of numbers of which some may be nan."""
        values = [float(value) for value in values]
        defined = [value for value in values if not math.isnan(value)]
        reason = {0: "defined in no case", 1: "one case has no standard deviation"}.get(len(defined), "")
        return cls(
            mean=float(np.mean(defined)) if defined else None,
            sd=float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            median=float(np.median(defined)) if defined else None,
            cases=len(defined),
            undefined=len(values) - len(defined),
            reason=reason,
        )


class LabelSummary(BaseModel):
    """Statistics of one label.

    Attributes:
        name: of the label.
        missed: cases where only the label has it (Dice 0, no distances).
        made_up: cases where only the prediction has it (Dice 0, no distances).
        absent: cases where neither has it (nothing is defined).
        metrics: by metric.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    missed: int
    made_up: int
    absent: int
    metrics: dict[str, Statistic]


class Summary(BaseModel):
    """Content of summary.json.

    Attributes:
        cases: number of cases that have a prediction and a label.
        overall: of each case's mean over its labels (where defined), the statistics over cases.
        per_label: by label value.
        surface_tolerance_mm: by label value.
        missing_predictions: cases with a label but no prediction; they are in no mean.
        predictions_without_label: predictions that were not judged.
        unnamed_in_predictions: case to label values of its prediction that have no name; not judged.
        unnamed_in_labels: the same for labels.
        notes: what else a reader should know.
        sources: what was compared, so that a report can find the pictures.
    """

    model_config = ConfigDict(frozen=True)

    version: int = 1
    cases: int
    overall: dict[str, Statistic]
    per_label: dict[int, LabelSummary]
    surface_tolerance_mm: dict[int, float]
    missing_predictions: tuple[str, ...] = ()
    predictions_without_label: tuple[str, ...] = ()
    unnamed_in_predictions: dict[str, tuple[int, ...]] = {}
    unnamed_in_labels: dict[str, tuple[int, ...]] = {}
    notes: tuple[str, ...] = ()
    sources: dict[str, str] = {}


def overall_statistics(rows: Sequence[Row]) -> dict[str, Statistic]:
    """By metric: each case's mean over its labels, then statistics over cases."""
    cases = list(dict.fromkeys(row.case for row in rows))
    by_case = {case: [row for row in rows if row.case == case] for case in cases}
    return {
        metric: Statistic.of(mean_of(getattr(row, metric) for row in group) for group in by_case.values())
        for metric in METRICS
    }


def label_statistics(rows: Sequence[Row], names: Mapping[int, str]) -> dict[int, LabelSummary]:
    """By label value: statistics over cases."""
    result = {}
    for value, name in names.items():
        own = [row for row in rows if row.label == value]
        reasons = [row.reason for row in own]
        result[value] = LabelSummary(
            name=name,
            missed=reasons.count(PREDICTION_EMPTY),
            made_up=reasons.count(LABEL_EMPTY),
            absent=reasons.count(BOTH_EMPTY),
            metrics={metric: Statistic.of(getattr(row, metric) for row in own) for metric in METRICS},
        )
    return result


def mean_of(values: Iterable[float]) -> float:
    """Mean of the numbers that are not nan; nan if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def rows_to_csv(rows: Iterable[Row]) -> str:
    """The table as CSV text with a header; floats with 6 decimals, undefined ones as `nan`, names never formulas."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f.name for f in fields(Row)])
    for row in rows:
        writer.writerow([_cell(value) for value in asdict(row).values()])
    return text.getvalue()


def _cell(value: float | str) -> object:
    if isinstance(value, str):  # a file name need not be valid Unicode
        return spreadsheet_cell(value.encode("utf-8", "replace").decode("utf-8"))
    return f"{value:.6f}" if isinstance(value, float) else value


def rows_from_csv(text: str) -> tuple[Row, ...]:
    """Read what `rows_to_csv` wrote.

    Raises:
        ValueError: a column is missing or a value is of the wrong type (pydantic's errors included).
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        return tuple(_CHECK.validate_python(record | _texts(record)) for record in reader)
    except csv.Error as error:
        raise ValueError(f"not a CSV table: {error}") from None


def _texts(record: Mapping[str, object]) -> dict[str, str]:
    return {name: text_of_cell(text) for name in _TEXTS if isinstance(text := record.get(name), str)}


_TEXTS = ("case", "name", "reason")
_CHECK: TypeAdapter[Row] = TypeAdapter(Row)
