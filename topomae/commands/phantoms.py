"""Making data to try everything with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from topomae.commands.options import EventsOption, EventsTo, Seed
from topomae.commands.telling import told


def phantoms(
    output: Annotated[Path, typer.Option(help="Folder of the data set; made if need be.")] = Path("phantoms"),
    cases: Annotated[int, typer.Option(help="Number of volumes.")] = 24,
    labelled: Annotated[int, typer.Option(help="How many of the training volumes have labels.")] = 4,
    seed: Seed = 0,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Make a phantom data set: small MR-like volumes of organ-like shapes, a few of them with labels.

    It needs no network and takes seconds. Then plan, pre-train, fine-tune on it as on data of your own:

        topomae phantoms --output phantoms

        topomae plan --data phantoms
    """
    with told(events) as to:
        from topomae.data.phantoms import PHANTOM_SHAPE, make_phantoms

        to.start()
        making = to.track(cases, "make phantoms")

        def tell(done: int, _of: int) -> None:
            if done > making.step:
                making.advance(done - making.step)

        make_phantoms(output, cases=cases, labelled=labelled, seed=seed, shape=PHANTOM_SHAPE, progress=tell)
        to.emit("note", message=f"phantom data set: {output}")
        to.emit("end", status="ok")
