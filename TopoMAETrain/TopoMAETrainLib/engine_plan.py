"""Asking the engine about a data set: its cases, its plan, how long training would take."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slicer.i18n import tr as _

from TopoMAELib.interpreter import Interpreter, howToInstall
from TopoMAELib.processes import Process, ProcessEnd

_LAST_LINES = 20


@dataclass(frozen=True)
class PlanQuestion:
    """What the engine is asked.

    Attributes:
        dataFolder: folder of the data set.
        size: network size. device: where to compute.
        modalityNames: names of the image channels, where the data set does not name them.
        overrides: fields of the plan set by hand.
        estimate: do a few steps, to tell time and memory.
    """

    dataFolder: str
    size: str = "small"
    device: str = "auto"
    modalityNames: tuple[str, ...] = ()
    overrides: tuple[tuple[str, str], ...] = ()
    estimate: bool = False

    def arguments(self, folder: Path) -> list[str]:
        """Arguments of the engine; plan and findings are written into `folder`."""
        command = ["-m", "topomae", "plan", "--events", "json", "--check-labels", "--leave-out-bad"]
        command += ["--data", self.dataFolder, "--size", self.size, "--device", self.device]
        command += ["--output", str(folder / "plan.json"), "--remember", str(folder / "found.sqlite")]
        for name in self.modalityNames:
            command += ["--modality", name]
        for name, value in self.overrides:
            command += ["--set", f"{name}={value}"]
        return [*command, "--estimate"] if self.estimate else command


@dataclass(frozen=True)
class CaseFound:
    """A case as the engine found it.

    Attributes:
        name: of the case. labelled: whether it has a label map.
        shape: voxels left-right, posterior-anterior, inferior-superior; None if it could not be read.
        spacing: mm in the same order, or None.
        labels: voxels of each label value.
        errors: why it cannot be used. warnings: what the user should know.
    """

    name: str
    labelled: bool
    shape: tuple[int, ...] | None
    spacing: tuple[float, ...] | None
    labels: dict[int, int]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, event: Mapping) -> CaseFound:
        """From an event `case`."""
        return cls(
            name=str(event["name"]),
            labelled=bool(event["labelled"]),
            shape=tuple(event["shape"]) if event.get("shape") else None,
            spacing=tuple(event["spacing"]) if event.get("spacing") else None,
            labels={int(value): int(count) for value, count in (event.get("labels") or {}).items()},
            errors=tuple(event.get("errors") or ()),
            warnings=tuple(event.get("warnings") or ()),
        )


@dataclass
class PlanAnswer:
    """What the engine said.

    Attributes:
        cases: as found.
        plan: content of plan.json; empty if there is no plan.
        estimates: events `estimate`, by phase.
        device: where it would be trained, in words.
        warnings: that belong to no case.
        error: why there is no plan, a sentence; "" if there is one.
        settingIsWrong: whether the error is about a field of the plan, or a device.
    """

    cases: list[CaseFound] = field(default_factory=list)
    plan: dict = field(default_factory=dict)
    estimates: dict[str, dict] = field(default_factory=dict)
    device: str = ""
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    settingIsWrong: bool = False


class PlanProcess:
    """One run of `topomae plan` in the background.

    Args:
        interpreter: the Python that runs the engine.
        folder: for the plan and for what is remembered between runs.
        onProgress: called with (phase, fraction or None, seconds left or None).
        onFinished: called once with a `PlanAnswer`; not after `cancel`.
        processFactory: makes the process; for tests.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        folder: Path,
        onProgress: Callable[[str, float | None, float | None], None],
        onFinished: Callable[[PlanAnswer], None],
        processFactory: Callable = Process,
    ) -> None:
        self._interpreter, self._folder = interpreter, folder
        self._onProgress, self._onFinished = onProgress, onFinished
        self._answer = PlanAnswer()
        self._lastLines: deque[str] = deque(maxlen=_LAST_LINES)
        self._cancelled = False
        self._pid: int | None = None  # of the engine itself; Slicer's Python is started by a launcher
        self._process = processFactory(self._onLine, self._lastLines.append, self._onEnded)

    def start(self, question: PlanQuestion) -> None:
        """Ask; the answer comes through `onFinished`."""
        # An old plan must not be taken for the answer.
        (self._folder / "plan.json").unlink(missing_ok=True)
        self._process.start(
            self._interpreter.executable, question.arguments(self._folder), self._interpreter.environment
        )

    def cancel(self) -> None:
        """Stop at once; nothing more is told."""
        self._cancelled = True
        self._process.kill(self._pid)

    def _onLine(self, line: str) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            self._lastLines.append(line)
            return
        if self._cancelled:
            return
        try:
            self._take(kind, event)
        except (KeyError, TypeError, ValueError):
            logging.warning("TopoMAETrain: the engine told something that is not understood: %s", line[:500])

    def _take(self, kind: str, event: Mapping) -> None:
        answer = self._answer
        if kind == "start":
            self._pid = int(event["pid"])
            answer.device = str(event.get("device") or "")
        elif kind == "progress":
            fraction = event["step"] / event["of"] if event.get("of") else None
            self._onProgress(str(event["phase"]), fraction, event.get("seconds_left"))
        elif kind == "case":
            answer.cases.append(CaseFound.of(event))
        elif kind == "estimate":
            answer.estimates[str(event["phase"])] = dict(event)
        elif kind == "warning" and not event.get("case"):
            answer.warnings.append(str(event["message"]))
        elif kind == "error":
            answer.error = errorWords(event)
            answer.settingIsWrong = event.get("error") == "BadSettingError"

    def _onEnded(self, end: ProcessEnd) -> None:
        if self._cancelled:
            return
        answer = self._answer
        if not answer.error:
            answer.plan = self._readPlan() if end.exitCode == 0 and not end.crashed and not end.startError else {}
            if not answer.plan:
                answer.error = self._whatHappened(end)
        self._onFinished(answer)

    def _readPlan(self) -> dict:
        try:
            plan = json.loads((self._folder / "plan.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return plan if isinstance(plan, dict) else {}

    def _whatHappened(self, end: ProcessEnd) -> str:
        if end.startError:
            text = _("The Python {executable} could not be started ({reason}); choose another one.")
            return text.format(executable=self._interpreter.executable, reason=end.startError)
        last = next((line.strip() for line in reversed(self._lastLines) if line.strip()), _("no message"))
        text = _("The engine ended without an answer (exit code {code}): {last}").format(code=end.exitCode, last=last)
        return f"{text}. {howToInstall(self._interpreter)}" if "No module named" in last else text


def errorWords(event: Mapping) -> str:
    """An event `error` as a sentence: case, message, file, remedy."""
    case = f"{event['case']}: " if event.get("case") else ""
    path = f" ({event['path']})" if event.get("path") else ""
    return f"{case}{event.get('message', '')}{path}. {event.get('hint') or ''}".strip()


def splitNames(text: str) -> list[str]:
    """Names as typed, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
