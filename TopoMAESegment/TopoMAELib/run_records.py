"""What Slicer notes in a run folder: how the run was started, and which Slicer drives it.

Both files begin with a dot, which the engine allows in the folder of a new run.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from TopoMAELib.process_owners import ProcessOwner, readOwner, removeLock, takeLock

LAUNCH_FILE = ".launch.json"
DRIVER_FILE = ".driver"
KINDS = ("pretrain", "finetune")
_MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class LaunchRecord:
    """How a run was last started from Slicer.

    Args:
        kind: `pretrain` or `finetune`.
        arguments: of the command behind the kind, such as `--data`; without `--run` and `--events`.
        time: when, as UTC in ISO 8601.
        consoleStart: size of `console.log` before, bytes: what follows belongs to this start.
        pid: process that was started (perhaps a launcher, whose child does the work); 0 if none could be.
        started: when that process started, see `ProcessOwner`.
        host: machine it runs on.
    """

    kind: str
    arguments: tuple[str, ...]
    time: str
    consoleStart: int = 0
    pid: int = 0
    started: str = ""
    host: str = ""

    @classmethod
    def now(cls, kind: str, arguments: list[str], consoleStart: int) -> LaunchRecord:
        """A start that is about to happen."""
        return cls(kind, tuple(arguments), datetime.now(timezone.utc).isoformat(), consoleStart)

    def withProcess(self, pid: int) -> LaunchRecord:
        """The same, now that there is a process."""
        owner = ProcessOwner.ofProcess(pid)
        return replace(self, pid=pid, started=owner.started, host=owner.host)

    @property
    def process(self) -> ProcessOwner:
        """The process that was started."""
        return ProcessOwner(self.pid, self.started, self.host)

    @property
    def alive(self) -> bool:
        """Whether that process runs on this machine. (On another machine only the engine's lock can tell.)"""
        return self.pid > 0 and self.process.here and self.process.alive

    def value(self, option: str) -> str:
        """The value given to an option such as `--data`; "" if it was not given."""
        place = self.arguments.index(option) if option in self.arguments else len(self.arguments)
        return self.arguments[place + 1] if place + 1 < len(self.arguments) else ""

    def save(self, folder: Path) -> None:
        """Write it into a run folder."""
        writeText(folder / LAUNCH_FILE, json.dumps({"format": 1, **asdict(self)}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> LaunchRecord | None:
        """Read it; None if the run was not started from Slicer (or the file is damaged)."""
        content = readJson(folder / LAUNCH_FILE)
        try:
            return cls(
                kind=str(content["kind"]),
                arguments=tuple(str(argument) for argument in content["arguments"]),
                time=str(content["time"]),
                consoleStart=int(content.get("consoleStart", 0)),
                pid=int(content.get("pid", 0)),
                started=str(content.get("started", "")),
                host=str(content.get("host", "")),
            )
        except (KeyError, TypeError, ValueError, OverflowError):  # OverflowError: JSON can spell an infinite number
            return None


@dataclass
class DriverSeat:
    """The right to stop, resume and delete a run: one Slicer has it, others may watch.

    Args:
        folder: the run folder.
    """

    folder: Path
    _owner: ProcessOwner = field(default_factory=lambda: ProcessOwner.ofProcess(os.getpid()))

    def take(self) -> ProcessOwner | None:
        """Sit down if nobody living sits there; gives None, or the Slicer process that does.

        Raises:
            OSError: the folder cannot be written to.
        """
        return takeLock(self.folder / DRIVER_FILE, self._owner)

    def leave(self) -> None:
        """Let another Slicer drive."""
        driver = readOwner(self.folder / DRIVER_FILE)
        if driver is not None and driver.isProcess(self._owner.pid):
            with contextlib.suppress(OSError):
                removeLock(self.folder / DRIVER_FILE, driver)


def readJson(path: Path) -> dict:
    """A JSON object from a file; empty if there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:  # a pipe would be waited for
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def writeText(path: Path, text: str) -> None:
    """Write a file in one step, so that no reader meets half of it."""
    temporary = path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
