"""Turn the folder of a finished `topomae demo` into a page for docs/results: table, times and a montage.

    python Testing/benchmarks/publish_course.py --course my_first_model --output docs/results/my_data

The numbers are read from what the course wrote; nothing is computed anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from topomae.data.dataset import open_dataset
from topomae.evaluation.segmentation import Evaluation
from topomae.reporting.slices import Scene, read_scene

METRICS = {"dice": "Dice", "hd95_mm": "HD95 (mm)", "asd_mm": "ASD (mm)", "surface_dice": "surface Dice"}
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--course", type=Path, required=True, help="folder that topomae demo wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of the page")
    arguments = parser.parse_args()
    course, output = arguments.course, arguments.output
    output.mkdir(parents=True, exist_ok=True)
    evaluation = Evaluation.load(course / "evaluation")
    for name in ("metrics.csv", "summary.json"):
        shutil.copy(course / "evaluation" / name, output / name)
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    summary["sources"] = {}  # paths of the machine it was made on
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    montage(course, evaluation).savefig(output / "montage.png", dpi=80)
    lines = [*score_table(evaluation), "", *time_table(course), "", "![Held-out cases](montage.png)", ""]
    (output / "tables.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def score_table(evaluation: Evaluation) -> list[str]:
    """Means and standard deviations over the held-out cases, as Markdown."""
    shown = [name for name in METRICS if name in next(iter(evaluation.summary.per_label.values())).metrics]
    lines = ["| label | " + " | ".join(METRICS[name] for name in shown) + " |", "| --- |" + " --- |" * len(shown)]
    for label in evaluation.summary.per_label.values():
        cells = [f"{label.metrics[name].mean:.3f} ± {label.metrics[name].sd:.3f}" for name in shown]
        lines.append(f"| {label.name} | " + " | ".join(cells) + " |")
    cells = [f"{evaluation.summary.overall[name].mean:.3f}" for name in shown]
    return [*lines, f"| **mean of {evaluation.summary.cases} cases** | " + " | ".join(cells) + " |"]


def time_table(course: Path) -> list[str]:
    """Wall time of each training, as Markdown."""
    lines = ["| part | steps | minutes |", "| --- | --- | --- |"]
    for part in ("pretrain", "finetune"):
        events = [json.loads(line) for line in (course / part / "events.jsonl").read_text("utf-8").splitlines()]
        times = [datetime.fromisoformat(event["time"]) for event in events]
        step = max(event["step"] for event in events if event["event"] == "progress" and event["phase"] == part)
        lines.append(f"| {part} | {step} | {(times[-1] - times[0]).total_seconds() / 60:.1f} |")
    return lines


def montage(course: Path, evaluation: Evaluation, columns: int = 6) -> Figure:
    """Held-out cases from worst to best: the slice with most label, label dashed, prediction solid."""
    dice: dict[str, list[float]] = {}
    for row in evaluation.rows:
        dice.setdefault(row.case, []).append(row.dice)
    ranked = sorted(dice, key=lambda case: np.nanmean(dice[case]))
    chosen = [ranked[i] for i in np.linspace(0, len(ranked) - 1, min(columns * 2, len(ranked))).round().astype(int)]
    figure = Figure(figsize=(2.2 * columns, 2.6 * -(-len(chosen) // columns)), layout="constrained")
    axes = figure.subplots(-(-len(chosen) // columns), columns, squeeze=False).flat
    sources = {name: Path(path) for name, path in evaluation.summary.sources.items()}
    for axis in axes:
        axis.axis("off")
    for axis, case in zip(figure.axes, chosen, strict=False):
        scene = read_scene(case, *files_of(case, course, sources))
        draw(axis, scene)
        axis.set_title(f"{case}\nDice {np.nanmean(dice[case]):.3f}", fontsize=7)
    return figure


def files_of(case: str, course: Path, sources: dict[str, Path]) -> tuple[Path, Path, Path]:
    """Prediction, label and first image file of a case."""
    found = open_dataset(sources["labels"]).case(case)
    return course / "predictions" / f"{case}.nii.gz", found.label, found.images[0]


def draw(axes: Axes, scene: Scene) -> None:
    """One axial slice with contours."""
    middle = int((scene.label > 0).sum(axis=(0, 1)).argmax())
    image = scene.image[:, :, middle].T
    axes.imshow(image, cmap="gray", origin="lower", vmin=np.percentile(image, 1), vmax=np.percentile(image, 99.5))
    for volume, style in ((scene.label, "dashed"), (scene.prediction, "solid")):
        for value, colour in zip(sorted(set(np.unique(volume)) - {0}), COLOURS, strict=False):
            mask = (volume[:, :, middle] == value).T
            if mask.any():
                axes.contour(mask, [0.5], colors=colour, linestyles=style, linewidths=0.9)


if __name__ == "__main__":
    main()
