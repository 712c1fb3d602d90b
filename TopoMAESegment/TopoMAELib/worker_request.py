"""One request to the worker, from asking to its end."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from TopoMAELib.worker_errors import WorkerCancelled, WorkerError

if TYPE_CHECKING:
    from TopoMAELib.worker_client import WorkerClient

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


class Request:
    """A request; made by `WorkerClient.request`.

    Attributes:
        id: number of the request.
        do: what is asked for.
        state: "running", "done", "failed" or "cancelled".
        result: the worker's answer, a dict; None unless done.
        error: a `WorkerError`; None unless failed.
        cancelling: whether `cancel` was called.
    """

    def __init__(
        self,
        client: WorkerClient,
        number: int,
        do: str,
        arguments: dict,
        onProgress: Callable[[float | None, float | None, str], None] | None = None,
        onWarning: Callable[[str], None] | None = None,
        onFinished: Callable[[Request], None] | None = None,
    ) -> None:
        self._client = client
        self.id, self.do = number, do
        self.line = encoded({**arguments, "id": number, "do": do})
        self._onProgress, self._onWarning, self._onFinished = onProgress, onWarning, onFinished
        self.sent = self.cancelling = False
        self.state = RUNNING
        self.result: dict | None = None
        self.error: WorkerError | None = None

    def cancel(self) -> None:
        """Give the request up. It ends as cancelled as soon as the worker obeys, at the latest a few seconds later."""
        if self.state == RUNNING and not self.cancelling:
            self.cancelling = True
            self._client.cancelRequest(self)

    def wait(self, seconds: float | None = None) -> dict:
        """Wait for the end; the application stays alive meanwhile. Also works where no event loop runs.

        Args:
            seconds: give up waiting after this long; the request goes on.

        Returns: the result.

        Raises:
            WorkerError: the request failed, or the time was up (its state is "running" then).
            WorkerCancelled: it was cancelled.
        """
        if not self._client.waitFor(self, seconds):
            raise WorkerError(_('"{do}" was not answered within {n} seconds.').format(do=self.do, n=seconds))
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise WorkerCancelled(_("Cancelled."))
        return self.result

    def showProgress(self, fraction: float | None, secondsLeft: float | None, phase: str) -> None:
        """Hand on a progress message of the worker."""
        if self.state == RUNNING:
            _call(self._onProgress, fraction, secondsLeft, phase)

    def warn(self, message: str) -> None:
        """Hand on a warning of the worker."""
        if self.state == RUNNING:
            _call(self._onWarning, message)

    def end(self, result: dict | None = None, error: WorkerError | None = None) -> None:
        """End as done (with a result), failed (with an error) or cancelled (neither); only the first call counts."""
        if self.state == RUNNING:
            self.result, self.error = result, error
            self.state = DONE if result is not None else FAILED if error is not None else CANCELLED
            _call(self._onFinished, self)


def encoded(message: dict) -> bytes:
    """A line of the protocol: JSON in ASCII, so that no way of decoding can spoil it.

    Raises:
        TypeError, ValueError: it holds what JSON cannot say.
    """
    return json.dumps(message, allow_nan=False, default=_plain).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to the worker")


def _call(callback: Callable | None, *arguments: Any) -> None:
    """A callback that fails must not keep the client from reading on."""
    if callback is not None:
        try:
            callback(*arguments)
        except Exception:
            logging.exception("TopoMAE: a callback of a request failed")
