"""Phantom data sets, made by the engine in a process of its own: something to try everything with."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from slicer.i18n import tr as _

from TopoMAELib.interpreter import Interpreter, findInterpreter
from TopoMAELib.processes import Process, ProcessEnd
from TopoMAELib.run_failure import RunFailure
from TopoMAELib.run_progress import parsedEvent

Finished = Callable[[str], None]

_SECONDS_TO_END = 5.0  # for a process that was killed


class PhantomMaker:
    """Writes one data set at a time, without network.

    Attributes:
        fraction: part that is done, 0 to 1; None before the engine has begun.

    Args:
        interpreterFinder: gives the Python that runs the engine.
    """

    def __init__(self, interpreterFinder: Callable[[], Interpreter] = findInterpreter) -> None:
        self.fraction: float | None = None
        self._findInterpreter = interpreterFinder
        self._process: Process | None = None
        self._interpreter: Interpreter | None = None
        self._folder = Path()
        self._pid: int | None = None  # of the engine itself; Slicer's Python is started by a launcher
        self._error: dict = {}
        self._lastLines: deque[str] = deque(maxlen=20)
        self._onFinished: Finished = lambda problem: None

    @property
    def busy(self) -> bool:
        """Whether a data set is being made."""
        return self._process is not None

    def make(
        self, folder: str | Path, onFinished: Finished, cases: int = 24, labelled: int = 4, seed: int = 0
    ) -> None:
        """Start; a folder that holds this very data set already is left as it is.

        Args:
            folder: of the data set; made if need be.
            onFinished: called once with "", or with a sentence that says what is wrong and what to do.
            cases: number of volumes, at least 3.
            labelled: number of training volumes with labels.
            seed: of everything random.
        Raises:
            RuntimeError: another one is being made.
        """
        if self.busy:
            raise RuntimeError(_("Another phantom data set is just being made."))
        self._interpreter = interpreter = self._findInterpreter()
        self._folder, self._onFinished = Path(os.path.abspath(folder)), onFinished
        self.fraction, self._pid, self._error = None, None, {}
        self._lastLines.clear()
        numbers = {"--cases": cases, "--labelled": labelled, "--seed": seed}
        arguments = ["-m", "topomae", "phantoms", "--output", str(self._folder), "--events", "json"]
        arguments += [part for name, number in numbers.items() for part in (name, str(number))]
        self._process = Process(self._onLine, self._lastLines.append, self._onEnded)
        self._process.start(interpreter.executable, arguments, interpreter.environment, interpreter.source)

    def wait(self, seconds: float) -> bool:
        """Keep the application alive for at most so long; returns whether the work has ended."""
        return self._process is None or self._process.wait(seconds)

    def cancel(self) -> None:
        """Give up; nothing more is told, and files that were written so far stay."""
        process, self._process = self._process, None
        if process is not None:
            self._onFinished = lambda problem: None
            process.kill(self._pid)
            process.wait(_SECONDS_TO_END, processEvents=False)

    def _onLine(self, line: str) -> None:
        event = parsedEvent(line)
        if event is None:
            self._lastLines.append(line)
        elif event["event"] == "start" and isinstance(event.get("pid"), int):
            self._pid = event["pid"]
        elif event["event"] == "error":
            self._error = event
        elif event["event"] == "progress" and event.get("of"):
            self.fraction = min(1.0, event["step"] / event["of"])

    def _onEnded(self, end: ProcessEnd) -> None:
        self._process = None
        self._onFinished(self._problem(end))

    def _problem(self, end: ProcessEnd) -> str:
        """Why there is no data set, in a sentence; empty if there is one."""
        program = self._interpreter.executable
        if end.exitCode == 0 and not end.crashed and not end.startError and (self._folder / "dataset.json").is_file():
            return ""
        if self._error:
            return str(RunFailure.ofEvent(self._error))
        if end.startError:
            text = _("The Python {program} could not be started ({reason}). Choose another one in TopoMAE Segment.")
            return text.format(program=program, reason=end.startError.rstrip("."))
        last = next((line.strip() for line in reversed(self._lastLines) if line.strip()), _("no message"))
        if "No module named" in last:
            text = _(
                "The engine, which makes the phantoms, is not installed in {program} yet ({reason}). Open the module "
                "TopoMAE Segment: it offers at its top to install what is missing."
            )
            return text.format(program=program, reason=last)
        text = _("The phantoms could not be made (exit code {code}): {reason}")
        return text.format(code=end.exitCode, reason=last)
