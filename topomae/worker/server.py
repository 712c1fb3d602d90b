"""Takes requests while one is being done, does them in order, and ends when nobody is there any more."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from topomae.errors import TopoMAEError
from topomae.versions import versions
from topomae.worker.protocol import PROTOCOL, Answers, BadRequest, parse, read_lines
from topomae.worker.requests import Cancel, Identity, Quit, Request
from topomae.worker.services import Services
from topomae.worker.tasks import Cancelled, Task

_PATIENCE = 5.0  # seconds that running work may take to notice that the worker ends


def serve() -> int:
    """Serve stdin and stdout until stdin ends, a `quit` or a signal; return the exit code."""
    source, sink = _take_over()
    with suppress(Exception):  # stderr may be no file
        faulthandler.enable()
    server = Server(source, Answers(sink), Services(), on_stop=_exit_soon)
    for name in ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP"):
        if number := getattr(signal, name, None):
            signal.signal(number, lambda *_: server.stop())
    server.run()
    return 0


class Server:
    """One thread reads, the main thread works.

    Args:
        source: file descriptor that requests come from.
        answers: where answers go.
        services: does the requests.
        on_stop: called once, when nothing more is to be done; work may still be going on.
    """

    def __init__(self, source: int, answers: Answers, services: Services, on_stop: Callable[[], None] = lambda: None):
        self._source = source
        self._on_stop = on_stop
        self._answers = answers
        self._services = services
        self._tasks: dict[Identity, Task] = {}  # those without a final answer, in order
        self._lock = threading.Lock()  # of `_tasks`
        # May be put to by a signal handler while the same thread waits in it, unlike `queue.Queue`.
        self._inbox: SimpleQueue[Task | None] = SimpleQueue()
        self._running: Task | None = None
        self._stopping = False

    def run(self) -> None:
        """Say that the worker is there, then do what comes until `stop`."""
        self._answers.announce(protocol=PROTOCOL, pid=os.getpid(), versions=versions())
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        self._services.start()
        while (task := self._inbox.get()) is not None and not self._stopping:
            self._do(task)
        with self._lock:
            left = list(self._tasks.values())
        for task in left:
            self._finish(task, "cancelled")

    def stop(self) -> None:
        """Cancel everything and make `run` return. May be called from a signal handler: takes no lock."""
        if self._stopping:
            return
        self._stopping = True
        if (task := self._running) is not None:
            task.cancelled = True
        self._inbox.put(None)
        self._on_stop()

    def _read(self) -> None:
        for line in read_lines(self._source):
            if line is not None and not line.strip():
                continue
            try:
                if line is None:
                    raise BadRequest("the line is too long", hint="Lines have at most 1 MB; send volumes as files.")
                if not self._take(parse(line)):
                    break
            except BadRequest as error:
                self._answers.send("error", self._unless_in_use(error.identity), **_told(error))
            except Exception as error:  # whatever it is, the next line may be a good one
                traceback.print_exc()
                self._answers.send("error", None, **_told(error))
        self.stop()

    def _take(self, request: Request) -> bool:
        """Queue or obey a request; False if it was the last one."""
        if isinstance(request, Quit):
            if request.id is not None:
                self._answers.send("result", request.id)
            return False
        if isinstance(request, Cancel):
            found = self._cancel(request.request)
            if request.id is not None:
                self._answers.send("result", request.id, found=found)
            return True
        task = Task(request, self._answers)
        with self._lock:
            in_use = request.id in self._tasks
            if not in_use:
                self._tasks[request.id] = task
        if in_use:
            raise BadRequest(f"the id {request.id!r} is that of a request not yet answered", hint="Use a new id.")
        self._inbox.put(task)
        return True

    def _cancel(self, identity: Identity) -> bool:
        """Cancel a request, a queued one at once; False if it has its final answer already."""
        with self._lock:
            task = self._tasks.get(identity)
            if task is not None:
                task.cancelled = True
            waiting = task is not None and not task.started
        if waiting:
            self._finish(task, "cancelled")
        return task is not None

    def _do(self, task: Task) -> None:
        with self._lock:
            task.started = True
        self._running = task
        try:
            if self._stopping:
                raise Cancelled
            task.check()
            result = self._services.do(task)
        except Cancelled:
            self._finish(task, "cancelled")
        except Exception as error:
            if not isinstance(error, TopoMAEError):
                traceback.print_exc()
            self._finish(task, "error", **_told(error))
        else:
            self._finish(task, "result", **result)
        finally:
            self._running = None

    def _finish(self, task: Task, event: str, **fields: object) -> None:
        """Give a request its final answer, unless it has one."""
        with self._lock:
            if self._tasks.get(task.request.id) is not task:
                return
            del self._tasks[task.request.id]
        self._answers.send(event, task.request.id, **fields)

    def _unless_in_use(self, identity: Identity | None) -> Identity | None:
        with self._lock:
            return None if identity in self._tasks else identity


def _told(error: Exception) -> dict[str, str]:
    """An error in words, as an answer has it."""
    name = type(error).__name__
    if isinstance(error, TopoMAEError):
        where = "" if error.path is None else f" ({error.path})"
        return {"error": name, "message": error.message + where, "hint": error.hint}
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":  # Python's, NumPy's; torch's
        hint = "Use a smaller volume or region, the CPU, or a machine with more memory."
        return {"error": name, "message": "there is not enough memory", "hint": hint}
    message = " ".join(f"{name}: {error}".split())[:1000]
    hint = "This should not happen: please report it with the last lines of the worker's log."
    return {"error": name, "message": f"something went wrong inside TopoMAE: {message}", "hint": hint}


def _exit_soon() -> None:
    """End the process anyhow: work inside a library looks up only after a while, and nobody waits for it."""
    impatient = threading.Timer(_PATIENCE, os._exit, (0,))
    impatient.daemon = True
    impatient.start()


def _take_over() -> tuple[int, int]:
    """Keep stdin and stdout for the protocol; everything else that reads finds nothing, and prints to stderr.

    The descriptors themselves are exchanged, because libraries print past `sys.stdout`, too. On Windows it
    also keeps them from asking about stdin, which would wait until the reading thread gets its next line.
    """
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return source, sink
