"""The command line. Every command is a thin shell around the function of the same name in `topomae`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

import topomae
from topomae.assignments import plan_fields, settings_and_plan_fields
from topomae.config import (
    EvaluateSettings,
    FinetuneSettings,
    PretrainSettings,
    SegmentSettings,
    settings_from,
)
from topomae.errors import TopoMAEError
from topomae.events import Events
from topomae.worker.command import worker

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="""Train a segmentation model on **your own** volumes, with labels for a handful of them.

A typical course, for a folder DATA with images and a few label maps:

    topomae pretrain --data DATA --run runs/pretrain

    topomae finetune --data DATA --run runs/finetune --init runs/pretrain

    topomae segment --model runs/finetune --input NEW_SCANS --output predictions

    topomae evaluate --predictions predictions --labels DATA --output evaluation

    topomae report --finetune runs/finetune --evaluation evaluation --output report.html

No data at hand? `topomae demo` makes phantom volumes and runs all of this on them.
""",
)


class EventsTo(str, Enum):
    """Where events go."""

    auto = "auto"
    json = "json"
    none = "none"


class DeviceName(str, Enum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Size(str, Enum):
    """Network size."""

    small = "small"
    base = "base"


Data = Annotated[
    Path,
    typer.Option(
        help="Folder of the data set: a Medical Segmentation Decathlon or nnU-Net folder with dataset.json, "
        "imagesTr/ and labelsTr/, images/ and labels/, or just images.",
        show_default=False,
    ),
]
RunFolder = Annotated[
    Path, typer.Option(help="Folder of the run. Give it again to go on after a stop.", show_default=False)
]
DeviceOption = Annotated[DeviceName, typer.Option(help="Where to compute; auto takes a GPU if there is one.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0)]
EventsOption = Annotated[
    EventsTo, typer.Option("--events", help="auto: for people. json: one JSON object per line, for programs.")
]
Modality = Annotated[
    list[str] | None,
    typer.Option(help="Name of an image channel, in order; CT means Hounsfield units. Repeat for more channels."),
]
LeaveOutBad = Annotated[bool, typer.Option("--leave-out-bad", help="Go on without images that cannot be read.")]
# Scripts may give these to every command; where a command has no use for them it says so.
_EVERYWHERE = "Accepted by every command"
UnusedDevice = Annotated[
    DeviceName, typer.Option("--device", help="No use here: computed on the CPU.", rich_help_panel=_EVERYWHERE)
]
UnusedSize = Annotated[
    Size, typer.Option("--size", help="No use here: the model has its size.", rich_help_panel=_EVERYWHERE)
]
UnusedSeed = Annotated[
    int, typer.Option("--seed", help="No use here: nothing is random.", rich_help_panel=_EVERYWHERE)
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting or a field of the plan. Repeat for more."),
]


@app.command()
def plan(
    data: Data,
    output: Annotated[Path | None, typer.Option(help="File to write the plan to, to be edited.")] = None,
    size: Annotated[Size, typer.Option(help="small: CPU or laptop. base: as published.")] = Size.small,
    device: DeviceOption = DeviceName.auto,
    assignments: Assignments = None,
    modality: Modality = None,
    leave_out_bad: LeaveOutBad = False,
    check_labels: Annotated[bool, typer.Option("--check-labels", help="Read the label maps as well.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Do a few steps on made-up data: how long, how much memory?")
    ] = False,
    remember: Annotated[
        Path | None, typer.Option(help="File that keeps what was found; given again, volumes are not read again.")
    ] = None,
    seed: UnusedSeed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Look at a data set and say how it would be trained on, and why.

    Every image is read and checked; nothing is trained. A plan written into a run folder is used by that run:

        topomae plan --data DATA --output runs/pretrain/plan.json

        topomae plan --data DATA --size base --set spacing=1,1,3 --estimate
    """
    with _told(events) as to:
        made = topomae.plan(
            data,
            output=output,
            size=size.value,
            device=device.value,
            overrides=plan_fields(assignments),
            modalities=modality,
            leave_out_bad=leave_out_bad,
            check_labels=check_labels,
            remember=remember,
            events=to,
        )
        if estimate:
            from topomae.estimates import estimate as estimate_training

            estimate_training(made, device=device.value, events=to)


@app.command(epilog=f"Settings for --set: {', '.join(PretrainSettings.model_fields)}.")
def pretrain(
    data: Data,
    run: RunFolder,
    size: Annotated[Size, typer.Option(help="small: CPU or laptop. base: as published.")] = Size.small,
    device: DeviceOption = DeviceName.auto,
    assignments: Assignments = None,
    modality: Modality = None,
    leave_out_bad: LeaveOutBad = False,
    seed: Seed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Pre-train on volumes without looking at labels.

    A masked autoencoder (ViT) and UNETR++ are trained together to fill in hidden blocks, to keep the
    topology of the image, and to tell where in the volume a crop lies. Stop with Ctrl+C and start the same
    command again to go on.

        topomae pretrain --data DATA --run runs/pretrain

        topomae pretrain --data DATA --run runs/pretrain --set steps=5000 --set topology_weight=0.1
    """
    with _told(events) as to:
        settings, fields = settings_and_plan_fields(PretrainSettings, assignments, seed)
        topomae.pretrain(
            data,
            run,
            size=size.value,
            device=device.value,
            settings=settings,
            plan=fields,
            modalities=modality,
            leave_out_bad=leave_out_bad,
            events=to,
        )


@app.command(epilog=f"Settings for --set: {', '.join(FinetuneSettings.model_fields)}.")
def finetune(
    data: Data,
    run: RunFolder,
    init: Annotated[
        str,
        typer.Option(help="A pre-training run, a model to train further, or the word scratch.", show_default=False),
    ],
    size: Annotated[Size | None, typer.Option(help="small or base; by default that of --init.")] = None,
    device: DeviceOption = DeviceName.auto,
    assignments: Assignments = None,
    modality: Modality = None,
    seed: Seed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Train a segmentation model on the labelled cases.

    The run folder then holds the model in `model/`. Stop with Ctrl+C and start the same command again to go on.

        topomae finetune --data DATA --run runs/finetune --init runs/pretrain

        topomae finetune --data DATA --run runs/baseline --init scratch --set architecture=unetrpp
    """
    with _told(events) as to:
        settings, fields = settings_and_plan_fields(FinetuneSettings, assignments, seed)
        topomae.finetune(
            data,
            run,
            init=init,
            size=size.value if size else None,
            device=device.value,
            settings=settings,
            plan=fields,
            modalities=modality,
            events=to,
        )


@app.command(epilog=f"Settings for --set: {', '.join(SegmentSettings.model_fields)}.")
def segment(
    model: Annotated[Path, typer.Option(help="Model folder, or the run that made it.", show_default=False)],
    input: Annotated[
        list[Path],
        typer.Option(help="Volume, DICOM series folder, or folder of volumes. Repeat for more.", show_default=False),
    ],
    output: Annotated[Path, typer.Option(help="Label map to write, or folder for several.", show_default=False)],
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
    """
    with _told(events) as to:
        settings = settings_from(SegmentSettings, assignments or (), mirror=mirror, probabilities=probabilities)
        inputs = input[0] if len(input) == 1 else input
        topomae.segment(model, inputs, output, device=device.value, **settings.model_dump(), events=to)


@app.command(epilog=f"Settings for --set: {', '.join(EvaluateSettings.model_fields)}.")
def evaluate(
    predictions: Annotated[Path, typer.Option(help="Label map, or folder of label maps.", show_default=False)],
    labels: Annotated[
        Path, typer.Option(help="True label map, folder of them, or data set folder.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(help="Folder for metrics.csv and summary.json.", show_default=False)],
    images: Annotated[Path | None, typer.Option(help="Folder of the images, for pictures.")] = None,
    assignments: Assignments = None,
    device: UnusedDevice = DeviceName.auto,
    size: UnusedSize = Size.small,
    seed: UnusedSeed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Compare predictions with true labels: Dice, surface distances in mm, volumes, Betti numbers.

    LABELS may be a data set folder; its test cases are then judged:

        topomae evaluate --predictions predictions --labels DATA --output evaluation
    """
    with _told(events) as to:
        settings = settings_from(EvaluateSettings, assignments or ())
        result = topomae.evaluate(predictions, labels, output, images=images, **settings.model_dump(), events=to)
        if events is EventsTo.auto:
            from topomae.console import print_evaluation

            print_evaluation(result)


@app.command()
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
    with _told(events):
        path = topomae.write_report(output, title=title, pretrain=pretrain, finetune=finetune, evaluation=evaluation)
        if events is EventsTo.auto:
            print(f"Written: {path}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("demo"),
    data: Annotated[
        Path | None, typer.Option(help="Run the same course on this data set instead of on phantoms.")
    ] = None,
    size: Annotated[Size, typer.Option(help="small: CPU or laptop. base: as published.")] = Size.small,
    device: DeviceOption = DeviceName.auto,
    pretrain_steps: Annotated[int | None, typer.Option(help="Steps of pre-training.", min=1)] = None,
    finetune_steps: Annotated[int | None, typer.Option(help="Steps of fine-tuning.", min=1)] = None,
    modality: Modality = None,
    seed: Seed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """See the whole course: plan, pre-train, fine-tune, segment, evaluate, report.

    Without --data it makes phantom volumes (solid, hollow, ring and branching organs), of which only a few
    are labelled; on two CPU cores that takes less than five minutes. Start it again to go on after a stop.

        topomae demo

        topomae demo --data DATA --output my_first_model
    """
    with _told(events) as to:
        result = topomae.demo(
            output,
            data=data,
            size=size.value,
            device=device.value,
            pretrain_steps=pretrain_steps,
            finetune_steps=finetune_steps,
            modalities=modality,
            seed=seed,
            events=to,
        )
        if result is not None and events is EventsTo.auto:
            from topomae.console import print_evaluation

            print_evaluation(result.evaluation)
            print(f"Report: {result.report}")


app.command(rich_help_panel="For programs")(worker)


def main() -> None:
    """Run the command line."""
    app(prog_name="topomae")


@contextmanager
def _told(how: EventsTo) -> Iterator[Events]:
    """Events for a command; an error becomes one clear sentence and exit code 1."""
    events = Events.to(how.value)
    try:
        yield events
    except TopoMAEError as error:
        events.error(error)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise typer.Exit(130) from None
    except Exception as error:
        raise typer.Exit(_told_of_defect(events, error)) from None
    finally:
        events.close()


def _told_of_defect(events: Events, error: Exception) -> int:
    """An error that nobody foresaw: one sentence for the user, the traceback in a file for us."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="topomae-", suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exc(file=log)
    what = f"something went wrong inside TopoMAE: {type(error).__name__}: {error}"
    events.error(TopoMAEError(what, hint="Please report it with this file.", path=log.name))
    return 1
