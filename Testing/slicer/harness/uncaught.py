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

    sys.excepthook = onError
