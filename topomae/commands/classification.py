"""Saying the class of whole volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import topomae
from topomae.commands.named_files import named_files
from topomae.commands.options import DeviceName, DeviceOption, EventsOption, EventsTo, Size, UnusedSeed, UnusedSize
from topomae.commands.telling import told


def classify(
    model: Annotated[Path, typer.Option(help="Model folder, or the run that made it.", show_default=False)],
    output: Annotated[Path, typer.Option(help="CSV file to write, or folder for classes.csv.", show_default=False)],
    input: Annotated[
        list[Path] | None,
        typer.Option(help="Volume, DICOM series folder, or folder of volumes. Repeat for more.", show_default=False),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="Instead of --input, the image of one modality. Repeat for those that there are.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Look at this modality alone, although there may be more. Repeat for several."),
    ] = None,
    device: DeviceOption = DeviceName.auto,
    size: UnusedSize = Size.small,
    seed: UnusedSeed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Say which class whole volumes have.

    The model comes from `topomae finetune --task classification`. The table has a row per case: its name, the
    probability of every class, and the most probable class.

        topomae classify --model runs/classes --input SCANS --output classes.csv
    """
    if bool(input) == bool(image):
        raise typer.BadParameter("give either --input or --image", param_hint="--input")
    with told(events) as to:
        inputs = named_files(image) if image else input[0] if len(input) == 1 else input
        path = topomae.classify(model, inputs, output, device=device.value, only=only, events=to)
        if events is EventsTo.auto:
            print(f"Written: {path}")
