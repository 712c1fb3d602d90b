"""One writer per folder: a lock file that names its owner and is seen to be stale when the owner is dead."""

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

from topomae.errors import RunError
from topomae.files import remove_file, removed_on_error, told_as_run_error


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock.

    Args:
        pid: process id on `host`.
        started: when the process started, as its system writes it; tells it from a later one of the same id.
        host: network name of the machine.
        token: random, so that two locks of one process differ.
    """

    pid: int
    started: str
    host: str
    token: str

    @classmethod
    def me(cls) -> Owner:
        """This process, with a new token."""
        return cls(os.getpid(), process_started(os.getpid()) or "", platform.node(), secrets.token_hex(8))

    @property
    def here(self) -> bool:
        """Whether the owner runs, or ran, on this machine."""
        return self.host == platform.node()

    @property
    def alive(self) -> bool:
        """Whether the owner may still be running; an owner on another machine always may."""
        if not self.here:
            return True
        started = process_started(self.pid)
        return started is not None and (started == self.started or not started or not self.started)


class Lock:
    """A lock file held by this process until `release`.

    Args:
        path: the lock file. Its folder must exist.

    Raises:
        RunError: another process, or another part of this one, holds the lock.
    """

    def __init__(self, path: Path):
        self._path = path
        self._owner = Owner.me()
        while not (_create(path, self._owner) and self.held):
            other = read_owner(path)
            if other is None:
                continue
            if other.alive:
                raise _in_use(path, other)
            self._clear(other)

    @property
    def held(self) -> bool:
        """Whether the file still names this lock (a person may have removed it, on whatever grounds)."""
        return read_owner(self._path) == self._owner

    @property
    def lost(self) -> bool:
        """Whether the file is gone or names another owner. One that cannot be read just now proves nothing."""
        owner = read_owner(self._path)
        return owner is None or (owner != self._owner and owner.token != "")

    def check(self) -> None:
        """Make sure, before something precious is written, that nobody else took over.

        Raises:
            RunError: the lock file is gone or names another owner.
        """
        if self.lost:
            hint = "Look which process works on it, and start the same command again if none does."
            raise RunError("the folder was taken over by another process", hint=hint, path=self._path.parent)

    def release(self) -> None:
        """Remove the lock file if it is still ours."""
        if self.held:
            remove_file(self._path)

    def _clear(self, dead: Owner) -> None:
        # Two processes may have found the same dead owner. Only the one that holds this second lock may
        # remove the file, and only if it still names the dead one: else it would remove the other's new lock.
        guard = Lock(self._path.with_name(self._path.name + ".takeover"))
        try:
            if read_owner(self._path) == dead:
                remove_file(self._path)
        finally:
            guard.release()


def read_owner(path: Path, *, patience: float = 1.0) -> Owner | None:
    """Who holds a lock file; None if it does not exist.

    A file that is still not readable after `patience` seconds (its writer was killed in between) gives an
    owner that is dead.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            fields = json.loads(path.read_bytes())
            pid, started, host, token = (fields[name] for name in ("pid", "started", "host", "token"))
            return Owner(int(pid), str(started), str(host), str(token))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            if time.monotonic() > deadline:
                return Owner(0, "", platform.node(), "")
            time.sleep(0.02)


def process_started(pid: int) -> str | None:
    """When a process of this machine started, as text to be compared only.

    Returns:
        None if there is no such process; "" if there is but the system does not tell when it started.
    """
    if not 0 < pid < 2**31:
        return None
    if os.name == "nt":
        return _started_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # it exists and belongs to somebody else
    return _started_on_linux(pid) if sys.platform == "linux" else _started_by_ps(pid)


def _create(path: Path, owner: Owner) -> bool:
    with told_as_run_error(path):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with removed_on_error(path), os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(asdict(owner)).encode())
    return True


def _in_use(path: Path, owner: Owner) -> RunError:
    if owner.here:
        who = f"process {owner.pid}"
        hint = "Wait until it ends, or stop it, or use another folder."
    else:
        who = f"process {owner.pid} on {owner.host}"
        hint = f"If that process no longer runs, delete the file {path.name} in the folder and start again."
    return RunError(f"the folder is in use by {who}", hint=hint, path=path.parent)


def _started_on_linux(pid: int) -> str | None:
    try:
        # The command, in parentheses, may hold anything; state and start (field 22) come behind it.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except ProcessLookupError:
        return None  # it ended while its entry was read
    except OSError:
        return ""  # hidden from other users on some machines
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _started_by_ps(pid: int) -> str | None:
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


def _started_on_windows(pid: int) -> str | None:
    query, synchronize, no_such_process, still_running = 0x1000, 0x100000, 87, 258
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(query | synchronize, False, pid))
    if not handle:
        return None if ctypes.get_last_error() == no_such_process else ""
    try:
        if kernel.WaitForSingleObject(handle, 0) != still_running:
            return None  # ended, but somebody keeps a handle
        times = [ctypes.c_uint64() for _ in range(4)]  # created, ended, in the kernel, in the program
        found = kernel.GetProcessTimes(handle, *map(ctypes.byref, times))
        return str(times[0].value) if found else ""
    finally:
        kernel.CloseHandle(handle)
