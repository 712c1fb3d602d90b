"""Which process holds a run folder, and whether it still lives: the lock files that the engine writes too.

The engine's own `topomae.runs.locks` does the same; Slicer must not import the engine, hence this small twin.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import secrets
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessOwner:
    """The process named in a lock file.

    Args:
        pid: process id on `host`.
        started: when the process started, as its system writes it; tells it from a later one of the same id.
        host: network name of the machine.
        token: random, so that two locks of one process differ.
    """

    pid: int
    started: str
    host: str
    token: str = ""

    @classmethod
    def ofProcess(cls, pid: int) -> ProcessOwner:
        """A process of this machine."""
        return cls(pid, processStarted(pid) or "", platform.node(), secrets.token_hex(8))

    @property
    def here(self) -> bool:
        """Whether the process runs, or ran, on this machine."""
        return self.host == platform.node()

    @property
    def alive(self) -> bool:
        """Whether the process may still be running; one on another machine always may."""
        if not self.here:
            return True
        started = processStarted(self.pid)
        return started is not None and (started == self.started or not started or not self.started)

    def isProcess(self, pid: int) -> bool:
        """Whether this is the living process `pid` of this machine."""
        return self.here and self.pid == pid and self.alive


def readOwner(path: Path) -> ProcessOwner | None:
    """Who holds a lock file; None if there is none, or none that can be read (it may just be written)."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            return None
        fields = json.loads(path.read_bytes())
        return ProcessOwner(*(kind(fields[name]) for name, kind in _FIELDS))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


_FIELDS = (("pid", int), ("started", str), ("host", str), ("token", str))


def takeLock(path: Path, owner: ProcessOwner) -> ProcessOwner | None:
    """Write a lock file unless a living process holds it.

    Args:
        path: the lock file; its folder must exist.
        owner: who takes it.
    Returns:
        None if it was taken (or was this process's already), else the living process that holds it.
    Raises:
        OSError: the folder cannot be written to.
    """
    for attempt in range(60):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            other = readOwner(path)
            if other is None:  # just being written, or just removed
                if attempt == 50:  # nobody finished writing it within a second: its writer is dead
                    path.unlink(missing_ok=True)
                time.sleep(0.02)
            elif other.alive:
                return None if other.isProcess(owner.pid) else other
            else:
                removeLock(path, other)
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(asdict(owner)).encode())
        return None
    raise OSError(f"the file {path} can be neither read nor replaced")


def removeLock(path: Path, owner: ProcessOwner) -> None:
    """Remove a lock file if it still names `owner`."""
    if readOwner(path) == owner:
        path.unlink(missing_ok=True)


def processStarted(pid: int) -> str | None:
    """When a process of this machine started, as text to be compared only.

    Returns:
        None if there is no such process; "" if there is but the system does not tell when it started.
    """
    if not 0 < pid < 2**31:
        return None
    if os.name == "nt":
        return _startedOnWindows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # it exists and belongs to somebody else
    return _startedOnLinux(pid) if sys.platform == "linux" else _startedByPs(pid)


def _startedOnLinux(pid: int) -> str | None:
    try:
        # The command, in parentheses, may hold anything; state and start (field 22) come behind it.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except ProcessLookupError:
        return None  # it ended while its entry was read
    except OSError:
        return ""  # hidden from other users on some machines
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _startedByPs(pid: int) -> str | None:
    """As `processStarted`, by a program that takes some hundredths of a second; so an answer holds for a second."""
    asked, answer = _psAnswers.get(pid, (-_PS_HOLDS, None))
    if time.monotonic() - asked >= _PS_HOLDS:
        answer = _askPs(pid)
        _psAnswers[pid] = (time.monotonic(), answer)
    return answer


_PS_HOLDS = 1.0  # seconds
_psAnswers: dict[int, tuple[float, str | None]] = {}  # by process number: when it was asked for, and what was said


def _askPs(pid: int) -> str | None:
    command = ["ps", "-p", str(pid), "-o", "stat=", "-o", "lstart="]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        found = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    state, _, started = found.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def _startedOnWindows(pid: int) -> str | None:
    query, synchronize, noSuchProcess, stillRunning = 0x1000, 0x100000, 87, 258
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(query | synchronize, False, pid))
    if not handle:
        return None if ctypes.get_last_error() == noSuchProcess else ""
    try:
        if kernel.WaitForSingleObject(handle, 0) != stillRunning:
            return None  # ended, but somebody keeps a handle
        times = [ctypes.c_uint64() for _ in range(4)]  # created, ended, in the kernel, in the program
        found = kernel.GetProcessTimes(handle, *map(ctypes.byref, times))
        return str(times[0].value) if found else ""
    finally:
        kernel.CloseHandle(handle)
