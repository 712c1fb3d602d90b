"""Stopping on request: a file named `stop`, or a signal; the work then ends at its next safe point."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from topomae.events import STARTED
from topomae.files import remove_file

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # Ctrl-C, kill, closed terminal, Windows' Ctrl-Break
_SLACK = 2.0  # seconds; file systems and clocks round


class StopRequest:
    """Watches for a wish to stop. Signals are caught only if made in the main thread.

    Args:
        file: the file whose existence asks to stop. One older than this process asked an earlier one, and
            is removed.
    """

    def __init__(self, file: Path):
        self.honoured = False
        self._file = file
        self._signalled = False
        self._interrupts = 0
        self._pid = os.getpid()
        self._before: dict[int, Any] = {}
        if file.exists() and file.stat().st_mtime < STARTED - _SLACK:
            remove_file(file)
        if threading.current_thread() is threading.main_thread():
            self._catch_signals()

    def __call__(self) -> bool:
        """Whether to stop. Once true, always true."""
        self.honoured = self.honoured or self._signalled or self._file.exists()
        return self.honoured

    def close(self) -> None:
        """Give the signals back and remove the file: what it asked for has happened."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        remove_file(self._file)

    def _catch_signals(self) -> None:
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            # An ignored signal stays ignored (nohup, background jobs); None: set by C code, leave it.
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._caught)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked data loading process: it lives as long as its parent needs it
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self._signalled = True
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt
            if sys.stderr is not None and sys.stderr.isatty():
                os.write(2, b"\nStopping after this step. Press Ctrl-C again to stop at once.\n")
