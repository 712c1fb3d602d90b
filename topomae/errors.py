"""The one kind of error a user is meant to read."""

from __future__ import annotations

from pathlib import Path

from topomae.harmless import printable

_LONGEST = 1000  # letters of one part of a sentence


class TopoMAEError(Exception):
    """A problem that the user can solve: what is wrong, where, and what to do about it.

    Args:
        message: what is wrong, one clause without a final full stop.
        hint: what the user can do, one sentence.
        case: name of the case (patient, scan) concerned, if any.
        path: file or folder concerned, if any.
    """

    def __init__(self, message: str, *, hint: str = "", case: str = "", path: str | Path | None = None):
        self.message = _one_line(message)
        self.hint = _one_line(hint)
        self.case = case
        self.path = None if path is None else Path(path)
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"case {_one_line(self.case)}: " if self.case else ""
        file = f" ({_one_line(str(self.path))})" if self.path is not None else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{where}{self.message}{file}.{hint}"


def _one_line(text: str) -> str:
    """A text of one printable line: names and libraries' words come from files, with whatever stands there."""
    line = printable(" ".join(text.split("\n")))
    return line if len(line) <= _LONGEST else line[:_LONGEST] + " ..."


class BadDataError(TopoMAEError):
    """A file, case or data set cannot be used as it is."""


class BadSettingError(TopoMAEError):
    """A setting, option or plan entry is not valid."""


class RunError(TopoMAEError):
    """A run folder cannot be used: locked, finished, damaged or of another kind."""
