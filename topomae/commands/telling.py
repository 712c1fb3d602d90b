"""How a command tells what happens: events, and errors as one clear sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from topomae.commands.options import EventsTo
from topomae.errors import TopoMAEError
from topomae.events import Events
from topomae.parallel.distributed import silent, tell_on_stderr


@contextmanager
def told(how: EventsTo) -> Iterator[Events]:
    """Events for a command; an error becomes one clear sentence and exit code 1."""
    events = Events() if silent() else Events.to(how.value)  # of several processes, the main one talks
    try:
        yield events
    except TopoMAEError as error:
        events.error(error)
        if silent():
            tell_on_stderr(error)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise typer.Exit(130) from None
    except Exception as error:
        told_by = _told_of_path if isinstance(error, OSError) and error.filename else _told_of_defect
        raise typer.Exit(told_by(events, error)) from None
    finally:
        events.close()


def _told_of_path(events: Events, error: OSError) -> int:
    """The system's refusal of a path, such as a name too long, that no room of ours told in its own words."""
    what = f"the system refuses a path: {error.strerror or error}"
    events.error(TopoMAEError(what, hint="Check the path and its permissions.", path=os.fsdecode(error.filename)))
    return 1


def _told_of_defect(events: Events, error: Exception) -> int:
    """An error that nobody foresaw: one sentence for the user, the traceback in a file for us."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="topomae-", suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exc(file=log)
    what = f"something went wrong inside TopoMAE: {type(error).__name__}: {error}"
    events.error(TopoMAEError(what, hint="Please report it with this file.", path=log.name))
    return 1
