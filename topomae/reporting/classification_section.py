"""The part of the report about an evaluation of classes: headline, classes, calibration, cases worst first."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from topomae.classification.records import CalibrationBin, ClassesSummary, ClassRow, Measured
from topomae.evaluation.classification import ClassEvaluation, left_out
from topomae.reporting.html import (
    SERIES_COLOURS,
    Markup,
    card,
    join,
    name_cell,
    notice,
    number,
    picture,
    row,
    table,
    tag,
)
from topomae.reporting.tables import CLASS_METRICS, interval


def classification_section(evaluation: ClassEvaluation) -> Markup:
    """Everything about an evaluation of classes."""
    summary = evaluation.summary
    return join([_headline(summary), _classes(summary), _calibration(summary), _cases(evaluation)])


def _headline(summary: ClassesSummary) -> Markup:
    cards = []
    for name, told in CLASS_METRICS.items():
        measured = summary.overall.get(name, Measured(value=None))
        cards.append(card(told, number(measured.value), f"95 % confidence: {interval(measured)}"))
    explained = (
        f"{summary.cases} cases of {summary.subjects} subjects. Confidence intervals from {summary.resamples} "
        "bootstrap resamples of the subjects. AUROC: of two classes that of the second, of more the mean. Brier "
        "score: half of the summed squared errors of the probabilities; 0 is perfect."
    )
    return join([tag("div", cards, class_="cards"), notice(left_out(summary)), tag("p", explained, class_="quiet")])


def _classes(summary: ClassesSummary) -> Markup:
    rows = [
        row(name_cell(name), one.cases, number(one.auroc), number(one.recall), number(one.f1))
        for name, one in summary.per_class.items()
    ]
    confusion = [
        row(name_cell(name), *counts) for name, counts in zip(summary.classes, summary.confusion, strict=True)
    ]
    predicted = [tag("th", f"predicted {name}", scope="col") for name in summary.classes]
    return join(
        [
            tag("h2", "Classes", id="classes"),
            table(["Class", "Cases", "AUROC against the rest", "Recall", "F1"], rows),
            table(["True class", *predicted], confusion),
        ]
    )


def _calibration(summary: ClassesSummary) -> Markup:
    filled = [one for one in summary.calibration if one.cases]
    told = "; ".join(
        f"{one.cases} cases with confidence {number(one.confidence, 2)}: {number(one.accuracy, 2)} right"
        for one in filled
    )
    caption = (
        "How often the most probable class is the true one, over how probable the model says it is. A well "
        "calibrated model lies on the dashed line; bars show the number of cases."
    )
    figure = picture(reliability_picture(summary.calibration), f"Reliability diagram: {told}", caption, kind="svg")
    return join([tag("h2", "Calibration", id="calibration"), tag("div", figure, class_="curves")])


def reliability_picture(bins: Sequence[CalibrationBin]) -> bytes:
    """Reliability diagram as SVG: accuracy over confidence, and below how many cases each bin holds."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [one for one in bins if one.cases]
    upper.plot([0, 1], [0, 1], linestyle="--", color="#5b6670", linewidth=1)
    points = [one.confidence for one in filled], [one.accuracy for one in filled]
    upper.plot(*points, marker="o", color=SERIES_COLOURS[0], linewidth=1.5)
    upper.set(ylim=(-0.03, 1.03), ylabel="part that is right")
    places = [(index + 0.5) / len(bins) for index in range(len(bins))]
    lower.bar(places, [one.cases for one in bins], width=0.9 / len(bins), color=SERIES_COLOURS[0])
    lower.set(xlim=(0, 1), xlabel="confidence", ylabel="cases")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3, linewidth=0.6)
    written = io.BytesIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def _cases(evaluation: ClassEvaluation) -> Markup:
    place = {name: index for index, name in enumerate(evaluation.summary.classes)}

    def of_true(one: ClassRow) -> float:
        return one.probabilities[place[one.true]]

    rows = [
        row(
            name_cell(one.case),
            name_cell(one.true),
            name_cell(one.predicted),
            number(of_true(one)),
            class_=None if one.true == one.predicted else "bad",
        )
        for one in sorted(evaluation.rows, key=lambda one: (of_true(one), one.case))
    ]
    header = ["Case", "True class", "Predicted", "Probability of the true class"]
    return join([tag("h2", "Cases, worst first", id="cases"), table(header, rows, tall=True)])
