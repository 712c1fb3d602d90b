"""A program in the background, its output line by line. Built on QProcess: no threads, no shell, no console window."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import qt
import slicer

from TopoMAELib.waiting import Waiting

# An answer is far shorter. What goes on without a line end for longer than this is cut, so that memory is not filled.
LONGEST_LINE = 16 * 1024 * 1024

# Nothing can be imported from here.
NEUTRAL_FOLDER = str(Path(__file__).resolve().parents[1] / "Resources")

# Printed by the launcher of Slicer's own Python, which turns a crash of its child into exit code 1.
_LAUNCHER_SAW_A_CRASH = "exit abnormally"

# Processes that have not ended. One that its owner has dropped, after killing it, must live until Qt is done with it.
_unended: set[Process] = set()


class LineSplitter:
    """Cuts a stream of bytes into lines of text, wherever the borders of the chunks lie.

    Args:
        longest: bytes after which a line is cut.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes; returns the lines that are complete now, without their ends."""
        *complete, rest = chunk.split(b"\n")
        lines = []
        for piece in complete:
            self._pieces.append(piece)
            lines.append(self.rest())
        if rest:
            self._pieces.append(rest)
            self._length += len(rest)
            if self._length > self._longest:
                lines.append(self.rest())
        return lines

    def rest(self) -> str:
        """What came after the last line end; it is forgotten."""
        line = b"".join(self._pieces).rstrip(b"\r")
        self._pieces, self._length = [], 0
        # Invalid bytes must not cost the line: a log may hold anything.
        return line.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class ProcessEnd:
    """How a process ended.

    Args:
        exitCode: its exit code; for a crash on Linux and macOS the number of the signal.
        crashed: whether it was ended by the system or by `kill`.
        startError: why it could not be started, else "".
        unfinishedLine: what it had written to stdout after the last line end.
    """

    exitCode: int
    crashed: bool
    startError: str = ""
    unfinishedLine: str = ""


class Process:
    """One run of a program.

    Args:
        onOutputLine: called with each line of stdout.
        onErrorLine: called with each line of stderr.
        onEnded: called once with a `ProcessEnd`, after the last line; never from within `start`.
    """

    def __init__(
        self,
        onOutputLine: Callable[[str], None] | None = None,
        onErrorLine: Callable[[str], None] | None = None,
        onEnded: Callable[[ProcessEnd], None] | None = None,
    ) -> None:
        self._onOutputLine = onOutputLine or _ignore
        self._onErrorLine = onErrorLine or _ignore
        self._onEnded = onEnded or _ignore
        self._output, self._errors = LineSplitter(), LineSplitter()
        # Lines wait here, not in a loop over them: a callback that waits for a later line must be able to get at it.
        self._lines: deque[tuple[Callable[[str], None], str]] = deque()
        self._process = None
        self._wasStarted = self._inStart = False
        self.end: ProcessEnd | None = None

    def start(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None, folder: str = ""
    ) -> None:
        """Start the program; whether that works is known later.

        Args:
            program: path of the executable.
            arguments: passed on as they are.
            environment: all environment variables of the process; None for those of Slicer.
            folder: working folder; "" for one that holds no Python files. Not that of Slicer, which may be where the
                user opened a file: `python -m` imports from its working folder first.
        """
        # The application is the parent: an object owned by Python would be destroyed, within its own signal, by
        # dropping it there.
        process = qt.QProcess(slicer.app)
        if environment is not None:
            variables = qt.QProcessEnvironment()
            for name, value in environment.items():
                variables.insert(name, value)
            process.setProcessEnvironment(variables)
        process.setWorkingDirectory(folder or NEUTRAL_FOLDER)
        # Slots without arguments: which overload of `finished` PythonQt takes differs between Qt 5 and Qt 6.
        process.started.connect(self._onStarted)
        process.errorOccurred.connect(self._onError)
        process.finished.connect(self._finish)
        process.readyReadStandardOutput.connect(self._readOutput)
        process.readyReadStandardError.connect(self._readErrors)
        self._process, self._inStart = process, True
        _unended.add(self)
        process.start(program, [str(argument) for argument in arguments])
        self._inStart = False

    @property
    def alive(self) -> bool:
        """Whether the program runs or is being started."""
        return self._process is not None and self._process.state() != qt.QProcess.NotRunning

    def write(self, data: bytes) -> None:
        """Send bytes to stdin; nothing happens once the program has ended."""
        if self.alive:
            self._process.write(data)

    def closeInput(self) -> None:
        """End stdin, after what has been written was sent."""
        if self.alive:
            self._process.closeWriteChannel()

    def kill(self, pid: int | None = None) -> None:
        """End the program at once.

        Args:
            pid: id of the process that works, if the started program is only its launcher, as for Slicer's own
                Python: ending the launcher would leave that process alone.
        """
        if not self.alive:
            return
        if pid:
            killProcess(pid)
        self._process.closeWriteChannel()
        self._process.kill()

    def poll(self, milliseconds: int = 20) -> None:
        """Wait shortly for output, and take what is there; also works where no event loop runs."""
        if self.alive:
            self._process.waitForReadyRead(milliseconds)
        # A slot may have asked for this, then Qt sends no further signals until it returns: look without them.
        self._readOutput()
        self._readErrors()
        if self._process is not None and not self.alive and not self._inStart:
            self._finish()

    def wait(self, seconds: float, processEvents: bool = True) -> bool:
        """Wait for the end.

        Args:
            seconds: give up after this long.
            processEvents: keep the application alive meanwhile.

        Returns: whether the program has ended; False, too, if the user closes Slicer meanwhile.
        """
        deadline, waiting = time.monotonic() + seconds, Waiting()
        while self._process is not None and time.monotonic() < deadline:
            if processEvents:
                slicer.app.processEvents()
                if waiting.isOver:
                    break
            self.poll()
        return self._process is None

    def _onStarted(self) -> None:
        self._wasStarted = True

    def _onError(self) -> None:
        if self._wasStarted or self._process is None:
            return  # a crash: `finished` follows
        if self._inStart:  # on Windows; the caller of `start` is not ready for its end
            qt.QTimer.singleShot(0, self._finish)
        else:
            self._finish()

    def _readOutput(self) -> None:
        if self._process is not None:
            lines = self._output.feed(_bytes(self._process.readAllStandardOutput()))
            self._lines.extend((self._onOutputLine, line) for line in lines)
        self._handOver()

    def _readErrors(self) -> None:
        if self._process is not None:
            lines = self._errors.feed(_bytes(self._process.readAllStandardError()))
            self._lines.extend((self._onErrorLine, line) for line in lines)
        self._handOver()

    def _handOver(self) -> None:
        while self._lines:
            take, line = self._lines.popleft()
            take(line)

    def _finish(self) -> None:
        self._readOutput()
        self._readErrors()
        process, self._process = self._process, None
        if process is None:
            return
        lastWords = self._errors.rest()
        if lastWords:
            self._onErrorLine(lastWords)
        crashed = self._wasStarted and process.exitStatus() == qt.QProcess.CrashExit
        startError = "" if self._wasStarted else str(process.errorString())
        self.end = ProcessEnd(process.exitCode(), crashed, startError, self._output.rest())
        for name, slot in (
            ("started", self._onStarted),
            ("errorOccurred", self._onError),
            ("finished", self._finish),
            ("readyReadStandardOutput", self._readOutput),
            ("readyReadStandardError", self._readErrors),
        ):
            getattr(process, name).disconnect(slot)
        process.deleteLater()
        _unended.discard(self)
        self._onEnded(self.end)


def killProcess(pid: int) -> None:
    """End a process of this machine at once; one that has ended already is left in peace."""
    # Windows has no SIGKILL; there any signal means TerminateProcess, and no console window is needed for it.
    if not 1 < pid < 2**31:  # 0 and negative numbers mean groups of processes
        return
    with contextlib.suppress(OSError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def launcherSawACrash(line: str) -> bool:
    """Whether a line of stderr comes from the launcher of Slicer's Python and tells that its child has crashed."""
    return _LAUNCHER_SAW_A_CRASH in line


def _bytes(data: object) -> bytes:
    return data.data() or b""  # PythonQt gives None for nothing


def _ignore(*_ignored: object) -> None:
    pass
