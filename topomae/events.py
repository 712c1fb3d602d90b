"""What a command tells the world while it works: events, and the sinks that show or store them.

An event is a kind and fields. Kinds: `start` (pid, versions, device), `case` (name, labelled, shape, spacing,
labels, errors, warnings), `plan`, `estimate` (phase, device, seconds_per_step, memory_gb, steps, hours),
`progress` (phase, step, of, seconds_left), `metric` (step, phase, values), `preview` (path), `checkpoint`
(name, path, step), `note` (message), `warning` (message, case), `error` (error, message, hint, case, path),
`end` (status: ok | stopped | failed). A metric's phase is the name of the progress it belongs to.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Literal, Protocol, TextIO

from topomae.errors import TopoMAEError
from topomae.versions import versions

STARTED = time.time()  # about when this process started: commands import this room before the heavy ones


class Sink(Protocol):
    """Where events go."""

    def write(self, event: dict[str, Any]) -> None:
        """Show or store one event of plain JSON values, with the fields `event` (its kind) and `time`."""

    def close(self) -> None:
        """Finish; called once."""


class Events:
    """Hands each event to every sink. A sink that fails is left out from then on: training goes on."""

    def __init__(self, *sinks: Sink):
        self._sinks = list(sinks)
        self._lock = threading.RLock()
        self._told: BaseException | None = None

    @classmethod
    def to(cls, how: Literal["auto", "rich", "json", "none"]) -> Events:
        """Events for a command: bars or plain lines for people, JSON lines for programs, or nothing."""
        if how == "none":
            return cls()
        if how == "json":
            return cls(JsonLines.on_stdout())
        from topomae.console import ConsoleSink

        return cls(ConsoleSink(live=True if how == "rich" else None))

    def add(self, sink: Sink) -> None:
        """Send the following events to `sink` as well."""
        with self._lock:
            self._sinks.append(sink)

    def remove(self, sink: Sink) -> None:
        """Close a sink and send it nothing more."""
        with self._lock:
            if sink in self._sinks:
                self._sinks.remove(sink)
            with suppress(Exception):
                sink.close()

    def close(self) -> None:
        """Close all sinks."""
        for sink in list(self._sinks):
            self.remove(sink)

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Send one event; never raises, whatever became of the sinks."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        event = {"event": kind, "time": now}
        event.update((name, to_plain(value)) for name, value in fields.items() if name not in event)
        with self._lock:
            for sink in list(self._sinks):
                try:
                    sink.write(event)
                except Exception as problem:
                    self.remove(sink)
                    self.warning(f"{type(sink).__name__} stopped: {type(problem).__name__}: {problem}")

    def start(self, **fields: Any) -> None:
        """Say who is working: process, host and versions of the libraries that decide the results."""
        self.emit("start", pid=os.getpid(), host=platform.node(), versions=versions(), **fields)

    def warning(self, message: str, *, case: str = "") -> None:
        """Tell the user of something that needs no action now."""
        self.emit("warning", message=message, case=case)

    def error(self, error: BaseException) -> None:
        """Tell why the command failed; a second call with the same exception says nothing."""
        if error is self._told:
            return
        self._told = error
        mine = isinstance(error, TopoMAEError)
        self.emit(
            "error",
            error=type(error).__name__,
            message=error.message if mine else f"{type(error).__name__}: {error}",
            hint=error.hint if mine else "",
            case=error.case if mine else "",
            path=error.path if mine else None,
        )

    def track(self, work: int | Iterable[Any], phase: str, *, done: int = 0) -> Progress:
        """Follow the progress of some work with an estimate of the time left.

        Args:
            work: what a loop goes over, or the number of steps. `for step in track(1000, "train", done=200)`
                gives 200 … 999; without a loop call `advance()` after each step.
            phase: name shown to the user.
            done: steps done by an earlier run of the same work (not contained in an iterable `work`).
        """
        return Progress(self, work, phase, done=done)


class JsonLines:
    """One strictly valid JSON object per line, flushed at once. A reader that went away is no error."""

    def __init__(self, stream: TextIO, *, close_stream: bool = False):
        self._stream = stream
        self._close_stream = close_stream
        self._open = True
        self._replaced: TextIO | None = None  # what sys.stdout was

    @classmethod
    def on_stdout(cls) -> JsonLines:
        """JSON lines on stdout; until it is closed whatever else prints goes to stderr, so that lines stay whole."""
        stream, sys.stdout = sys.stdout, sys.stderr
        sink = cls(stream)
        sink._replaced = stream
        return sink

    def write(self, event: dict[str, Any]) -> None:
        """Write one event."""
        if not self._open:
            return
        try:
            self._stream.write(json.dumps(to_plain(event), allow_nan=False) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # reader gone, disk full, stream closed
            self._open = False
            discard(self._stream)

    def close(self) -> None:
        """Close the stream if it is ours; give stdout back."""
        if self._replaced is not None:
            sys.stdout, self._replaced = self._replaced, None
        if self._close_stream:
            with suppress(OSError, ValueError):
                self._stream.close()


class StepTime:
    """Running mean of seconds per step which forgets: warm-up soon, rare long pauses (validation) slowly.

    The exponential weight of the newest step falls as 4/n, so that about the last quarter of all steps
    counts (at most some 500). The very first step pays for compilation and caches: it counts only until
    there is a second one.
    """

    def __init__(self):
        self.mean: float | None = None
        self._count = 0

    def add(self, seconds: float, steps: int = 1) -> None:
        """Take in `steps` steps that took `seconds` together."""
        self._count += 1
        n = max(1, self._count - 1)
        weight = max(1 / n, 4 / (n + 30), 1 / 500)
        self.mean = seconds / steps if n == 1 else self.mean + weight * (seconds / steps - self.mean)


class Progress:
    """Progress of one phase; made by `Events.track`."""

    def __init__(
        self,
        events: Events,
        work: int | Iterable[Any],
        phase: str,
        *,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
        interval: float = 0.5,
    ):
        self.step = done
        self.of = work if isinstance(work, int) else done + len(work) if isinstance(work, Sized) else None
        self._events, self._phase = events, phase
        self._items = range(done, work) if isinstance(work, int) else work
        self._clock, self._interval = clock, interval
        self._step_time = StepTime()
        self._stepped = self._emitted = clock()
        self._emit()

    def __iter__(self) -> Iterator[Any]:
        self._stepped = self._clock()
        for item in self._items:
            yield item
            self.advance()

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None while nothing is known."""
        if self.of is None or self._step_time.mean is None:
            return None
        return max(0.0, self._step_time.mean * (self.of - self.step))

    def advance(self, steps: int = 1) -> None:
        """Count finished steps; tells the world at most every half second, and at the end."""
        now = self._clock()
        self._step_time.add(now - self._stepped, steps)
        self._stepped = now
        self.step += steps
        if self.step == self.of or now - self._emitted >= self._interval:
            self._emitted = now
            self._emit()

    def _emit(self) -> None:
        left = self.seconds_left
        left = None if left is None else round(left, 1)
        self._events.emit("progress", phase=self._phase, step=self.step, of=self.of, seconds_left=left)


def to_plain(value: Any) -> Any:
    """The same as plain JSON values: NaN and infinities become null, arrays lists, unknown things text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    for method in ("tolist", "model_dump"):  # NumPy and torch; pydantic
        if callable(convert := getattr(value, method, None)):
            with suppress(Exception):
                return to_plain(convert())
    return str(value)


def discard(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, or Python would fail on it once more when it exits."""
    with suppress(Exception):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
