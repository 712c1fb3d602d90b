"""Looking at a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import topomae
from topomae.commands.assignments import plan_fields
from topomae.commands.options import (
    Assignments,
    CacheFolder,
    Data,
    DeviceName,
    DeviceOption,
    EventsOption,
    EventsTo,
    LeaveOutBad,
    Modality,
    RecipeName,
    SizeOption,
    UnusedSeed,
)
from topomae.commands.telling import told


def plan(
    data: Data,
    output: Annotated[Path | None, typer.Option(help="File to write the plan to, to be edited.")] = None,
    size: SizeOption = None,
    device: DeviceOption = DeviceName.auto,
    assignments: Assignments = None,
    modality: Modality = None,
    recipe: RecipeName = None,
    leave_out_bad: LeaveOutBad = False,
    check_labels: Annotated[bool, typer.Option("--check-labels", help="Read the label maps as well.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Do a few steps on made-up data: how long, how much memory?")
    ] = False,
    remember: Annotated[
        Path | None, typer.Option(help="File that keeps what was found; given again, only what has changed is read.")
    ] = None,
    cache: CacheFolder = None,
    seed: UnusedSeed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Look at a data set and say how it would be trained on, and why.

    Every image is read and checked; nothing is trained. A plan written into a run folder is used by that run:

        topomae plan --data DATA --output runs/pretrain/plan.json

        topomae plan --data DATA --size base --set spacing=1,1,3 --estimate

        topomae plan --data DATA --recipe synapse
    """
    with told(events) as to:
        made = topomae.plan(
            data,
            output=output,
            size=size.value if size else None,
            device=device.value,
            overrides=plan_fields(assignments),
            modalities=modality,
            leave_out_bad=leave_out_bad,
            check_labels=check_labels,
            remember=remember,
            cache=cache,
            recipe=recipe,
            events=to,
        )
        if estimate:
            from topomae.training.estimates import estimate as estimate_training

            estimate_training(made, device=device.value, recipe=recipe, events=to)
