"""Reports of runs: written by the engine on demand, shown in the browser."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from slicer.i18n import tr as _

from TopoMAELib.harmless import isElsewhere
from TopoMAELib.interpreter import Interpreter
from TopoMAELib.processes import Process, ProcessEnd
from TopoMAELib.run_failure import RunFailure
from TopoMAELib.run_folder import RunFolder
from TopoMAELib.run_progress import parsedEvent

Finished = Callable[[Path | None, str], None]


class ReportMaker:
    """Writes `report.html` of one run at a time.

    Args:
        interpreterFinder: gives the Python that runs the engine.
    """

    def __init__(self, interpreterFinder: Callable[[], Interpreter]):
        self._findInterpreter = interpreterFinder
        self._process: Process | None = None
        self._pid: int | None = None  # of the engine itself; Slicer's Python is started by a launcher
        self._output = Path()
        self._errors: list[dict] = []
        self._lastLines: deque[str] = deque(maxlen=5)
        self._onFinished: Finished = lambda path, problem: None

    @property
    def busy(self) -> bool:
        """Whether a report is being written."""
        return self._process is not None

    def make(self, run: RunFolder, onFinished: Finished) -> None:
        """Write the report of a run, also of one that is going on.

        Args:
            run: of which; the report of a fine-tuning shows the pre-training it started from, too.
            onFinished: called once with (path, "") or (None, what is wrong).
        Raises:
            RuntimeError: another report is being written, or there is no interpreter.
        """
        if self.busy:
            raise RuntimeError(_("Another report is just being written."))
        interpreter = self._findInterpreter()
        self._output = run.path / "report.html"
        self._pid, self._errors, self._onFinished = None, [], onFinished
        self._lastLines.clear()
        arguments = ["-m", "topomae", "report", "--output", str(self._output), *_parts(run)]
        arguments += ["--title", _("Run {name}").format(name=run.name), "--events", "json"]
        self._process = Process(self._onLine, self._lastLines.append, self._onEnded)
        self._process.start(
            str(interpreter.executable), arguments, interpreter.environment, str(interpreter.source or "")
        )

    def cancel(self) -> None:
        """Give up a report that is being written."""
        if self._process is not None:
            process, self._process = self._process, None
            self._onFinished = lambda path, problem: None
            process.kill(self._pid)

    def _onLine(self, line: str) -> None:
        event = parsedEvent(line)
        if event is not None and event["event"] == "start" and isinstance(event.get("pid"), int):
            self._pid = event["pid"]
        if event is not None and event["event"] == "error":
            self._errors.append(event)

    def _onEnded(self, end: ProcessEnd) -> None:
        self._process = None
        if end.exitCode == 0 and not end.crashed and not end.startError and self._output.is_file():
            self._onFinished(self._output, "")
        elif self._errors:
            self._onFinished(None, str(RunFailure.ofEvent(self._errors[-1])))
        else:
            words = end.startError or " ".join(self._lastLines) or _("exit code {code}").format(code=end.exitCode)
            self._onFinished(None, _("The report could not be written: {words}").format(words=words))


def _parts(run: RunFolder) -> list[str]:
    """What belongs into the report."""
    if run.kind == "pretrain":
        return ["--pretrain", str(run.path)]
    parts = ["--finetune", str(run.path)]
    start = str(run.settings.get("init") or "")
    # The start may be named by its run folder or by the model folder in it.
    known = start and start != "scratch" and not isElsewhere(start, run.path)
    for folder in (Path(start), Path(start).parent) if known else ():
        if RunFolder(folder).kind == "pretrain":
            return [*parts, "--pretrain", str(folder)]
    return parts
