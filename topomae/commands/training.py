"""Training, and the whole course."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import topomae
from topomae.commands.assignments import settings_and_plan_fields
from topomae.commands.completion import starts
from topomae.commands.options import (
    Assignments,
    CacheFolder,
    Data,
    DeviceName,
    DeviceOption,
    Devices,
    EventsOption,
    EventsTo,
    LeaveOutBad,
    Modality,
    RecipeName,
    RunFolder,
    Seed,
    Size,
    SizeOption,
    TaskName,
)
from topomae.commands.telling import told
from topomae.config import ClassifySettings, FinetuneSettings, PretrainSettings
from topomae.parallel.launching import with_others


def pretrain(
    data: Data,
    run: RunFolder,
    size: SizeOption = None,
    device: DeviceOption = DeviceName.auto,
    devices: Devices = None,
    assignments: Assignments = None,
    modality: Modality = None,
    recipe: RecipeName = None,
    init: Annotated[
        str, typer.Option(help="A file with weights of a vision transformer to begin with, or the word scratch.")
    ] = "scratch",
    leave_out_bad: LeaveOutBad = False,
    cache: CacheFolder = None,
    seed: Seed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Pre-train on volumes without looking at labels.

    A masked autoencoder (ViT) and UNETR++ are trained together to fill in hidden blocks, to keep the
    topology of the image, and to tell where in the volume a crop lies. Stop with Ctrl+C and start the same
    command again to go on.

        topomae pretrain --data DATA --run runs/pretrain

        topomae pretrain --data DATA --run runs/pretrain --set steps=5000 --set topology_weight=0.1

        topomae pretrain --data DATA --run runs/pretrain --recipe synapse

        topomae pretrain --data DATA --run runs/pretrain --size base --init mae_pretrain_vit_base.pth
    """
    with told(events) as to, with_others(devices):
        settings, fields = settings_and_plan_fields(PretrainSettings, assignments, seed)
        topomae.pretrain(
            data,
            run,
            size=size.value if size else None,
            device=device.value,
            settings=settings,
            plan=fields,
            modalities=modality,
            leave_out_bad=leave_out_bad,
            cache=cache,
            recipe=recipe,
            init=init,
            events=to,
        )


def finetune(
    data: Data,
    run: RunFolder,
    init: Annotated[
        str,
        typer.Option(
            help="A pre-training run, a model to train further, or the word scratch.",
            show_default=False,
            autocompletion=starts,
        ),
    ],
    task: Annotated[
        TaskName, typer.Option(help="A class for each voxel, or one for the whole volume.")
    ] = TaskName.segmentation,
    classes: Annotated[
        Path | None,
        typer.Option(help="For classification: CSV file with the columns case and class, if not in dataset.json."),
    ] = None,
    size: Annotated[Size | None, typer.Option(help="small or base; by default that of --init.")] = None,
    device: DeviceOption = DeviceName.auto,
    devices: Devices = None,
    assignments: Assignments = None,
    modality: Modality = None,
    recipe: RecipeName = None,
    cache: CacheFolder = None,
    seed: Seed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Train a segmentation model on the labelled cases, or one that says the class of whole volumes.

    The run folder then holds the model in `model/`. Stop with Ctrl+C and start the same command again to go on.

        topomae finetune --data DATA --run runs/finetune --init runs/pretrain

        topomae finetune --data DATA --run runs/baseline --init scratch --set architecture=unetrpp

        topomae finetune --data DATA --run runs/classes --init runs/pretrain --task classification
    """
    with told(events) as to, with_others(devices):
        kind = ClassifySettings if task is TaskName.classification else FinetuneSettings
        settings, fields = settings_and_plan_fields(kind, assignments, seed)
        topomae.finetune(
            data,
            run,
            init=init,
            task=task.value,
            classes=classes,
            size=size.value if size else None,
            device=device.value,
            settings=settings,
            plan=fields,
            modalities=modality,
            cache=cache,
            recipe=recipe,
            events=to,
        )


def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("demo"),
    data: Annotated[
        Path | None, typer.Option(help="Run the same course on this data set instead of on phantoms.")
    ] = None,
    size: SizeOption = None,
    device: DeviceOption = DeviceName.auto,
    pretrain_steps: Annotated[int | None, typer.Option(help="Steps of pre-training.", min=1)] = None,
    finetune_steps: Annotated[int | None, typer.Option(help="Steps of fine-tuning.", min=1)] = None,
    modality: Modality = None,
    recipe: RecipeName = None,
    seed: Seed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """See the whole course: plan, pre-train, fine-tune, segment, evaluate, report.

    Without --data it makes phantom volumes (solid, hollow, ring and branching organs), of which only a few
    are labelled; on two CPU cores that takes about five minutes. Start it again to go on after a stop.

        topomae demo

        topomae demo --data DATA --output my_first_model
    """
    with told(events) as to:
        result = topomae.demo(
            output,
            data=data,
            size=size.value if size else None,
            device=device.value,
            pretrain_steps=pretrain_steps,
            finetune_steps=finetune_steps,
            modalities=modality,
            recipe=recipe,
            seed=seed,
            events=to,
        )
        if result is not None and events is EventsTo.auto:
            from topomae.reporting.tables import print_evaluation

            print_evaluation(result.evaluation)
            print(f"Report: {result.report}")
