"""How a command tells what happens: events, and errors as one clear sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from topomae.commands.options import EventsTo
from topomae.errors import TopoMAEError
from topomae.events import Events


@contextmanager
def told(how: EventsTo) -> Iterator[Events]:
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
