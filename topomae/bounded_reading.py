"""Text files that may come from anywhere: regular files of a sensible size, nothing that is read for ever."""

from __future__ import annotations

import errno
import stat
from pathlib import Path, PureWindowsPath

MOST_BYTES = 256 << 20


def read_text(path: Path, most: int = MOST_BYTES, *, errors: str = "replace") -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        most: bytes it may have.
        errors: what becomes of bytes that are no UTF-8, as `bytes.decode` has it.
    Raises:
        OSError: it cannot be read, is no file (a pipe would be waited for), or is larger than `most`.
        UnicodeDecodeError: with `errors="strict"`, it is not UTF-8.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, too many for what it should be", str(path))
    with open(path, "rb") as file:
        return file.read(most).decode("utf-8-sig", errors)


def is_elsewhere(text: str, besides: Path) -> bool:
    """Whether a path that a file names lies on another computer than the file.

    Merely looking whether it exists would make Windows log in there, with the user's name and password hash.

    Args:
        text: the path that was read.
        besides: the file that it was read from, or its folder.
    """
    drive = PureWindowsPath(text).drive
    return drive.startswith(("\\\\", "//")) and drive.casefold() != PureWindowsPath(besides).drive.casefold()
