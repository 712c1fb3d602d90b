"""Writing files so that a reader, or a kill at any instant, never meets half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from topomae.errors import RunError

_TEMPORARY = ".tmp-"
_WRITER = re.compile(r"\.tmp-(?P<machine>[0-9a-f]{6})-(?P<process>[0-9]{1,10})-")
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_LONGEST_PATH = 259  # characters that Windows takes, unless long paths are switched on
_SHORTER = "Choose a folder with a shorter path, or switch on LongPathsEnabled (the command topomae doctor tells how)."


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target`, with the same suffixes; it becomes `target` when the block succeeds.

    The caller writes and closes the file inside the block. It is then flushed to disk and renamed over
    `target` in one step. When the block raises, the temporary file is removed and `target` stays as it was.

    Args:
        target: file to be written; its folder is created if need be.

    Raises:
        RunError: the disk is full, or the folder cannot be written to.
    """
    target = Path(target)
    temporary = temporary_path(target)
    with told_as_run_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with removed_on_error(temporary):
        try:
            yield temporary
        except OSError as error:
            # Only writing fails like this, so it is the caller's writing; his other errors are his own.
            if error.errno in {*_FULL, errno.EFBIG, errno.EROFS} or _cut_short(error):
                raise _cannot_write(target, error) from error
            raise
        commit(temporary, target)


def write_text_atomic(target: str | Path, text: str) -> None:
    """Write a UTF-8 text file in one step, with the line ends given (never translated)."""
    with atomic_path(target) as temporary, told_as_run_error(Path(target)):
        temporary.write_bytes(text.encode("utf-8"))


def write_json_atomic(target: str | Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a strictly valid JSON file in one step.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON does not have.
        TypeError: `value` holds something JSON does not have.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # file names that are not valid UTF-8
        text = json.dumps(value, indent=indent, allow_nan=False)
    write_text_atomic(target, text + "\n")


def temporary_path(target: Path) -> Path:
    """A new name in the folder of `target` with its suffixes, such as `.tmp-1b2c3d-4711-0f3a….nii.gz`.

    It tells machine and process, see `writer_of`.
    """
    name = f"{_TEMPORARY}{_machine()}-{os.getpid()}-{secrets.token_hex(6)}"
    return target.with_name(name + "".join(target.suffixes))


def writer_of(temporary: Path) -> int | None:
    """The process of this machine that made a temporary file; None if another machine did, or nobody knows."""
    found = _WRITER.match(temporary.name)
    return int(found["process"]) if found and found["machine"] == _machine() else None


def commit(temporary: Path, target: Path) -> None:
    """Flush a completely written temporary file to disk and rename it over `target`, also in a power cut.

    Raises:
        RunError: the system refused.
    """
    with told_as_run_error(target):
        with open(temporary, "rb+") as file:  # Windows flushes only files that are open for writing
            os.fsync(file.fileno())
        _patiently(lambda: os.replace(temporary, target))
        _flush_folder(target.parent)


def remove_file(path: Path) -> None:
    """Remove a file that may be gone already.

    Raises:
        RunError: the system refused.
    """
    with told_as_run_error(path), suppress(FileNotFoundError):
        _patiently(lambda: os.unlink(path))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left behind in `folder` (not in its subfolders).

    Only for a folder that one process writes to at a time, such as a locked run folder.
    """
    for path in folder.glob(_TEMPORARY + "*"):
        with suppress(OSError):
            path.unlink()


def drop_torn_line(path: Path) -> None:
    """Cut a text file after its last complete line, if its writer was killed in the middle of one."""
    if not path.exists():
        return
    with told_as_run_error(path), open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        file.truncate(end)


@contextmanager
def removed_on_error(temporary: Path) -> Iterator[None]:
    """Remove `temporary` when the block raises anything, Ctrl-C included."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def told_as_run_error(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write `path` into a sentence for the user.

    Raises:
        RunError: the block raised OSError.
    """
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def refuse_long_path(folder: Path, room: int) -> None:
    r"""Refuse a folder so deep that Windows would not take the files in it; before hours are spent, not after.

    The prefix `\\?\` would have them written nevertheless, but many a program could not read them then.

    Args:
        folder: where files are to be written.
        room: characters that the paths of its files may have below it.
    Raises:
        RunError: there is not that room.
    """
    characters = len(os.path.abspath(folder)) + 1 + room
    if characters > _LONGEST_PATH and not _takes_long_paths():
        what = f"the path is too long: its files would have up to {characters} characters, Windows takes"
        raise RunError(f"{what} {_LONGEST_PATH}", hint=_SHORTER, path=folder)


def _takes_long_paths() -> bool:
    """Whether this process may use paths of any length: everywhere but under Windows as it is installed."""
    if os.name != "nt":
        return True
    import ctypes

    try:
        return bool(ctypes.windll.ntdll.RtlAreLongPathsEnabled() & 0xFF)  # a BOOLEAN has one byte
    except (AttributeError, OSError):  # older than Windows 10, version 1607
        return False


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _cannot_write(path: Path, error: OSError) -> RunError:
    full = error.errno in _FULL or _cut_short(error)
    hint = "Free some space and start the same command again." if full else "Choose a folder you may write to."
    if not full and len(os.path.abspath(path)) > _LONGEST_PATH and not _takes_long_paths():
        hint = _SHORTER
    return RunError(f"cannot write: {error.strerror or error}", hint=hint, path=path)


def _cut_short(error: OSError) -> bool:
    """Whether NumPy could not write all of an array; it does not say why, but mostly the disk is full."""
    return error.errno is None and re.search(r"\d requested and \d+ written", str(error)) is not None


def _patiently(action: Callable[[], None], patience: float = 3.0) -> None:
    """Try for some seconds: on Windows another program may have the file open just now."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return action()
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _flush_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can (not on Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
