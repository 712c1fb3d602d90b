"""Checkpoints that a kill cannot damage and that notice any other damage.

A checkpoint is one file, `NAME-STEP-CHECKSUM.pt`. Its name carries the first 16 hex digits of its SHA-256,
so that the single rename which makes it appear commits content and checksum together.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from topomae.errors import RunError
from topomae.files import (
    atomic_path,
    commit,
    remove_file,
    removed_on_error,
    temporary_path,
    told_as_run_error,
)

_NAME = re.compile(r"(?P<name>[a-z]+)-(?P<step>\d+)-(?P<checksum>[0-9a-f]{16})\.pt")
_DAMAGED = ".damaged"
_COPY = ".copy"
_PLAIN = (int, float, bool, str, bytes, type(None))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk; not yet verified."""

    path: Path
    name: str
    step: int
    checksum: str


class Checkpoints:
    """The checkpoints of one run: of `last` the newest two, of any other name (`best`) the newest and a copy of it.

    Of those others the one that was the newest when the older kept `last` was written is kept as well, so
    that a run which resumes from there finds everything as it was.

    Args:
        folder: where they lie; made when the first is saved.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def of(self, name: str) -> list[Checkpoint]:
        """Checkpoints of a name, newest first."""
        found = [(_NAME.fullmatch(path.name), path) for path in self.folder.glob(f"{name}-*.pt")]
        checkpoints = [Checkpoint(path, name, int(m["step"]), m["checksum"]) for m, path in found if m]
        return sorted(checkpoints, key=lambda c: (c.step, c.path.stat().st_mtime_ns), reverse=True)

    def save(self, state: dict[str, Any], name: str, step: int) -> Checkpoint:
        """Write a checkpoint and remove those that are no longer needed.

        Args:
            state: nested dicts and lists of tensors, numbers and text.
            name: lower-case letters.
            step: steps done.

        Raises:
            TypeError: `state` holds something that could not be loaded without pickle.
            RunError: the disk is full or cannot be written to.
        """
        import torch

        _check_plain(state, "state")
        with told_as_run_error(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(self.folder / "checkpoint.pt")
        with removed_on_error(temporary):
            with told_as_run_error(self.folder), open(temporary, "wb") as file:
                hashing = _HashingWriter(file)
                try:
                    torch.save(state, hashing)
                except RuntimeError as error:  # torch's own, which hides the system's reason
                    raise hashing.error or error from None
            checksum = hashing.sha256.hexdigest()[:16]
            saved = Checkpoint(self.folder / f"{name}-{step:08d}-{checksum}.pt", name, step, checksum)
            commit(temporary, saved.path)
        if name != "last":  # of which there are two; nothing could make this one again
            with atomic_path(_copy_of(saved.path)) as temporary:
                shutil.copyfile(saved.path, temporary)
        self._prune(saved)
        return saved

    def load(self, name: str, warn: Callable[[str], None]) -> tuple[dict[str, Any], int] | None:
        """The newest undamaged checkpoint of a name, on the CPU, and its step; None if there is none.

        Damaged files are renamed to `….damaged`, and `warn` is told. Those that have a copy come back from it.

        Raises:
            RunError: an undamaged checkpoint cannot be read by this version of torch, or in this memory.
        """
        for checkpoint in self.of(name):
            if not _damaged(checkpoint) or self._came_back(checkpoint, warn):
                return _read(checkpoint), checkpoint.step
        return None

    def read(self, file_name: str) -> dict[str, Any]:
        """The state in a checkpoint that another process of the run has found to be undamaged.

        Raises:
            RunError: it is not there, or cannot be read.
        """
        path = self.folder / file_name
        if not path.is_file():
            hint = "Put the run folder where every machine of the training sees it."
            raise RunError("the checkpoint is not there for this process", hint=hint, path=path)
        return _read(Checkpoint(path, "", 0, ""))

    def damaged(self, name: str) -> list[Path]:
        """Files of a name that `load` found to be damaged."""
        return list(self.folder.glob(f"{name}-*{_DAMAGED}"))

    def forget_after(self, step: int) -> None:
        """Remove checkpoints of later steps: they belong to a course of events that is not to happen."""
        for checkpoint in self._all():
            if checkpoint.step > step:
                _remove(checkpoint.path)

    def _came_back(self, damaged: Checkpoint, warn: Callable[[str], None]) -> bool:
        """Put a damaged file aside; whether its copy has taken its place."""
        copy = _copy_of(damaged.path)
        usable = copy.exists() and not _damaged(replace(damaged, path=copy))
        with told_as_run_error(damaged.path):
            os.replace(damaged.path, f"{damaged.path}{_DAMAGED}")
            if usable:
                shutil.copyfile(copy, damaged.path)
        warn(f"checkpoint {damaged.path.name} is damaged and {'its copy is used' if usable else 'left out'}")
        return usable

    def _all(self) -> list[Checkpoint]:
        names = {m["name"] for path in self.folder.glob("*.pt") if (m := _NAME.fullmatch(path.name))}
        return [checkpoint for name in sorted(names) for checkpoint in self.of(name)]

    def _prune(self, saved: Checkpoint) -> None:
        last = self.of("last")[:2]
        oldest = last[-1].step if last else -1
        keep = {saved.path, *(checkpoint.path for checkpoint in last)}
        for name in {checkpoint.name for checkpoint in self._all()} - {"last"}:
            checkpoints = self.of(name)
            at_oldest = [checkpoint for checkpoint in checkpoints if checkpoint.step <= oldest]
            keep |= {checkpoint.path for checkpoint in checkpoints[:1] + at_oldest[:1]}
        outdated = [checkpoint.path for checkpoint in self._all() if checkpoint.path not in keep]
        for path in outdated + self.damaged(saved.name):
            _remove(path)


class _HashingWriter:
    """Computes the checksum of what is meant to be written, so that errors of the writing show as well."""

    def __init__(self, file: BinaryIO):
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None
        self._file = file

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _copy_of(path: Path) -> Path:
    return path.with_name(path.name + _COPY)


def _remove(path: Path) -> None:
    remove_file(_copy_of(path))  # first: a copy alone would never be removed
    remove_file(path)


def _damaged(checkpoint: Checkpoint) -> bool:
    sha256 = hashlib.sha256()
    try:
        with open(checkpoint.path, "rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
    except OSError:  # the disk itself gave up on it
        return True
    return sha256.hexdigest()[:16] != checkpoint.checksum


def _read(checkpoint: Checkpoint) -> dict[str, Any]:
    import torch

    try:
        return torch.load(checkpoint.path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parser met
        reason = str(error).partition("\n")[0]
        raise RunError(f"cannot read the checkpoint: {reason}", path=checkpoint.path) from error


def _check_plain(value: Any, where: str) -> None:
    """Find now what would fail only when the run is resumed."""
    import torch

    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _check_plain(key, f"{where} (key {key!r})")
            _check_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    elif type(value) not in (*_PLAIN, torch.Tensor, torch.nn.Parameter):  # subclasses would need pickle
        raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors, numbers and text only")
