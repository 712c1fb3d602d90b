"""Events for people: progress bars on a terminal, sparse plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from topomae.events import discard
from topomae.harmless import printable

_ENDINGS = {
    "ok": ("finished", "green"),
    "stopped": ("stopped; the same command goes on from here", "yellow"),
    "failed": ("failed", "red"),
}
_VALUES_SHOWN = 4  # a line of a terminal holds no more


class ConsoleSink:
    """Shows events on a terminal (one bar per phase, with time left and latest values) or as plain lines.

    Args:
        stream: where to print; stdout by default.
        live: bars or plain lines; by default bars if the stream is a terminal.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        stream = stream or sys.stdout
        with suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="replace")  # Windows code pages lack most letters
        dumb = not stream.isatty() or Console(file=stream).is_dumb_terminal
        self._live = not dumb if live is None else live
        self._console = LastingConsole(file=stream, force_terminal=self._live, highlight=False)
        self._phases = _Bars(self._console) if self._live else _Lines(self._print, clock)

    def write(self, event: dict[str, Any]) -> None:
        """Show one event."""
        show = getattr(self, f"_show_{event['event']}", None)
        fields = {name: value for name, value in event.items() if name not in ("event", "time")}
        if show is not None and not self._console.quiet:
            try:
                show(**fields)
            except OSError:  # older versions of rich do not call on_broken_pipe
                self._console.on_broken_pipe()

    def close(self) -> None:
        """Leave the bars as they are and give the terminal back."""
        self._phases.stop()

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(printable(text), style=style), soft_wrap=not self._live)

    def _show_start(self, versions: dict | None = None, **fields: Any) -> None:
        shown = [f"TopoMAE {(versions or {}).get('topomae', '')}".strip()]
        shown += [str(fields[name]) for name in ("kind", "device", "folder") if fields.get(name)]
        self._print(" · ".join(shown) + (" · going on" if fields.get("resuming") else ""), "bold")

    def _show_plan(self, reasons: dict | None = None, **fields: Any) -> None:
        for name, value in fields.items():
            reason = (reasons or {}).get(name, "")
            self._print(f"  {name}: {readable(value)}" + (f"  ({reason})" if reason else ""))

    def _show_estimate(self, phase: str, seconds_per_step: float, memory_gb: float, steps: int, **_: Any) -> None:
        self._phases.stop()
        took = f"{seconds_per_step:g} s per step, {duration(seconds_per_step * steps)} for {steps} steps"
        self._print(f"  {phase}: {took}, {memory_gb:g} GB of memory")

    def _show_note(self, message: str, **_: Any) -> None:
        self._print(message)

    def _show_progress(self, phase: str, step: int, of: int | None, seconds_left: float | None, **_: Any) -> None:
        self._phases.progress(phase, step, of, seconds_left)

    def _show_metric(self, phase: str, values: dict[str, float], **_: Any) -> None:
        self._phases.values(phase, "  ".join(f"{k} {readable(v)}" for k, v in list(values.items())[:_VALUES_SHOWN]))

    def _show_warning(self, message: str, case: str = "", **_: Any) -> None:
        self._print(f"warning: {f'case {case}: ' if case else ''}{message}", "yellow")

    def _show_error(self, message: str, hint: str = "", case: str = "", path: str | None = None, **_: Any) -> None:
        where = f" ({path})" if path else ""
        self._print(f"error: {f'case {case}: ' if case else ''}{message}{where}. {hint}".rstrip(), "red")

    def _show_end(self, status: str, **_: Any) -> None:
        self._phases.stop()
        text, style = _ENDINGS.get(status, (status, ""))
        self._print(text, style)


class LastingConsole(Console):
    """A console whose reader may go away (`topomae … | head`) without ending the program as rich would."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard(self.file)


class _Bars:
    """One rich progress bar per phase."""

    def __init__(self, console: Console):
        self._console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._steps: dict[str, int] = {}

    def progress(self, phase: str, step: int, of: int | None, seconds_left: float | None) -> None:
        bars = self._started()
        if phase not in self._tasks:
            self._tasks[phase] = bars.add_task(printable(phase), total=of, left=None, values="")
        elif step < self._steps[phase]:  # the phase comes round again
            bars.reset(self._tasks[phase])
        bars.update(self._tasks[phase], completed=step, total=of, left=seconds_left)
        self._steps[phase] = step

    def values(self, phase: str, text: str) -> None:
        if self._bars is not None and phase in self._tasks:
            self._bars.update(self._tasks[phase], values=printable(text))

    def stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}

    def _started(self) -> Progress:
        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                _Times(),
                TextColumn("{task.fields[values]}", markup=False, table_column=Column(no_wrap=True)),
                console=self._console,
                refresh_per_second=4,
            )
            self._bars.start()
        return self._bars


class _Times(ProgressColumn):
    """Time used, and the estimate of what is left (which knows more of steps than rich's own)."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        shown = duration(task.elapsed or 0.0)
        return Text(shown if left is None or task.finished else f"{shown}, {duration(left)} left", style="cyan")


@dataclass
class _Phase:
    """What a log file knows of a phase; times in seconds of the clock."""

    began: float
    printed: float
    tenth: int
    step: int
    of: int | None
    values: str = ""


class _Lines:
    """A line per tenth of a phase or per 10 seconds; ever sparser in long phases, 5 minutes at most."""

    def __init__(self, print_line: Callable[[str], None], clock: Callable[[], float]):
        self._print, self._clock = print_line, clock
        self._phases: dict[str, _Phase] = {}

    def progress(self, phase: str, step: int, of: int | None, seconds_left: float | None) -> None:
        now = self._clock()
        tenth = 10 * step // of if of else 0
        known = self._phases.get(phase)
        if known is None or step < known.step:
            self._phases[phase] = _Phase(now, now, tenth, step, of)
            return
        known.step = step
        interval = min(300.0, max(10.0, (now - known.began) / 50))
        if tenth > known.tenth or now - known.printed >= interval:
            known.tenth, known.printed = tenth, now
            count = f"{step}/{of} ({100 * step // of} %)" if of else str(step)
            left = "" if seconds_left is None or step == of else f"  {duration(seconds_left)} left"
            self._print(f"{phase}  {count}{left}  {known.values}".rstrip())

    def values(self, phase: str, text: str) -> None:
        known = self._phases.get(phase)
        if known is None:
            return
        known.values = text
        if known.step == known.of:  # no more lines would come: the result of a validation, say
            self._print(f"{phase}  {text}")

    def stop(self) -> None:
        self._phases = {}


def duration(seconds: float) -> str:
    """Seconds as people say them: `12 s`, `3 min 20 s`, `1 h 05 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def readable(value: Any) -> str:
    """A value of a plan or a metric in a few characters."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        separator = " × " if all(isinstance(item, (int, float)) for item in value) else ", "
        return separator.join(readable(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {readable(item)}" for name, item in value.items())
    return str(value)
