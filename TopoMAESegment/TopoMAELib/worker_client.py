"""Asks the warm worker, a process of the engine that serves this Slicer, and starts it when it is needed."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections import deque
from collections.abc import Callable

import qt
import slicer

from TopoMAELib import worker_errors
from TopoMAELib.interpreter import Interpreter, findInterpreter
from TopoMAELib.processes import Process, ProcessEnd
from TopoMAELib.waiting import ApplicationClosed, Waiting
from TopoMAELib.worker_errors import WorkerCancelled, WorkerError
from TopoMAELib.worker_request import RUNNING, Request, encoded

__all__ = ["Request", "WorkerCancelled", "WorkerClient", "WorkerError", "sharedWorkerClient", "stopSharedWorker"]

PROTOCOL = 1
COMMAND = ("-m", "topomae", "worker")
LOG_LINES, LOG_LINE_LENGTH = 200, 2000


class _Worker:
    """A running worker: its process, and what it has told of itself."""

    def __init__(self, interpreter: Interpreter, process: Process) -> None:
        self.interpreter, self.process = interpreter, process
        self.ready = False
        self.pid: int | None = None


class WorkerClient:
    """Sends requests to a worker, one process for all of them.

        request = client.request("betti", {"labels": volume, "output": folder}, onFinished=show)
        ...
        result = client.request("crop_size", {"pretrained": run}).wait()

    The worker does requests one after another. It is started at the first one, and again after a crash.

    Args:
        interpreter: the Python of the worker; by default looked up when a worker is started, and again before a
            request if the worker is idle, so that another choice of the user takes effect.
        startSeconds: how long a worker may take to start.
        cancelSeconds: how long the worker may take to obey a cancellation before it is ended.
    """

    def __init__(
        self, interpreter: Interpreter | None = None, startSeconds: float = 120.0, cancelSeconds: float = 5.0
    ) -> None:
        self._interpreter = interpreter
        self._startSeconds, self._cancelSeconds = startSeconds, cancelSeconds
        self._numbers = itertools.count(1)
        self._pending: dict[int, Request] = {}
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._worker: _Worker | None = None

    @property
    def running(self) -> bool:
        """Whether a worker runs or is being started."""
        return self._worker is not None

    @property
    def recentLog(self) -> list[str]:
        """The last lines that workers have written to stderr."""
        return list(self._log)

    def startUp(self) -> None:
        """Start the worker in the background, if none runs, so that the first request need not wait for that."""
        if self._worker is not None and not self._pending and self._otherInterpreterWanted():
            self.stop()
        if self._worker is None:
            self._start()

    def request(
        self,
        do: str,
        arguments: dict,
        onProgress: Callable[[float | None, float | None, str], None] | None = None,
        onWarning: Callable[[str], None] | None = None,
        onFinished: Callable[[Request], None] | None = None,
    ) -> Request:
        """Ask for something. Returns at once.

        Args:
            do: what is asked for.
            arguments: of the request; what JSON can say, numpy values and paths.
            onProgress: called with (fraction or None, seconds left or None, phase).
            onWarning: called with a message.
            onFinished: called with the request once, when it has ended in whatever way; never before this returns.

        Raises:
            TypeError, ValueError: the arguments cannot be sent.
        """
        request = Request(self, next(self._numbers), do, arguments, onProgress, onWarning, onFinished)
        self.startUp()
        self._pending[request.id] = request
        self._send()
        return request

    def stop(self, seconds: float = 1.0) -> None:
        """End the worker and cancel what it was asked for.

        Args:
            seconds: how long it may take to end by itself.
        """
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.process.write(encoded({"do": "quit"}))
            worker.process.closeInput()
        for request in self._takePending():
            request.end()
        if worker is not None and not worker.process.wait(seconds, processEvents=False):
            worker.process.kill(worker.pid)
            worker.process.wait(seconds, processEvents=False)

    def cancelRequest(self, request: Request) -> None:
        """Have a request end as cancelled; called by `Request.cancel`."""
        worker = self._worker
        if not request.sent or worker is None:
            self._pending.pop(request.id, None)
            request.end()
            return
        worker.process.write(encoded({"id": next(self._numbers), "do": "cancel", "request": request.id}))
        qt.QTimer.singleShot(round(1000 * self._cancelSeconds), lambda: self._endDisobedient(request, worker))

    def waitFor(self, request: Request, seconds: float | None = None) -> bool:
        """Process events until a request has ended; called by `Request.wait`.

        Returns: whether it has ended in time.

        Raises:
            ApplicationClosed: the user has closed Slicer; the request is cancelled.
        """
        deadline, waiting = None if seconds is None else time.monotonic() + seconds, Waiting()
        while request.state == RUNNING:
            try:
                waiting.processEvents()
            except ApplicationClosed:
                request.cancel()
                raise
            if self._worker is not None:
                self._worker.process.poll()
            if deadline is not None and time.monotonic() > deadline:
                break
        return request.state != RUNNING

    def _otherInterpreterWanted(self) -> bool:
        return self._interpreter is None and findInterpreter() != self._worker.interpreter

    def _start(self) -> None:
        interpreter = self._interpreter or findInterpreter()
        worker = _Worker(
            interpreter,
            Process(
                lambda line: self._onLine(worker, line),
                self._onLogLine,
                lambda end: self._onEnded(worker, end),
            ),
        )
        self._worker = worker
        self._log.clear()  # the words of an earlier worker would explain nothing
        worker.process.start(interpreter.executable, COMMAND, interpreter.environment, interpreter.source)
        qt.QTimer.singleShot(round(1000 * self._startSeconds), lambda: self._endLate(worker))

    def _send(self) -> None:
        """Send what waits. Nothing is sent to a worker that is not ready: what starts may not be a worker at all."""
        worker = self._worker
        if worker is not None and worker.ready:
            for request in list(self._pending.values()):
                if not request.sent:
                    request.sent = True
                    worker.process.write(request.line)

    def _onLogLine(self, line: str) -> None:
        self._log.append(line[:LOG_LINE_LENGTH])
        logging.debug("TopoMAE worker: %s", line[:LOG_LINE_LENGTH])

    def _onLine(self, worker: _Worker, line: str) -> None:
        if worker is not self._worker:
            return
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not worker.ready:
            self._onFirstLine(worker, line, message)
        elif not isinstance(message, dict) or not self._onMessage(worker, message):
            self._abandon(worker, worker_errors.answeredNonsense(line))

    def _onFirstLine(self, worker: _Worker, line: str, message: object) -> None:
        if not isinstance(message, dict) or message.get("event") != "ready":
            self._onLogLine(line)  # a launcher or a start-up file of Python may print something
        elif message.get("protocol") != PROTOCOL:
            self._abandon(worker, worker_errors.otherProtocol(message.get("protocol"), PROTOCOL, worker.interpreter))
        else:
            worker.ready = True
            worker.pid = message["pid"] if isinstance(message.get("pid"), int) else None
            self._send()

    def _onMessage(self, worker: _Worker, message: dict) -> bool:
        """Take a message; returns whether it is one of the protocol."""
        event, number = message.pop("event", None), message.pop("id", None)
        if event not in ("progress", "warning", "result", "error", "cancelled"):
            return False
        if number is None and event == "error":  # it could not read a request and cannot tell which one
            for request in self._takePending():
                request.end(error=worker_errors.answeredError(message, worker.interpreter))
            return True
        request = self._pending.get(number) if isinstance(number, int) else None
        if request is None:
            return True  # ended meanwhile, or the answer to a cancellation
        if event == "progress":
            request.showProgress(message.get("fraction"), message.get("seconds_left"), str(message.get("phase") or ""))
        elif event == "warning":
            request.warn(str(message.get("message") or ""))
        else:
            del self._pending[number]
            if event == "result":
                request.end(result=message)
            elif event == "error":
                request.end(error=worker_errors.answeredError(message, worker.interpreter))
            else:
                request.end()
        return True

    def _onEnded(self, worker: _Worker, end: ProcessEnd) -> None:
        if worker is not self._worker:
            return
        self._worker = None
        if worker.ready:
            doing = next((request.do for request in self._pending.values() if request.sent), _NOTHING)
            error = worker_errors.endedAtWork(end, doing, self._log)
        else:
            error = worker_errors.endedBeforeReady(end, worker.interpreter, self._log)
        self._fail(error)

    def _endLate(self, worker: _Worker) -> None:
        if worker is self._worker and not worker.ready:
            late = worker_errors.notReadyInTime(self._startSeconds, worker.interpreter, self._log)
            self._abandon(worker, late)

    def _endDisobedient(self, request: Request, worker: _Worker) -> None:
        """End a worker that has not obeyed a cancellation; a new one does what else it was asked for."""
        if request.state != RUNNING or worker is not self._worker:
            return
        logging.warning("TopoMAE: the worker did not obey a cancellation and is ended")
        self._worker = None
        worker.process.kill(worker.pid)
        del self._pending[request.id]
        for other in self._pending.values():
            other.sent = False
        if self._pending:
            self._start()
        request.end()

    def _abandon(self, worker: _Worker, error: WorkerError) -> None:
        self._worker = None
        worker.process.kill(worker.pid)
        self._fail(error)

    def _fail(self, error: WorkerError) -> None:
        logging.warning("TopoMAE: %s", error)
        for request in self._takePending():
            request.end(error=error)

    def _takePending(self) -> list[Request]:
        """All requests that have not ended. They are taken away first: a callback may make new ones."""
        pending = list(self._pending.values())
        self._pending = {}
        return pending


_NOTHING = "-"
_shared: WorkerClient | None = None


def sharedWorkerClient() -> WorkerClient:
    """The one client of the application; its worker ends with the application."""
    global _shared
    if _shared is None:
        _shared = WorkerClient()
        slicer.app.aboutToQuit.connect(stopSharedWorker)
    return _shared


def stopSharedWorker() -> None:
    """End the application's worker, if one runs; the next request starts a new one, with what is installed then."""
    if _shared is not None:
        _shared.stop()
