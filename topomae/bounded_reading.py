"""Text files that may come from anywhere: regular files of a sensible size, nothing that is read for ever."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PureWindowsPath

MOST_BYTES = 256 << 20


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Read a UTF-8 text file; bytes that are none are replaced.

    Args:
        path: the file.
        most: bytes it may have.
    Raises:
        OSError: it cannot be read, is no regular file, or is larger than `most`.
    """
    if not path.is_file():
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if path.stat().st_size > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    with open(path, "rb") as file:
        return file.read(most).decode("utf-8", errors="replace")


def is_elsewhere(text: str, besides: Path) -> bool:
    """Whether a path that a file names lies on another computer than the file.

    Merely looking whether it exists would make Windows log in there, with the user's name and password hash.

    Args:
        text: the path that was read.
        besides: the file that it was read from, or its folder.
    """
    drive = PureWindowsPath(text).drive
    return drive.startswith(("\\\\", "//")) and drive.casefold() != PureWindowsPath(besides).drive.casefold()
