"""Looking at the computer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from topomae.commands.options import EventsOption, EventsTo
from topomae.commands.telling import told


def doctor(
    folder: Annotated[Path, typer.Option(help="Where runs are to be written.")] = Path("."),
    events: EventsOption = EventsTo.auto,
) -> None:
    """Check whether this computer can train and segment, and say what to do if not.

    Looks at Python, packages, PyTorch, graphics card, memory, disk and file names; changes nothing. Exit code 1
    says that something does not work:

        topomae doctor --folder runs
    """
    from topomae.doctor import examine, in_words

    with told(events) as to:
        findings = examine(folder)
        for finding in findings:
            to.emit("finding", **dataclasses.asdict(finding))
    if events is EventsTo.auto:
        print(in_words(findings))
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)
