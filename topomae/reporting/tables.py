"""Results of evaluations as tables on the terminal."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.table import Table
from rich.text import Text

from topomae.classification.records import Measured
from topomae.console import LastingConsole
from topomae.evaluation.classification import ClassEvaluation
from topomae.evaluation.segmentation import Evaluation
from topomae.harmless import printable

CLASS_METRICS = {
    "auroc": "AUROC",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1 (mean over classes)",
    "accuracy": "Accuracy",
    "calibration_error": "Expected calibration error",
    "brier_score": "Brier score",
}

SEGMENTATION_METRICS = {
    "dice": "Dice",
    "surface_dice": "surface Dice",
    "hd95_mm": "HD95 (mm)",
    "asd_mm": "ASD (mm)",
    "b0_error": "b0 error",
    "b1_error": "b1 error",
    "b2_error": "b2 error",
}


def print_evaluation(evaluation: Evaluation, stream: TextIO | None = None) -> None:
    """Print the mean of each metric, per label and over all (stdout by default)."""
    summary = evaluation.summary
    table = Table(title=f"{summary.cases} cases", title_justify="left")
    table.add_column("label")
    for heading in SEGMENTATION_METRICS.values():
        table.add_column(heading, justify="right")
    rows = [(f"{value} {label.name}", label.metrics) for value, label in summary.per_label.items()]
    for name, metrics in [*rows, ("mean over cases", summary.overall)]:
        means = [metrics[metric].mean if metric in metrics else None for metric in SEGMENTATION_METRICS]
        table.add_row(Text(printable(name)), *("–" if mean is None else f"{mean:.3f}" for mean in means))
    stream = stream or sys.stdout
    LastingConsole(file=stream, width=None if stream.isatty() else 120).print(table)


def print_classes(evaluation: ClassEvaluation, stream: TextIO | None = None) -> None:
    """Print every metric with its confidence interval, and the classes (stdout by default)."""
    summary = evaluation.summary
    stream = stream or sys.stdout
    console = LastingConsole(file=stream, width=None if stream.isatty() else 100)
    overall = Table(title=f"{summary.cases} cases of {summary.subjects} subjects", title_justify="left")
    for heading in ("metric", "value", "95 % confidence"):
        overall.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, told in CLASS_METRICS.items():
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
