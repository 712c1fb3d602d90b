"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from topomae.commands.completion import run_folders, setting_names


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


class TaskName(str, Enum):
    """What fine-tuning is for."""

    segmentation = "segmentation"
    classification = "classification"


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
    Path,
    typer.Option(
        help="Folder of the run. Give it again to go on after a stop.", show_default=False, autocompletion=run_folders
    ),
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
Devices = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Train on this many GPUs of this machine (processes, on a CPU) together. For several machines see "
        "docs/scaling.md.",
        show_default=False,
    ),
]
LeaveOutBad = Annotated[bool, typer.Option("--leave-out-bad", help="Go on without images that cannot be read.")]


def _told_recipes(given: str | None) -> str | None:
    """The word `list` in place of a recipe shows which there are, and ends the command."""
    if given == "list":
        from topomae.commands.recipes import print_recipes

        print_recipes()
        raise typer.Exit()
    return given


RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Follow the recipe of a well-known data set: its name, a JSON file, or the word list.",
        callback=_told_recipes,
        is_eager=True,
        show_default=False,
    ),
]
SizeOption = Annotated[
    Size | None,
    typer.Option(help="small: CPU or laptop. base: as published. By default that of the recipe, else small."),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder that keeps what was found in the data, and prepared volumes, for several runs.",
        envvar="TOPOMAE_CACHE",
        show_default=False,
    ),
]
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
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting or a field of the plan. Repeat for more.",
        autocompletion=setting_names,
    ),
]
