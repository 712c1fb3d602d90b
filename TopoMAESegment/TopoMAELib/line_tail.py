"""Reading on in a text file that somebody else still writes."""

from __future__ import annotations

import os
from pathlib import Path

_LONGEST_FILE = 2**62  # bytes; no system can be asked for what lies beyond
_MOST_BYTES = 64 << 20  # read at once; the rest is left for the next reading


class LineTail:
    """Gives the complete lines that were added to a file since it was last asked.

    Args:
        path: the file; need not exist yet.
        begin: byte to begin at.
        atMost: begin so near to the end that the first reading gives at most so many bytes; None reads all.

    Attributes:
        restarted: whether the last reading began anew because the file was replaced by another one.
    """

    def __init__(self, path: Path, begin: int = 0, atMost: int | None = None):
        self.restarted = False
        self._path = path
        self._begin = self._position = min(max(begin, 0), _LONGEST_FILE)
        self._atMost = atMost
        self._file: tuple[int, int] | None = None

    def read(self) -> list[str]:
        """New complete lines, without their ends; what is not UTF-8 is replaced."""
        self.restarted = False
        if not self._path.is_file():  # not there yet, or a pipe, whose opening would wait
            return []
        try:
            with open(self._path, "rb") as file:
                status = os.fstat(file.fileno())
                self._find(status)
                if status.st_size <= self._position:
                    return []
                file.seek(self._position)
                content = file.read(min(_MOST_BYTES, status.st_size - self._position))
        except OSError:  # not there yet, or locked by its writer for a moment: the next reading gets it
            return []
        whole = content.rfind(b"\n") + 1
        # A line that long is damaged: it is passed over, for it would be read again and again.
        self._position += whole or (len(content) if len(content) == _MOST_BYTES else 0)
        return [line.rstrip("\r") for line in content[:whole].decode("utf-8", "replace").split("\n")[:-1]]

    def rest(self) -> str:
        """What stands behind the last line end: the last words of a writer that was killed. Taken only once."""
        if not self._path.is_file():
            return ""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._position)
                content = file.read(65536)
        except OSError:
            return ""
        self._position += len(content)
        return content.decode("utf-8", "replace").strip()

    def _find(self, status: os.stat_result) -> None:
        """Where to go on in this file: at its start if it has taken the place of the one read before."""
        identity = (status.st_dev, status.st_ino)
        if self._file is None:
            if self._atMost is not None and status.st_size - self._position > self._atMost:
                self._position = self._lineStart(status.st_size - self._atMost)
        elif identity != self._file or status.st_size < self._position:
            self._position = 0
            self.restarted = True
        self._file = identity

    def _lineStart(self, byte: int) -> int:
        """The first start of a line at or behind a byte."""
        with open(self._path, "rb") as file:
            file.seek(byte - 1)
            return byte - 1 + len(file.readline())
