"""Why a run ended badly, in words; its last words are in the folder, whoever started it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from TopoMAELib.line_tail import LineTail
from TopoMAELib.run_progress import parsedEvent

_LAST_WORDS = 12  # lines
_MOST_BYTES = 256 * 1024


@dataclass(frozen=True)
class RunFailure:
    """What is wrong, where, and what to do about it.

    Args:
        message: one clause.
        hint: what the user can do; may be empty.
        case: name of the case concerned, if any.
        path: file or folder concerned, if any.
        lastLines: what the process last printed, where it said nothing better.
    """

    message: str
    hint: str = ""
    case: str = ""
    path: str = ""
    lastLines: tuple[str, ...] = ()

    @classmethod
    def ofEvent(cls, event: dict) -> RunFailure:
        """What an `error` event of the engine says."""
        fields = ("message", "hint", "case", "path")
        message, hint, case, path = (str(event.get(name) or "") for name in fields)
        return cls(message or str(event.get("error") or _("unknown error")), hint, case, path)

    def __str__(self) -> str:
        where = f"{self.case}: " if self.case else ""
        file = f" ({self.path})" if self.path else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{where}{self.message}{file}.{hint}"


def consoleFailure(console: Path, start: int, interrupted: bool, step: int, exitCode: int | None = None) -> RunFailure:
    """Why a run ended that could not say so in its events.

    Args:
        console: what its process printed; need not exist.
        start: byte at which the last start begins in it.
        interrupted: whether it had begun, and ended without a word.
        step: steps done.
        exitCode: of the process, if known.
    """
    lines = lastConsoleLines(console, start)
    errors = [event for line in lines if (event := parsedEvent(line)) and event["event"] == "error"]
    if errors:
        return RunFailure.ofEvent(errors[-1])
    words = tuple(line for line in lines if line.strip() and parsedEvent(line) is None)[-_LAST_WORDS:]
    code = _("without a word") if exitCode is None else exitWords(exitCode)
    if interrupted:
        message = _("the training ended at step {step}: {code}").format(step=step, code=code)
        hint = _(
            "It was killed (perhaps memory ran out) or the computer was switched off. Resume it to go on from the "
            "last checkpoint."
        )
    else:
        message = _("the training ended before it began: {code}").format(code=code)
        hint = _("Look at the log.") if words else _("It printed nothing. Check the Python interpreter.")
    last = f": {words[-1].strip()}" if words else ""
    return RunFailure(message + last, hint, lastLines=words)


def lastConsoleLines(console: Path, start: int = 0) -> list[str]:
    """The last lines that a process printed, also one without an end.

    Args:
        console: the file. start: byte to begin at.
    """
    tail = LineTail(console, begin=start, atMost=_MOST_BYTES)
    lines = tail.read()
    rest = tail.rest()
    return [*lines, rest] if rest else lines


def exitWords(code: int) -> str:
    """An exit code for people: `signal SIGKILL` says more than -9."""
    if code < 0:
        try:
            return _("signal {name}").format(name=signal.Signals(-code).name)
        except ValueError:
            pass
    return _("exit code {code}").format(code=code)
