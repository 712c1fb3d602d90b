"""The part of the report about an evaluation: headline, labels, cases worst first, pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from topomae.bounded_reading import is_elsewhere
from topomae.errors import TopoMAEError
from topomae.evaluation.metrics import BOTH_EMPTY
from topomae.evaluation.pairing import Pair, image_of_case, pair_files
from topomae.evaluation.scores import LabelSummary, Row, Statistic, mean_of
from topomae.evaluation.segmentation import Evaluation, left_out
from topomae.reporting.html import (
    LABEL_COLOUR,
    PREDICTION_COLOUR,
    Markup,
    card,
    join,
    name_cell,
    notice,
    number,
    row,
    table,
    tag,
)
from topomae.reporting.slices import case_pictures, read_scene

_MOST_LABEL_COLUMNS = 6
_TOPOLOGY = "b0 / b1 / b2 errors"


def headline(evaluation: Evaluation) -> Markup:
    """Cards with the numbers that matter, and a box with what they do not cover."""
    overall, labels = evaluation.summary.overall, evaluation.summary.per_label.values()
    missed, made_up = sum(s.missed for s in labels), sum(s.made_up for s in labels)
    cards = [
        _card("Mean Dice", overall["dice"], 3),
        _card(f"Surface Dice ({_tolerances(evaluation)})", overall["surface_dice"], 3),
        _card("95 % Hausdorff distance", overall["hd95_mm"], 2, "mm"),
        _card("Average surface distance", overall["asd_mm"], 2, "mm"),
        card("Topology exactly right", _percent(overall["betti_exact"].mean), "of structures: b0, b1 and b2"),
        card("Structures missed", str(missed), f"and {made_up} predicted where the label has none"),
    ]
    return join([tag("div", cards, class_="cards"), notice(left_out(evaluation.summary))])


def label_table(evaluation: Evaluation) -> Markup:
    """One row per label, with every case's Dice as a dot."""
    header = ["Label", "Cases", "Dice", "Dice of each case, 0 to 1", "Surface Dice", "HD95 (mm)", "ASD (mm)",
              "Volume (%)", _TOPOLOGY, "Missed", "Made up"]  # fmt: skip
    rows = [_label_row(evaluation, value, summary) for value, summary in evaluation.summary.per_label.items()]
    explained = (
        "Mean ± standard deviation over the cases where the number is defined (in brackets: how many, if not "
        "all). Surface distances are not defined where label or prediction is empty; Dice is 0 where one of "
        "them is, and left out where both are. Volume: prediction minus label. b0, b1, b2: mean error in the "
        "number of components, tunnels and cavities."
    )
    return join([tag("h2", "Labels", id="labels"), table(header, rows), tag("p", explained, class_="quiet")])


def case_table(evaluation: Evaluation) -> Markup:
    """One row per case, worst first."""
    labels = evaluation.summary.per_label
    by_label = len(labels) <= _MOST_LABEL_COLUMNS
    dice_columns = [f"Dice {s.name}" for s in labels.values()] if by_label else ["Worst label"]
    numbers = ["Surface Dice", "HD95 (mm)", "ASD (mm)", _TOPOLOGY]
    header = ["Case", "Mean Dice", *dice_columns, *numbers, tag("th", "Remarks", class_="text", scope="col")]
    rows = []
    for case, own in cases_worst_first(evaluation):
        dice = [number(r.dice) for r in own] if by_label else [_worst_label(own)]
        means = [number(mean_of(getattr(r, m) for r in own), d) for m, d in
                 (("surface_dice", 3), ("hd95_mm", 2), ("asd_mm", 2))]  # fmt: skip
        topology = [number(sum(v for r in own if not math.isnan(v := getattr(r, f"b{i}_error"))), 0) for i in range(3)]
        remarks = "; ".join(f"{r.name}: {r.reason}" for r in own if r.reason not in ("", BOTH_EMPTY))
        rows.append(
            row(
                name_cell(case),
                number(mean_of(r.dice for r in own)),
                *dice,
                *means,
                " / ".join(topology),
                tag("td", remarks, class_="long"),
                class_="bad" if remarks else None,
            )
        )
    more = "Topology errors are summed over labels. Every number: metrics.csv."
    return join(
        [
            tag("h2", "Cases, worst first", id="cases"),
            table(header, rows, tall=True),
            tag("p", more, class_="quiet"),
        ]
    )


def picture_section(
    evaluation: Evaluation,
    predictions: Path | None,
    labels: Path | None,
    images: Path | None,
    count: int,
) -> Markup:
    """Slices with contours: the `count` worst cases, then the middle one and the best for comparison."""
    sources = evaluation.summary.sources
    predictions, labels, images = (
        given or _source(sources.get(name, ""), evaluation.folder)
        for given, name in ((predictions, "predictions"), (labels, "labels"), (images, "images"))
    )
    if predictions is None or labels is None or count < 1:
        return Markup("")
    heading = tag("h2", "Pictures, worst first", id="pictures")
    try:
        pairs = {pair.case: pair for pair in pair_files(predictions, labels).pairs}
    except TopoMAEError as error:
        return join([heading, notice([f"No pictures: {error}"])])
    values = tuple(evaluation.summary.per_label)
    parts = [
        _one_case(place, pairs.get(case), case, own, images, values) for place, case, own in _chosen(evaluation, count)
    ]
    return join([heading, _legend(), parts])


def _source(text: str, folder: Path | None) -> Path | None:
    """A path that summary.json names; None if there is none, or if another computer would be asked for it."""
    return None if not text or is_elsewhere(text, folder or Path()) else Path(text)


def cases_worst_first(evaluation: Evaluation) -> list[tuple[str, list[Row]]]:
    """Cases with their rows by mean Dice, lowest first; those without any Dice last."""
    cases: dict[str, list[Row]] = {}
    for own in evaluation.rows:
        cases.setdefault(own.case, []).append(own)

    def badness(item: tuple[str, list[Row]]) -> tuple[float, str]:
        mean = mean_of(r.dice for r in item[1])
        return (math.inf if math.isnan(mean) else mean, item[0])

    return sorted(cases.items(), key=badness)


def _chosen(evaluation: Evaluation, count: int) -> list[tuple[str, str, list[Row]]]:
    """(place, case, rows) of the cases to draw."""
    ranked = [item for item in cases_worst_first(evaluation) if any(r.reason != BOTH_EMPTY for r in item[1])]
    total = len(ranked)
    places = {n: f"worst {n + 1} of {total}" for n in range(min(count, total))}
    if total > count + 1:
        places.setdefault(total // 2, f"middle, {total // 2 + 1} of {total}")
        places.setdefault(total - 1, "best")
    elif total > count:
        places[total - 1] = "best"
    return [(place, *ranked[n]) for n, place in places.items()]


def _one_case(
    place: str, pair: Pair | None, case: str, own: Sequence[Row], images: Path | None, values: tuple[int, ...]
) -> Markup:
    told = _caption(own)
    heading = tag("h3", case, " ", tag("span", f"({place})", class_="quiet"))
    if pair is None:
        return tag("section", heading, tag("p", "Its files are no longer there.", class_="quiet"))
    image = image_of_case(images, case) if images is not None else None
    try:
        figures = case_pictures(read_scene(case, pair.prediction, pair.label, image), values, case)
    except TopoMAEError as error:
        return tag("section", heading, notice([str(error)]))
    caption = tag("p", told, class_="quiet")
    return tag("section", heading, caption, tag("div", figures, class_="pictures"), class_="case")


def _caption(own: Sequence[Row], most: int = 6) -> str:
    """The worst labels of a case in words; labels that neither prediction nor label has say nothing."""
    there = sorted((r for r in own if r.reason != BOTH_EMPTY), key=lambda r: r.dice)
    told = [
        f"{r.name}: " + (r.reason or f"Dice {number(r.dice)}, HD95 {number(r.hd95_mm, 1)} mm") for r in there[:most]
    ]
    if len(there) > most:
        told.append(f"{len(there) - most} better labels")
    return "; ".join(told)


def _legend() -> Markup:
    keys = [
        tag("span", tag("i", style=f"border-color:{LABEL_COLOUR}"), "label", class_="key"),
        tag(
            "span",
            tag("i", class_="dashed", style=f"border-color:{PREDICTION_COLOUR}"),
            "prediction",
            class_="key",
        ),
    ]
    told = (
        "Slices through the largest area of the label, cut around it. Letters: the patient's right (R), "
        "left (L), front (A), back (P), head (S), feet (I)."
    )
    return join([tag("div", keys, class_="legend"), tag("p", told, class_="quiet")])


def _label_row(evaluation: Evaluation, value: int, summary: LabelSummary) -> Markup:
    m = summary.metrics
    own = [r for r in evaluation.rows if r.label == value]
    return row(
        name_cell(f"{summary.name} ({value})"),
        m["dice"].cases,
        _spread(m["dice"], 3, len(own)),
        tag("td", strip([(r.case, r.dice) for r in own], m["dice"].median)),
        _spread(m["surface_dice"], 3, len(own)),
        _spread(m["hd95_mm"], 2, len(own)),
        _spread(m["asd_mm"], 2, len(own)),
        _spread(m["volume_difference_percent"], 1, len(own)),
        " / ".join(number(m[f"b{i}_error"].mean, 2) for i in range(3)),
        summary.missed,
        summary.made_up,
    )


def strip(values: Sequence[tuple[str, float]], median: float | None) -> Markup:
    """A line from 0 to 1 with a dot per case and a bar at the median (inline SVG)."""
    dots = [
        tag(
            "circle", tag("title", f"{case}: {number(value)}"), cx=f"{4 + 192 * value:.1f}", cy=12, r=3,
            fill="#0072B2", fill_opacity="0.35",
        )
        for case, value in values
        if not math.isnan(value)
    ]  # fmt: skip
    ticks = [tag("line", x1=x, x2=x, y1=8, y2=16, stroke="#9aa5b1") for x in (4, 52, 100, 148, 196)]
    line = tag("line", x1=4, x2=196, y1=12, y2=12, stroke="#9aa5b1")
    middle = None
    if median is not None:
        x = f"{4 + 192 * median:.1f}"
        middle = tag("line", x1=x, x2=x, y1=3, y2=21, stroke="#D55E00", stroke_width=2)
    told = f"Dice of {len(dots)} cases, median {number(median)}"
    return tag("svg", line, ticks, dots, middle, viewBox="0 0 200 24", class_="strip", role="img", aria_label=told)


def _card(name: str, statistic: Statistic, digits: int, unit: str = "") -> Markup:
    value = " ".join(filter(None, (number(statistic.mean, digits), unit)))
    detail = f"± {number(statistic.sd, digits)}, {statistic.cases} cases" if statistic.cases > 1 else "one case"
    if statistic.undefined:
        detail += f" (not defined in {statistic.undefined})"
    return card(name, value, detail)


def _spread(statistic: Statistic, digits: int, of: int) -> str:
    if statistic.mean is None:
        return "–"
    spread = f" ± {number(statistic.sd, digits)}" if statistic.sd is not None else ""
    counted = f" ({statistic.cases})" if statistic.cases != of else ""
    return f"{number(statistic.mean, digits)}{spread}{counted}"


def _worst_label(own: Sequence[Row]) -> str:
    defined = [r for r in own if not math.isnan(r.dice)]
    if not defined:
        return "–"
    worst = min(defined, key=lambda r: r.dice)
    return f"{worst.name}: {number(worst.dice)}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _tolerances(evaluation: Evaluation) -> str:
    values = sorted(set(evaluation.summary.surface_tolerance_mm.values()))
    if not values:
        return "mm"
    return f"{values[0]:g} mm" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g} mm"
