"""Disks made for one fault: small, or turned read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from world import is_root


def can_mount(folder: Path) -> bool:
    """Whether this system lets us mount."""
    if not is_root():
        return False
    with _tried(folder) as works:
        return works


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk in memory of so many bytes, mounted at `folder`, which must exist; gone afterwards."""
    _mount("-t", "tmpfs", "-o", f"size={max(size, 4096)}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(folder: Path, size: int) -> None:
    """Give the disk at `folder` another size."""
    _mount("-o", f"remount,size={size}", str(folder))


def make_read_only(folder: Path) -> None:
    """Let nothing be written to the disk at `folder` any more; no file may be open for writing."""
    _mount("-o", "remount,ro", str(folder))


def make_writable(folder: Path) -> None:
    """Take that back."""
    _mount("-o", "remount,rw", str(folder))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@contextmanager
def _tried(folder: Path) -> Iterator[bool]:
    try:
        with small_disk(folder, 1 << 16):
            yield True
    except (OSError, subprocess.CalledProcessError):
        yield False
