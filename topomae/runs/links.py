"""A run folder may come from elsewhere: before anything is written to it, nothing in it may lead out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from topomae.errors import RunError


def check_contained(folder: Path) -> None:
    """Refuse a run folder in which a link, a pipe or a device stands where a file of the run is to be written.

    A log that is a link to somebody's start-up file, say, would have events appended to it.

    Args:
        folder: the run folder; it may itself be reached by a link.
    Raises:
        RunError: naming the first such thing.
    """
    root = folder.resolve()
    for entry in _entries(root):
        if entry.is_symlink():
            if not _leads_inside(entry, root):
                raise RunError(
                    f"{os.path.relpath(entry.path, root)} is a link that leads out of the run folder",
                    hint="Put what it leads to in its place.",
                    path=folder,
                )
        elif not _is_plain(entry):
            raise RunError(
                f"{os.path.relpath(entry.path, root)} is neither a file nor a folder",
                hint="Remove it.",
                path=folder,
            )


def _entries(folder: Path) -> Iterator[os.DirEntry]:
    """Everything in a folder and its subfolders; links are not followed, what goes away meanwhile is left out."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))


def _is_plain(entry: os.DirEntry) -> bool:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:  # gone meanwhile
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _leads_inside(entry: os.DirEntry, root: Path) -> bool:
    try:
        return Path(entry.path).resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links before Python 3.13
        return False
