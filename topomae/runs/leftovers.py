"""Temporary files of writers that were killed, in folders that several processes may write to."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from topomae.files import writer_of
from topomae.runs.locks import process_started


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in `folder` whose writers ran on this machine and are dead.

    For a folder without a lock, such as one that segmentations go to. Those of living processes, and of other
    machines that share the folder, stay.

    Args:
        folder: it may be missing; its subfolders are left alone.
    """
    with suppress(OSError):
        for path in folder.glob(".tmp-*"):
            writer = writer_of(path)
            if writer is not None and process_started(writer) is None:
                with suppress(OSError):
                    path.unlink()
