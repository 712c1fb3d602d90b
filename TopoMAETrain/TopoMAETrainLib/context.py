"""What the panels of TopoMAETrain know together: which data, which plan, where to train, with what."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import qt
import slicer

from TopoMAELib.interpreter import Interpreter, findInterpreter

RUNS_ROOT_SETTING = "TopoMAE/RunsRoot"
DEVICES = ("auto", "cpu", "cuda")
SIZES = ("small", "base")


class TrainContext:
    """Shared state of the panels. Whoever changes something calls `set`, or assigns and calls `notify`.

    Attributes:
        dataFolder: folder of the data set, "" if none is chosen.
        modalityNames: names of the image channels, in order; empty where the data set names them itself.
        planOverrides: fields of the plan that the user has set by hand, as given to `--set`.
        leaveOutBad: go on without images that cannot be read.
        size: network size, one of `SIZES`.
        device: where to compute, one of `DEVICES`.
        changed: called without arguments after each change.

    Args:
        settings: application settings, a `qt.QSettings`; those of the user by default.
        interpreterFinder: gives the Python that runs the engine.
    """

    def __init__(self, settings: object = None, interpreterFinder: Callable[[], Interpreter] | None = None):
        self.dataFolder = ""
        self.modalityNames: list[str] = []
        self.planOverrides: dict[str, str] = {}
        self.leaveOutBad = False
        self.size = "small"
        self.device = "auto"
        self.changed: list[Callable[[], None]] = []
        self._settings = settings
        self._findInterpreter = interpreterFinder or findInterpreter

    def set(self, **values: object) -> bool:
        """Change some attributes together; tells whether anything became different, and notifies if so.

        Raises:
            AttributeError: there is no such attribute.
        """
        different = False
        for name, value in values.items():
            if getattr(self, name) != value:
                setattr(self, name, value)
                different = True
        if different:
            self.notify()
        return different

    def notify(self) -> None:
        """Tell everybody that something changed. A callback that fails does not keep the others from hearing."""
        for callback in list(self.changed):
            try:
                callback()
            except Exception:
                logging.exception("TopoMAETrain: a panel could not follow a change")

    @property
    def runsRoot(self) -> str:
        """Folder under which run folders lie; remembered by the application."""
        stored = self.settings().value(RUNS_ROOT_SETTING, "")
        return str(stored) if stored else defaultRunsRoot()

    @runsRoot.setter
    def runsRoot(self, folder: str) -> None:
        self.settings().setValue(RUNS_ROOT_SETTING, os.path.abspath(folder) if folder else "")

    def interpreter(self) -> Interpreter:
        """The Python that runs the engine, looked up anew each time since the user may choose another one."""
        return self._findInterpreter()

    def settings(self) -> object:
        """Settings of the application."""
        if self._settings is None:
            self._settings = slicer.app.userSettings()
        return self._settings


def defaultRunsRoot() -> str:
    """A folder `TopoMAE` in the documents of the user."""
    documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
    return os.path.join(documents or os.path.expanduser("~"), "TopoMAE")
