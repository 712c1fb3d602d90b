"""A request on its way to its one final answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from topomae.worker.protocol import Answers
from topomae.worker.requests import Request

T = TypeVar("T")
_REPORT_EVERY = 0.25  # seconds between progress answers
_LOOK_UP = 0.05  # seconds between looks whether a request was cancelled
_APART = threading.Lock()  # held by work that is done apart, also when nobody waits for it any more


class Cancelled(Exception):
    """The request was cancelled; raised wherever its work looks."""


class Task:
    """What the work on a request may say, and the place where it learns that nobody wants it any more.

    Args:
        request: to be done.
        answers: where to say it.

    Attributes:
        cancelled: set from outside; a plain attribute, because a signal handler may not wait for a lock.
        started: it has been taken out of the queue.
    """

    def __init__(self, request: Request, answers: Answers):
        self.request = request
        self.cancelled = False
        self.started = False
        self._answers = answers

    def check(self) -> None:
        """Go on only if the request is still wanted.

        Raises:
            Cancelled: it is not.
        """
        if self.cancelled:
            raise Cancelled

    def wait_for(self, event: Callable[[float], bool]) -> None:
        """Wait, but only as long as the request is wanted.

        Args:
            event: waits for at most so many seconds, and says whether there is nothing left to wait for.
        Raises:
            Cancelled: see `check`.
        """
        while not event(_LOOK_UP):
            self.check()

    def apart(self, work: Callable[[], T]) -> T:
        """Do work that takes long and does not look up, in a thread.

        If the request is cancelled, the work goes on to its end and its result is forgotten. The next such
        work waits until then, so that memory and cores are needed once.

        Args:
            work: releases the GIL for most of the time.
        Raises:
            Cancelled: see `check`.
        """
        self.wait_for(lambda seconds: _APART.acquire(timeout=seconds))
        done = threading.Event()
        outcome: dict[str, T | BaseException] = {}

        def run() -> None:
            try:
                outcome["result"] = work()
            except BaseException as error:
                outcome["error"] = error
            finally:
                _APART.release()
                done.set()

        threading.Thread(target=run, name="apart", daemon=True).start()
        self.wait_for(done.wait)
        if "error" in outcome:
            raise outcome["error"]
        return outcome["result"]

    def progress(self, phase: str, fraction: float | None = None, seconds_left: float | None = None) -> None:
        """Tell how far the work is.

        Args:
            phase: what is being done, one word.
            fraction: 0 to 1; None if unknown.
            seconds_left: estimate; None if unknown.
        Raises:
            Cancelled: see `check`.
        """
        self.check()
        rounded = None if fraction is None else round(fraction, 4)
        left = None if seconds_left is None else round(seconds_left, 1)
        self._answers.send("progress", self.request.id, phase=phase, fraction=rounded, seconds_left=left)

    def warning(self, message: str) -> None:
        """Tell what the user should know although the work goes on."""
        self._answers.send("warning", self.request.id, message=message)

    def steps(self, phase: str, of: int) -> Callable[[int], None]:
        """Follow a number of steps.

        Args:
            phase: see `progress`.
            of: number of steps.
        Returns:
            To be called with the number of steps finished since the last call; it may be negative, if some
            have to be done again. Raises `Cancelled`, see `check`.
        """
        began = told = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal done, told
            self.check()
            done = max(0, done + count)
            now = time.monotonic()
            if done >= of or now - told >= _REPORT_EVERY:
                told = now
                self.progress(phase, done / of, (now - began) * (of - done) / done if done else None)

        self.progress(phase, 0.0)
        return advance
