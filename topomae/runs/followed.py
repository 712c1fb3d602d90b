"""The run as the other processes of a training see it: they read in its folder, and only the main one writes."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from topomae.events import Events
from topomae.parallel.distributed import from_main
from topomae.runs.checkpoints import Checkpoints
from topomae.runs.folder import Run
from topomae.runs.stopping import StopRequest


class FollowedRun(Run):
    """A `Run` that writes nothing and tells nothing.

    Args:
        folder: the run folder, which every machine of the training has to see.
        resuming: whether an earlier process worked on this run.
    """

    def __init__(self, folder: Path, *, resuming: bool):
        self.folder = folder
        self.events = Events()
        self.resuming = resuming
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self._stop = StopRequest(folder / "stop")

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._stop.close()

    def write_json(self, name: str, value: Any) -> Path:
        """Where the main process writes it."""
        return self.path(name)

    def write_text(self, name: str, text: str) -> Path:
        """Where the main process writes it."""
        return self.path(name)

    def log_metrics(self, step: int, phase: str, values: dict[str, float]) -> None:
        """Nothing: the main process logs."""

    def save_checkpoint(self, state: dict[str, Any], name: str = "last", *, step: int) -> Path:
        """Nothing: the main process saves."""
        return self.checkpoints.folder

    def load_checkpoint(self, name: str = "last") -> dict[str, Any] | None:
        """The checkpoint that the main process has found; only "last" is for all.

        Raises:
            RunError: this process cannot read it, or the main one found them damaged.
        """
        file_name = from_main(None)
        return None if file_name is None else self.checkpoints.read(file_name)
