"""Who does which request. Heavy packages are imported in the background, so that the first request finds them."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from topomae.errors import TopoMAEError
from topomae.worker.tasks import Task

Service = Callable[[Any, Task], dict[str, Any]]


class PackageError(TopoMAEError):
    """A package that the request needs is not installed, or cannot be loaded."""


class Services:
    """The services for every kind of request.

    There are two rooms. Topology needs NumPy, SciPy and numba and is ready after about a second. Networks
    need torch and MONAI, which take several.
    """

    def __init__(self) -> None:
        self._topology = _Room(_open_topology)
        self._networks = _Room(lambda: _open_networks(self._topology.services["diagrams"]))

    def start(self) -> None:
        """Import everything in the background."""
        threading.Thread(target=self._import_all, name="imports", daemon=True).start()

    def do(self, task: Task) -> dict[str, Any]:
        """Do a request and return its result.

        Raises:
            Cancelled: it was cancelled.
            TopoMAEError: it cannot be done.
        """
        kind = task.request.do
        services = self._topology.enter(task)
        if kind not in services:
            services = self._networks.enter(task)
        return services[kind](task.request, task)

    def _import_all(self) -> None:
        self._topology.open()
        self._networks.open()
        with suppress(Exception):  # a request would tell the same, to somebody who wants to know
            self._topology.services["warm up"]()


class _Room:
    """Services that share their imports.

    Only one thread at a time imports a room: two that import the same packages could meet half-made modules.
    """

    def __init__(self, make: Callable[[], dict[str, Any]]):
        self.services: dict[str, Any] = {}
        self.error: BaseException | None = None
        self._make = make
        self._opened = threading.Event()

    def open(self) -> None:
        """Import; what goes wrong is kept for those who enter."""
        try:
            self.services, self.error = self._make(), None
        except BaseException as error:
            self.error = error
        self._opened.set()

    def enter(self, task: Task) -> dict[str, Any]:
        """Wait until the room is open, and return its services.

        Raises:
            PackageError: a package is missing or broken.
            Cancelled: the request was cancelled meanwhile.
        """
        if not self._opened.is_set():
            task.progress("start")
        task.wait_for(self._opened.wait)
        if self.error is not None:  # perhaps the package was installed meanwhile
            importlib.invalidate_caches()
            self.open()
        if self.error is not None:
            raise _explained(self.error) from self.error
        return self.services


def _open_topology() -> dict[str, Any]:
    from topomae.worker.betti import betti
    from topomae.worker.diagrams import Diagrams

    diagrams = Diagrams()
    return {
        "betti": betti,
        "persistence": diagrams.persistence,
        "feature": diagrams.feature,
        "diagrams": diagrams,
        "warm up": diagrams.warm_up,
    }


def _open_networks(diagrams: Any) -> dict[str, Any]:
    from topomae.worker.crops import PretrainedCrops
    from topomae.worker.hello import hello
    from topomae.worker.key_points import KeyPointService
    from topomae.worker.reconstruction import ReconstructionService
    from topomae.worker.segmentation import SegmentationService

    crops = PretrainedCrops()
    return {
        "hello": hello,
        "segment": SegmentationService(),
        "crop_size": crops.size,
        "reconstruct": ReconstructionService(crops, diagrams),
        "key_points": KeyPointService(crops),
    }


def _explained(error: BaseException) -> PackageError:
    """Say which package is missing or broken, and in which Python."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        message = f"the package {error.name.split('.')[0]} is not installed in this Python ({sys.executable})"
        return PackageError(message, hint="Install what TopoMAE needs there, or use another Python.")
    what = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    message = f"a package that TopoMAE needs cannot be loaded in this Python ({sys.executable}): {what}"
    return PackageError(message, hint="Install it again, or use another Python.")
