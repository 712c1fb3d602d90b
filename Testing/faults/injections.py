"""Faults that a child injects into itself: each function returns what is to be called before the command."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import children

Act = Callable[[], None]
# Calls of the system that change what is on the disk for good; killed around them a writer shows its weak points.
_OPERATIONS = ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir", "truncate")


def killed(number: int = signal.SIGKILL) -> Act:
    """An act: the child is sent a signal, at once."""
    return lambda: os.kill(os.getpid(), number)


def at_operation(chosen: int, act: Act, *, before: bool) -> children.Injection:
    """Act before or after the `chosen`-th operation that changes the disk; in a write, half of it is done."""

    def inject() -> None:
        count = 0

        def due() -> bool:
            nonlocal count
            count += 1
            return count == chosen

        _wrap_operations(due, act, before)

    return inject


def counted(into: Path) -> children.Injection:
    """Write the number of operations that change the disk into a file (at the end of the child)."""

    def inject() -> None:
        import atexit
        from multiprocessing import util

        count = 0

        def due() -> bool:
            nonlocal count
            count += 1
            return False

        _wrap_operations(due, lambda: None, True)
        finalize = lambda: into.write_text(str(count))  # noqa: E731 (registered twice: a forked child has no atexit)
        util.Finalize(None, finalize, exitpriority=0)
        atexit.register(finalize)

    return inject


def at_event(wanted: Callable[[dict[str, Any]], bool], act: Act) -> children.Injection:
    """Act right after the first event for which `wanted` is true was told."""

    def inject() -> None:
        from topomae.events import Events

        emit, done = Events.emit, []

        def emitting(self, kind: str, /, **fields: Any) -> None:
            emit(self, kind, **fields)
            if not done and wanted({"event": kind, **fields}):
                done.append(True)
                act()

        Events.emit = emitting

    return inject


def saved(step: int, name: str = "last") -> Callable[[dict[str, Any]], bool]:
    """Wanted: a checkpoint of that step or a later one."""
    return lambda event: event["event"] == "checkpoint" and event["name"] == name and event["step"] >= step


def phase(name: str) -> Callable[[dict[str, Any]], bool]:
    """Wanted: a phase has begun."""
    return lambda event: event["event"] == "progress" and event["phase"] == name


def files_limited_to(size: int) -> children.Injection:
    """No file can become larger: the system fails writes beyond."""

    def inject() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return inject


def without_privileges() -> None:
    """Let even root be refused what the permissions of files refuse (Linux)."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3; this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    if libc.capget(header, sets) == 0:
        sets[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.capset(header, sets)


def _wrap_operations(due: Callable[[], bool], act: Act, before: bool) -> None:
    from topomae.runs import checkpoints

    def wrapped(operation: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            mine = due()
            if mine and before:
                act()
            result = operation(*arguments, **options)
            if mine and not before:
                act()
            return result

        return call

    for name in _OPERATIONS:
        setattr(os, name, wrapped(getattr(os, name)))

    write = checkpoints._HashingWriter.write

    def half_written(self, data: Any) -> int:
        if len(data) > 4096 and due():  # the many tiny ones are all alike
            self._file.write(bytes(data)[: len(data) // 2])
            self._file.flush()
            act()
        return write(self, data)

    checkpoints._HashingWriter.write = half_written
