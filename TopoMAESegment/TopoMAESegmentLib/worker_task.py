"""One request to the worker, with the files that go with it, and what becomes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import slicer
import vtk
from slicer.i18n import tr as _


class TaskCancelled(RuntimeError):
    """The request was cancelled, or what it was about has left the scene."""


class WorkerTask:
    """A running request.

    Attributes:
        state: "running", "done", "failed" or "cancelled".
        value: what was asked for, once done.
        error: the exception with a message for the user, once failed or cancelled.

    The temporary files are removed at the end, however it ends. If one of the nodes that the request is
    about leaves the scene, or the scene is closed, the request is cancelled.
    """

    def __init__(
        self,
        client: object,
        exchange: object,
        do: str,
        arguments: dict,
        read: Callable[[dict, object], object],
        nodes: Sequence[slicer.vtkMRMLNode] = (),
        onProgress: Callable | None = None,
        onFinished: Callable[[WorkerTask], None] | None = None,
    ):
        """Send the request.

        Args:
            client: the `WorkerClient`.
            exchange: the `Exchange` that the arguments' files are in; removed by this task.
            do: name of the request.
            arguments: its arguments.
            read: makes the value from the worker's result and the exchange.
            nodes: nodes of the scene that the request is about.
            onProgress: called with (fraction or None, seconds left or None, phase).
            onFinished: called with this task, exactly once.
        """
        self.state, self.value, self.error = "running", None, None
        self.warnings: list[str] = []
        self._exchange, self._read, self._onFinished = exchange, read, onFinished
        self._nodeIDs = {node.GetID(): node.GetName() for node in nodes}
        self._request, self._gone = None, ""
        self._observed, self._tags = slicer.mrmlScene, []
        if nodes:
            scene = slicer.mrmlScene
            self._tags = [
                scene.AddObserver(scene.NodeRemovedEvent, self._onNodeRemoved),
                scene.AddObserver(scene.StartCloseEvent, self._onSceneClose),
            ]
        try:
            request = client.request(
                do, arguments, onProgress=onProgress, onWarning=self.warnings.append, onFinished=self._finish
            )
        except Exception:
            self._release()
            raise
        self._request = request

    def cancel(self) -> None:
        """Give up; the state changes when the worker has answered."""
        if self.state == "running" and self._request is not None:
            self._request.cancel()

    def wait(self, seconds: float | None = None) -> object:
        """Wait for the end, while the application stays alive.

        Returns:
            The value.

        Raises:
            TaskCancelled: it was cancelled.
            Exception: it failed; the message says why.
        """
        if self.state == "running":
            try:
                self._request.wait(seconds)
            except Exception:
                # A request that has ended tells below what happened; else the time was up.
                if self.state == "running" and self._request.state == "running":
                    raise
            if self.state == "running":
                self._finish(self._request)
        if self.error is not None:
            raise self.error
        return self.value

    def _finish(self, request: object) -> None:
        if self.state != "running":
            return
        try:
            if self._gone:
                self.state, self.error = "cancelled", TaskCancelled(self._gone)
            elif request.state == "done":
                self.value = self._read(request.result, self._exchange)
                self.state = "done"
            elif request.state == "cancelled":
                self.state, self.error = "cancelled", TaskCancelled(_("Cancelled."))
            else:
                self.state, self.error = "failed", request.error
        except Exception as error:
            logging.exception("The worker's answer could not be used")
            self.state, self.error = "failed", error
        finally:
            self._release()
        if self._onFinished is not None:
            self._onFinished(self)

    def _release(self) -> None:
        for tag in self._tags:
            self._observed.RemoveObserver(tag)
        self._tags = []
        self._exchange.remove()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeRemoved(self, caller: object, event: object, node: slicer.vtkMRMLNode) -> None:
        name = self._nodeIDs.get(node.GetID()) if node is not None else None
        if name is not None:
            self._abandon(_('"{name}" was removed meanwhile.').format(name=name))

    def _onSceneClose(self, caller: object, event: object) -> None:
        self._abandon(_("The scene was closed meanwhile."))

    def _abandon(self, reason: str) -> None:
        if not self._gone:
            self._gone = reason
            self.cancel()
