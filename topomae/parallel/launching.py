"""`--devices N`: this process and N - 1 others, which it starts with the same command, train together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from topomae.errors import BadSettingError
from topomae.parallel.distributed import several_asked_for

_QUIET = ("TORCH_CPP_LOG_LEVEL", "ERROR")  # else torch prints its C++ stack when another process ends
_GRACE = 15.0  # seconds to end by itself, once another process has ended


@contextmanager
def with_others(devices: int | None) -> Iterator[None]:
    """Start the other processes, and see to it that none is left over.

    For commands only: the others are started with this process's own arguments.

    Args:
        devices: how many processes in all; None or 1 for this one alone. The others get here as well and start
            nothing.
    Raises:
        BadSettingError: this process was started as one of another number of processes.
    """
    if several_asked_for():
        os.environ.setdefault(*_QUIET)
        if devices is not None and str(devices) != os.environ.get("LOCAL_WORLD_SIZE", str(devices)):
            raise BadSettingError(
                f"--devices {devices}, but {os.environ['LOCAL_WORLD_SIZE']} processes were started on this machine",
                hint="Leave --devices out where torchrun or srun start the processes.",
            )
        yield
        return
    if devices in (None, 1):
        yield
        return
    before = dict(os.environ)
    os.environ.setdefault(*_QUIET)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    os.environ.update(address, **_place(0, devices))
    command = [sys.executable, "-m", "topomae", *sys.argv[1:]]
    # "-m" imports from the working folder first, which may be that of somebody's data, unless it is ours already.
    safe = {} if {os.getcwd(), ""} & set(sys.path) else {"PYTHONSAFEPATH": "1"}
    others = [
        subprocess.Popen(
            command,
            env=os.environ | safe | _place(rank, devices),
            stdin=subprocess.DEVNULL,
            stdout=2,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        for rank in range(1, devices)
    ]
    done = threading.Event()
    threading.Thread(target=_watch, args=(others, done), name="watch other processes", daemon=True).start()
    try:
        yield
    finally:
        done.set()
        _end(others)
        os.environ.clear()
        os.environ.update(before)


def _place(rank: int, world: int) -> dict[str, str]:
    """What torchrun would tell the process of that number."""
    number, count = str(rank), str(world)
    return {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "GROUP_RANK": "0"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _watch(others: Sequence[subprocess.Popen], done: threading.Event) -> None:
    """End this process as well if one of the others is gone and this one does not notice (a GPU waits in silence)."""
    while not done.wait(0.2):
        failed = [(rank, other) for rank, other in enumerate(others, start=1) if other.poll()]
        if not failed:
            continue
        if done.wait(_GRACE):
            return
        rank, other = failed[0]
        how = f"was killed by signal {-other.returncode}" if other.returncode < 0 else f"failed ({other.returncode})"
        print(
            f"process {rank} of {len(others) + 1} {how}, and the training ends. Start the same command again, with as "
            "many devices as you like: it goes on from its last checkpoint.",
            file=sys.stderr,
            flush=True,
        )
        for left in others:
            with suppress(OSError):
                left.kill()
        os._exit(1)


def _end(others: Sequence[subprocess.Popen]) -> None:
    deadline = time.monotonic() + _GRACE
    for other in others:
        try:
            other.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()
