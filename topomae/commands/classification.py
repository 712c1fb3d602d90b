"""Saying the class of whole volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import topomae
from topomae.commands.inputs import Inputs, ModelFolder, NamedImages, given_inputs, require_one
from topomae.commands.options import DeviceName, DeviceOption, EventsOption, EventsTo, Size, UnusedSeed, UnusedSize
from topomae.commands.telling import told


def classify(
    model: ModelFolder,
    output: Annotated[Path, typer.Option(help="CSV file to write, or folder for classes.csv.", show_default=False)],
    input: Inputs = None,
    image: NamedImages = None,
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
    require_one(input, image)
    with told(events) as to:
        path = topomae.classify(model, given_inputs(input, image), output, device=device.value, only=only, events=to)
        if events is EventsTo.auto:
            print(f"Written: {path}")
