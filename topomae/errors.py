"""The one kind of error a user is meant to read."""

from __future__ import annotations

from pathlib import Path


class TopoMAEError(Exception):
    """A problem that the user can solve: what is wrong, where, and what to do about it.

    Args:
        message: what is wrong, one clause without a final full stop.
        hint: what the user can do, one sentence.
        case: name of the case (patient, scan) concerned, if any.
        path: file or folder concerned, if any.
    """

    def __init__(self, message: str, *, hint: str = "", case: str = "", path: str | Path | None = None):
        self.message = message
        self.hint = hint
        self.case = case
        self.path = None if path is None else Path(path)
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"case {self.case}: " if self.case else ""
        file = f" ({self.path})" if self.path is not None else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{where}{self.message}{file}.{hint}"


class BadDataError(TopoMAEError):
    """A file, case or data set cannot be used as it is."""


class BadSettingError(TopoMAEError):
    """A setting, option or plan entry is not valid."""


class RunError(TopoMAEError):
    """A run folder cannot be used: locked, finished, damaged or of another kind."""
