"""What the logics of this module that ask the worker have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import slicer

from TopoMAESegmentLib.worker_task import WorkerTask


class WorkerLogic:
    """Sends requests with volumes to the worker and collects what comes back."""

    def __init__(self, client: object = None, makeExchange: Callable | None = None):
        """Start nothing yet.

        Args:
            client: the `WorkerClient`; the application's own by default.
            makeExchange: makes the temporary folder of a request; `Exchange` by default.
        """
        self._client = client
        self._makeExchange = makeExchange

    @property
    def client(self) -> object:
        """The worker's client, made when it is needed first."""
        if self._client is None:
            from TopoMAELib.worker_client import sharedWorkerClient

            self._client = sharedWorkerClient()
        return self._client

    def start(
        self,
        do: str,
        volumes: dict[str, tuple[np.ndarray, np.ndarray] | list[tuple[np.ndarray, np.ndarray] | None]],
        arguments: dict,
        read: Callable[[dict, object], object],
        nodes: Sequence[slicer.vtkMRMLNode] = (),
        onProgress: Callable | None = None,
        onFinished: Callable[[WorkerTask], None] | None = None,
        givesFiles: bool = True,
    ) -> WorkerTask:
        """Send one request.

        Args:
            do: its name.
            volumes: argument name to (array (I, J, K), affine (4, 4)), or to a list of them, None for what is
                not available.
            arguments: the other arguments.
            read: makes the value from the result and the exchange.
            nodes: nodes that the request is about.
            onProgress, onFinished: see `WorkerTask`.
            givesFiles: the worker is to be told a folder for the files of its answer.
        """
        if self._makeExchange is None:
            from TopoMAELib.exchange import Exchange

            self._makeExchange = Exchange
        exchange = self._makeExchange()
        try:
            sent = {
                name: [one and exchange.saveVolume(*one) for one in value]
                if isinstance(value, list)
                else exchange.saveVolume(*value)
                for name, value in volumes.items()
            }
            sent.update(arguments)
            if givesFiles:
                sent["output"] = str(exchange.folder)
        except Exception:
            exchange.remove()
            raise
        return WorkerTask(self.client, exchange, do, sent, read, nodes, onProgress, onFinished)
