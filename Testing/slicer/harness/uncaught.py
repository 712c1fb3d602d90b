"""Errors that nobody can catch: in Slicer they only appear in the Python console, here they fail the test."""

import sys
import traceback
from types import TracebackType

errors: list[str] = []


def install() -> None:
    """Write down exceptions raised in callbacks of VTK and Qt, besides printing them."""
    printError = sys.excepthook

    def onError(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        errors.append("".join(traceback.format_exception(kind, error, where)))
        printError(kind, error, where)
        _letGo(error)

    sys.excepthook = onError


def _letGo(error: BaseException | None) -> None:
    """Forget the frames of an error that is written down: nodes among their variables would outlive the scene."""
    sys.last_type = sys.last_value = sys.last_traceback = None
    if hasattr(sys, "last_exc"):  # Python 3.12
        sys.last_exc = None
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
