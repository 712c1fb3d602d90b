"""Using a model, and judging it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import topomae
from topomae.commands.inputs import Inputs, ModelFolder, NamedImages, given_inputs, require_one
from topomae.commands.options import (
    Assignments,
    DeviceName,
    DeviceOption,
    EventsOption,
    EventsTo,
    RecipeName,
    Size,
    UnusedDevice,
    UnusedSeed,
    UnusedSize,
)
from topomae.commands.telling import told
from topomae.config import EvaluateSettings, SegmentSettings, settings_from
from topomae.recipes.shelf import find_recipe

if TYPE_CHECKING:
    from topomae.evaluation.classification import ClassEvaluation
    from topomae.evaluation.segmentation import Evaluation


def segment(
    model: ModelFolder,
    output: Annotated[Path, typer.Option(help="Label map to write, or folder for several.", show_default=False)],
    input: Inputs = None,
    image: NamedImages = None,
    device: DeviceOption = DeviceName.auto,
    mirror: Annotated[bool, typer.Option(help="Average over mirrored views: a little better, slower.")] = False,
    probabilities: Annotated[bool, typer.Option(help="Also write the probability of every label.")] = False,
    assignments: Assignments = None,
    size: UnusedSize = Size.small,
    seed: UnusedSeed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Segment volumes. The label maps have the geometry of their inputs.

    Several inputs, or a folder of volumes, give one label map each:

        topomae segment --model runs/finetune --input scan.nii.gz --output scan_seg.nii.gz

        topomae segment --model runs/finetune --input SCANS --output predictions

    A model of several modalities that was trained to do without some takes those that there are:

        topomae segment --model runs/finetune --image T1=a.nii.gz --image FLAIR=b.nii.gz --output seg.nii.gz
    """
    require_one(input, image)
    with told(events) as to:
        settings = settings_from(SegmentSettings, assignments or (), mirror=mirror, probabilities=probabilities)
        topomae.segment(
            model, given_inputs(input, image), output, device=device.value, **settings.model_dump(), events=to
        )


def evaluate(
    predictions: Annotated[
        Path, typer.Option(help="Label map, folder of label maps, or table of classes.", show_default=False)
    ],
    labels: Annotated[
        Path,
        typer.Option(help="True label map, folder of them, data set folder, or table of classes.", show_default=False),
    ],
    output: Annotated[Path, typer.Option(help="Folder for metrics.csv and summary.json.", show_default=False)],
    images: Annotated[Path | None, typer.Option(help="Folder of the images, for pictures.")] = None,
    recipe: RecipeName = None,
    assignments: Assignments = None,
    device: UnusedDevice = DeviceName.auto,
    size: UnusedSize = Size.small,
    seed: UnusedSeed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Compare predictions with true labels: Dice, surface distances in mm, volumes, Betti numbers.

    LABELS may be a data set folder; its test cases are then judged:

        topomae evaluate --predictions predictions --labels DATA --output evaluation

    With a recipe, the labels that the literature scores are judged, and no others.

    Of a table of classes: AUROC, balanced accuracy, F1 and calibration, with 95 % confidence intervals.

        topomae evaluate --predictions classes.csv --labels DATA --output evaluation
    """
    with told(events) as to:
        settings = settings_from(EvaluateSettings, assignments or ())
        followed = find_recipe(recipe)
        scored = followed.evaluated if followed else None
        result = topomae.evaluate(
            predictions, labels, output, label_names=scored, images=images, **settings.model_dump(), events=to
        )
        if events is EventsTo.auto:
            _print(result)


def _print(result: Evaluation | ClassEvaluation) -> None:
    from topomae.evaluation.classification import ClassEvaluation

    if isinstance(result, ClassEvaluation):
        from topomae.reporting.tables import print_classes

        print_classes(result)
        return
    from topomae.reporting.tables import print_evaluation

    print_evaluation(result)


def report(
    output: Annotated[Path, typer.Option(help="HTML file to write, or folder for report.html.", show_default=False)],
    pretrain: Annotated[Path | None, typer.Option(help="Run folder of a pre-training.")] = None,
    finetune: Annotated[Path | None, typer.Option(help="Run folder of a fine-tuning.")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="Folder that evaluate wrote to.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "TopoMAE report",
    events: EventsOption = EventsTo.auto,
) -> None:
    """Write one self-contained HTML page: numbers, curves, previews and pictures, worst cases first.

    Every part is optional; a run may still be going on:

        topomae report --finetune runs/finetune --evaluation evaluation --output report.html
    """
    with told(events) as to:
        to.start(kind="report")
        path = topomae.write_report(output, title=title, pretrain=pretrain, finetune=finetune, evaluation=evaluation)
        if events is EventsTo.auto:
            print(f"Written: {path}")
