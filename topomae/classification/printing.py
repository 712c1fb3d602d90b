"""The result of an evaluation of classes as a table on the terminal."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from topomae.classification.evaluation import ClassEvaluation
from topomae.classification.records import Measured
from topomae.harmless import printable

METRIC_NAMES = {
    "auroc": "AUROC",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1 (mean over classes)",
    "accuracy": "Accuracy",
    "calibration_error": "Expected calibration error",
    "brier_score": "Brier score",
}


def print_classes(evaluation: ClassEvaluation, stream: TextIO | None = None) -> None:
    """Print every metric with its confidence interval, and the classes (stdout by default)."""
    summary = evaluation.summary
    stream = stream or sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else 100)
    overall = Table(title=f"{summary.cases} cases of {summary.subjects} subjects", title_justify="left")
    for heading in ("metric", "value", "95 % confidence"):
        overall.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, told in METRIC_NAMES.items():
        measured = summary.overall.get(name, Measured(value=None))
        overall.add_row(told, shown(measured.value), interval(measured))
    console.print(overall)
    classes = Table()
    for heading in ("class", "cases", "AUROC", "recall", "F1"):
        classes.add_column(heading, justify="left" if heading == "class" else "right")
    for name, one in summary.per_class.items():
        numbers = (shown(value) for value in (one.auroc, one.recall, one.f1))
        classes.add_row(Text(printable(name)), str(one.cases), *numbers)
    console.print(classes)


def shown(value: float | None) -> str:
    """A number for reading; a dash where it is not defined."""
    return "–" if value is None else f"{value:.3f}"


def interval(measured: Measured) -> str:
    """Limits of a confidence interval for reading."""
    return "–" if measured.low is None else f"{shown(measured.low)} to {shown(measured.high)}"
