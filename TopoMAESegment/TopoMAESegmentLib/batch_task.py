"""Many pieces of work in the worker, one after the other; one that fails does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib.waiting import ApplicationClosed, Waiting
from TopoMAESegmentLib.worker_task import TaskCancelled, WorkerTask


class BatchError(RuntimeError):
    """Some pieces failed; the message names them and says why."""


@dataclass(frozen=True)
class BatchItem:
    """One piece: its name, and a function that starts it, given onProgress and onFinished."""

    name: str
    start: Callable[[Callable, Callable], WorkerTask]


class BatchTask:
    """Pieces of work as one, used like a `WorkerTask`.

    Attributes:
        state: "running", "done", "failed" (some pieces failed, the others are done) or "cancelled".
        value: per piece what it gave; None where it failed or was not reached.
        error: the exception with a message for the user, once failed or cancelled.
        warnings: what the user should know, with the names of the pieces.
    """

    def __init__(
        self,
        items: Sequence[BatchItem],
        onProgress: Callable | None = None,
        onFinished: Callable[[BatchTask], None] | None = None,
        warnings: Sequence[str] = (),
    ):
        """Start the first piece.

        Args:
            items: the pieces, in order.
            onProgress: called with (fraction, seconds left or None, name of the piece).
            onFinished: called with this task, exactly once.
            warnings: what the user should know from the beginning.
        """
        self.state, self.error = "running", None
        self.warnings = list(warnings)
        self.value: list = [None] * len(items)
        self._items, self._onProgress, self._onFinished = list(items), onProgress, onFinished
        self._failures: list[tuple[str, str]] = []
        self._place, self._current = -1, None
        self._cancelled = False
        self._began = time.monotonic()
        self._scene = slicer.mrmlScene
        self._tag = self._scene.AddObserver(self._scene.StartCloseEvent, self._onSceneClose)
        self._next()

    def cancel(self) -> None:
        """Give up; what is done stays. The state changes when the worker has answered."""
        self._cancelled = True
        if self._current is not None:
            self._current.cancel()

    def wait(self) -> list:
        """Wait for the end, while the application stays alive; returns `value`.

        Raises:
            TaskCancelled: it was cancelled.
            BatchError: some pieces failed.
            ApplicationClosed: the user has closed Slicer; what is left is cancelled.
        """
        waiting = Waiting()
        while self.state == "running":
            if self._current is not None and self._current.state == "running":
                try:
                    self._current.wait()
                except ApplicationClosed:
                    self.cancel()
                    raise
                except Exception as error:  # it is told by `error` in the end
                    logging.debug("A piece of a batch ended early: %s", error)
            waiting.processEvents()
        if self.error is not None:
            raise self.error
        return self.value

    def _next(self) -> None:
        self._place, self._current = self._place + 1, None
        if self._cancelled or self._place == len(self._items) or self._isHopeless():
            self._finish()
            return
        item = self._items[self._place]
        self._tell(0.0)
        try:
            task = item.start(self._onItemProgress, self._onItemFinished)
        except Exception as error:
            self._fail(item.name, error)
            qt.QTimer.singleShot(0, self._next)
            return
        if task.state == "running":
            self._current = task

    def _onItemProgress(self, fraction: float | None, secondsLeft: float | None, phase: str) -> None:
        self._tell(fraction or 0.0)

    def _onItemFinished(self, task: WorkerTask) -> None:
        name = self._items[self._place].name
        self.warnings += [f"{name}: {warning}" for warning in task.warnings]
        if task.state == "done":
            self.value[self._place] = task.value
        elif task.state == "failed" or not self._cancelled:
            self._fail(name, task.error)
        qt.QTimer.singleShot(0, self._next)

    def _fail(self, name: str, error: Exception) -> None:
        logging.warning("%s could not be segmented: %s", name, error)
        self._failures.append((name, str(error)))

    def _isHopeless(self) -> bool:
        """Whether nothing but the same failure can be expected: the first two ended with the same words."""
        reasons = [reason for _name, reason in self._failures]
        return len(reasons) == self._place == 2 and reasons[0] == reasons[1]

    def _onSceneClose(self, caller: object, event: object) -> None:
        self.cancel()

    def _finish(self) -> None:
        self._scene.RemoveObserver(self._tag)
        if self._cancelled:
            self.state, self.error = "cancelled", TaskCancelled(_("Cancelled."))
        elif self._failures:
            self.state, self.error = "failed", BatchError(self._describeFailures())
        else:
            self.state = "done"
        if self._onFinished is not None:
            self._onFinished(self)

    def _describeFailures(self) -> str:
        undone = sum(value is None for value in self.value)
        first = "; ".join(f"{name}: {reason}" for name, reason in self._failures[:3])
        message = _("{failed} of {all} could not be segmented. {reasons}")
        text = message.format(failed=undone, all=len(self._items), reasons=first)
        return text + (" …" if len(self._failures) > 3 else "")

    def _tell(self, fraction: float) -> None:
        if self._onProgress is None:
            return
        done = (self._place + fraction) / len(self._items)
        elapsed = time.monotonic() - self._began
        secondsLeft = elapsed * (1 - done) / done if done > 0 else None
        number = _("{name} ({number} of {all})")
        name = number.format(name=self._items[self._place].name, number=self._place + 1, all=len(self._items))
        self._onProgress(done, secondsLeft, name)
