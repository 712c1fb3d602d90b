"""Follows a training by looking into its folder now and then: the same for own runs and those found again."""

from __future__ import annotations

import time
from collections.abc import Callable

import qt

from TopoMAELib.line_tail import LineTail
from TopoMAELib.run_folder import RunFolder
from TopoMAELib.run_process import RunProcess
from TopoMAELib.run_progress import parsedEvent

_SEAT_AFTER = 5.0  # seconds between looks whether the Slicer that drives the run has gone
_OLD_CONSOLE = 64 * 1024  # bytes shown of what a run printed before


class RunWatcher:
    """Reads what a run writes until its process has ended, to the very last word.

    Args:
        process: the training.
        onNews: called with (events, lines): new events, and new lines of `console.log` that are no events.
        onFinished: called once, without arguments, when the training has ended and everything is read.
        interval: milliseconds between two looks.

    Attributes:
        folder: the reader of the folder, with the progress so far.
    """

    def __init__(
        self,
        process: RunProcess,
        onNews: Callable[[list[dict], list[str]], None],
        onFinished: Callable[[], None],
        interval: int = 500,
    ):
        self.process = process
        self.folder = RunFolder(process.runFolder.path)
        self._onNews, self._onFinished = onNews, onFinished
        launch = self.folder.launch
        begin = launch.consoleStart if launch is not None else 0
        self._console = LineTail(self.folder.path / "console.log", begin, atMost=_OLD_CONSOLE)
        self._lookedForSeat = time.monotonic()
        self._timer = qt.QTimer()
        self._timer.setInterval(interval)
        self._timer.timeout.connect(self.look)

    def start(self) -> None:
        """Look now and from now on."""
        self._timer.start()
        self.look()

    def stop(self) -> None:
        """Look no more; the training goes on."""
        self._timer.stop()

    def look(self) -> None:
        """Read what is new. Whether it runs is asked first: what it wrote before its end is then read for sure."""
        running = self.process.running
        if running:
            self.process.hurry()
            self._lookForSeat()
        events = self.folder.newEvents()
        lines = self._console.read()
        if not running:
            rest = self._console.rest()
            lines += [rest] if rest else []
        words = [line for line in lines if line.strip() and parsedEvent(line) is None]
        if events or words or running:
            self._onNews(events, words)
        if not running:
            self.stop()
            self._onFinished()

    def _lookForSeat(self) -> None:
        if self.process.readOnly is not None and time.monotonic() - self._lookedForSeat > _SEAT_AFTER:
            self._lookedForSeat = time.monotonic()
            self.process.takeSeat()
