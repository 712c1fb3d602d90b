"""Models that stay in memory between requests."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
_FILES = ("network.json", "plan.json", "models/model.safetensors", "pretrained.safetensors")
_Signature = tuple[tuple[str, int, int, int], ...]


class FolderCache(Generic[T]):
    """What was read from the folders used last. A folder that changed on disk is read again.

    Args:
        read: reads a folder; its errors go to the caller, and nothing is kept then.
        most: number of folders kept.
    """

    def __init__(self, read: Callable[[Path], T], most: int = 3):
        self._read = read
        self._most = most
        self._kept: OrderedDict[Path, tuple[_Signature, T]] = OrderedDict()

    def get(self, folder: Path) -> T:
        """What `folder` holds, read now or before."""
        folder = folder.resolve()
        signature = _signature(folder)
        kept = self._kept.pop(folder, None)
        if kept is None or kept[0] != signature:
            del kept  # before the new one is read, so that both need not fit into memory
            kept = signature, self._read(folder)
        self._kept[folder] = kept
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
            release_memory()
        return kept[1]


def release_memory() -> None:
    """Give memory that nobody uses any more back to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _signature(folder: Path) -> _Signature:
    """Tells whether the model in a folder, or in the run that it is, was written anew."""
    found = []
    for path in (place / name for place in (folder, folder / "model") for name in _FILES):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
