"""Training a model again from its own record."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import topomae
from topomae.commands.options import EventsOption, EventsTo
from topomae.commands.telling import told

if TYPE_CHECKING:
    from topomae.reproduction import Reproduction


class RecordedDevice(str, Enum):
    """Where to compute; `recorded` as in the first training."""

    recorded = "recorded"
    cpu = "cpu"
    cuda = "cuda"


def reproduce(
    model: Annotated[Path, typer.Argument(help="A finished run, or a model folder.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Folder for the trainings, to be made.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set; not needed if MODEL is a run that knows it.")
    ] = None,
    pretraining_data: Annotated[
        Path | None, typer.Option(help="Folder of the data set of the pre-training, if it was another one.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Table with the class of each case, if a classification used one.")
    ] = None,
    device: Annotated[RecordedDevice, typer.Option(help="Where to compute.")] = RecordedDevice.recorded,
    tolerance: Annotated[
        float,
        typer.Option(help="Relative difference of all weights that still counts as the same.", min=0.0),
    ] = 0.0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Train a model again from the record in its folder, and compare the weights.

    The record holds settings, plan, seed, versions and what the data were. With the same versions on the same
    kind of CPU the weights come out equal to the bit. Exit code 3 says that they are not the same.

        topomae reproduce runs/finetune --output again

        topomae reproduce MODEL --data DATA --output again --tolerance 0.01
    """
    with told(events) as to:
        found = topomae.reproduce(
            model,
            output,
            data=data,
            pretraining_data=pretraining_data,
            classes=classes,
            device=None if device is RecordedDevice.recorded else device.value,
            events=to,
        )
        to.emit("reproduction", identical=found.identical, difference=found.difference, metrics=found.metrics)
        if events is EventsTo.auto:
            print(_in_words(found))
    if found.difference > tolerance or not (found.identical or tolerance):
        raise typer.Exit(3)


def _in_words(found: Reproduction) -> str:
    if found.identical:
        lines = ["The same to the bit."]
    else:
        lines = [f"Not the same: the weights differ by {found.difference:.2g} of their length."]
    for name, (before, now) in found.metrics.items():
        lines.append(f"{name.replace('_', ' ')}: {before:.4f} then, {now:.4f} now")
    return "\n".join(lines)
