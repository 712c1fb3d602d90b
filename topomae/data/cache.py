"""Preprocessed cases on disk: made once, read as memory-mapped arrays ever after."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from topomae.data.cache_entries import Entry, entry_in, store_image, store_label
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import load_case
from topomae.data.fingerprint import sha256_of
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed, preprocess
from topomae.errors import BadDataError, RunError

# Part of every key: raise it when preprocessing changes what it makes of the same input.
FORMAT = 2
_MOST_REMEMBERED = 256  # entries in memory; finding one again takes less than a millisecond


class PreprocessedCases:
    """A sequence of preprocessed cases, kept in a folder between runs.

    A case is made again when its plan (as far as preprocessing goes) or one of its files has changed: its
    content where that is known, else its size or time. Making it is atomic: a run killed half-way leaves
    nothing that is later taken for whole. Once a case is made, its files are not touched any more. Instances may
    be sent to other processes, and what one process makes the others find.

    Args:
        folder: where the arrays go if the data set has no cache of its own; made if needed.
        dataset: the data set. With its `cache` it is known what the files hold: a file that has vanished is then no
            obstacle if its case has been made, and one that has changed is refused. A shared cache keeps what
            other runs made of a case.
        cases: which of its cases, by `Case` or by name, in the order wanted.
        plan: how to preprocess.
        with_label: also keep the labels; each case then needs one. Without, no label file is opened.
    """

    def __init__(
        self, folder: str | Path, dataset: Dataset, cases: Sequence[Case | str], plan: Plan, with_label: bool
    ):
        cache = dataset.cache
        self.folder = Path(folder if cache is None else cache.folder)
        self.shared = cache is not None and cache.shared
        self.contents: Mapping[str, Mapping[str, Any]] | None = cache and cache.fingerprint["cases"]
        self.dataset = dataset
        self.cases = tuple(dataset.case(c) if isinstance(c, str) else c for c in cases)
        self.plan = plan
        self.with_label = with_label
        self._keys: dict[str, tuple[str, str | None]] = {}
        self._recent: OrderedDict[str, Entry] = OrderedDict()
        for case in self.cases if with_label else ():
            if case.label is None:
                raise BadDataError("has no label", hint="Leave it out, or add its label map.", case=case.name)

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Preprocessed]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Preprocessed:
        """The case at that place in `cases`; made first if need be.

        Raises:
            BadDataError: it cannot be read or preprocessed.
        """
        case = self.cases[index]
        with suppress(OSError, ValueError):  # somebody removed or damaged it: then it is made again
            if entry := self._recent.get(case.name) or self._find(case):
                return self._remembered(case, entry).open(self.with_label)
        return self._remembered(case, self._make(case)).open(self.with_label)

    def bytes_needed(self, index: int) -> float:
        """About how much disk space the case at that place takes; 0 if nothing is known of it."""
        cubic_mm = self.dataset.cache.cubic_mm.get(self.cases[index].name, 0.0) if self.dataset.cache else 0.0
        voxels = cubic_mm / math.prod(self.plan.spacing)
        return voxels * (4 * self.plan.channels + (1 if self.with_label else 0))

    def missing(self) -> list[int]:
        """Places in `cases` of those that are yet to be made.

        Raises:
            BadDataError: a file cannot be read.
        """
        return [place for place, case in enumerate(self.cases) if self._find(case) is None]

    def make(self, index: int) -> None:
        """Make the case at that place in `cases`, unless another process has done so.

        Raises:
            BadDataError: it cannot be read or preprocessed.
        """
        case = self.cases[index]
        if self._find(case) is None:
            self._make(case)

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Make every case that is not there yet.

        Args:
            progress: called with the number of cases done and the number in all, at the start and after each.
        Raises:
            BadDataError: a case cannot be read or preprocessed; those before it are kept.
        """
        report = progress or (lambda done, of: None)
        report(0, len(self))
        for done in range(1, len(self) + 1):
            self.make(done - 1)
            report(done, len(self))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_recent": OrderedDict()}

    def _remembered(self, case: Case, entry: Entry) -> Entry:
        self._recent[case.name] = entry
        self._recent.move_to_end(case.name)
        if len(self._recent) > _MOST_REMEMBERED:
            self._recent.popitem(last=False)
        return entry

    def _find(self, case: Case) -> Entry | None:
        """The entry on disk, if it is whole and still true."""
        return entry_in(self._home(case), *self._keys_of(case))

    def _make(self, case: Case) -> Entry:
        self._keys.pop(case.name, None)  # what is read now counts, and is judged before it is read
        image_key, label_key = self._keys_of(case)
        self._refuse_changed(case)
        image, label = load_case(self.dataset, case, with_label=self.with_label)
        try:
            made = preprocess(image, label, self.plan)
        except BadDataError as error:
            where = error.path or next(path for path in case.images if path is not None)
            raise BadDataError(error.message, hint=error.hint, case=case.name, path=where) from None
        home = self._home(case)
        try:
            kept = store_image(home, case.name, image_key, made)
            if label_key is not None:
                kept |= store_label(home, case.name, label_key, made)
        except RunError:  # Windows: another process made it at the same moment and has it open
            entry = entry_in(home, image_key, label_key)
            if entry is None:
                raise
            return entry
        if not self.shared:
            self._remove_outdated(home, keep=kept)
        entry = entry_in(home, image_key, label_key)
        if entry is None:
            raise RunError("what was written there cannot be read back", hint="Check the disk.", path=home)
        return entry

    def _refuse_changed(self, case: Case) -> None:
        """Refuse files that no longer hold what they held when the run began."""
        if self.contents is None:
            return
        wanted = self.contents[case.name]
        pairs = [*zip(case.images, wanted["images"], strict=True)]
        pairs += [(case.label, wanted["label"])] if self.with_label else []
        for path, digest in pairs:
            with suppress(OSError):  # not there: reading it says so in words
                if path is not None and sha256_of(path) != digest:
                    raise changed(case, path)

    def _home(self, case: Case) -> Path:
        return self.folder / _file_stem(case.name)

    def _remove_outdated(self, home: Path, keep: set[str]) -> None:
        for path in home.iterdir():
            if path.name not in keep:
                with suppress(OSError):  # Windows keeps files that another process has mapped
                    path.unlink()

    def _keys_of(self, case: Case) -> tuple[str, str | None]:
        """Keys of the image's and the label's arrays; found out once, so that the files may go afterwards."""
        if case.name not in self._keys:
            if self.contents is None:
                images = [None if path is None else _stamp(path, case) for path in case.images]
                label = _stamp(case.label, case) if self.with_label else None
            else:
                images, label = self.contents[case.name]["images"], self.contents[case.name]["label"]
            plan = self.plan.model_dump(mode="json", include={"modalities", "spacing", "normalization"})
            image_key = _digest([FORMAT, plan, images])
            label_key = _digest([image_key, list(self.plan.labels), label]) if self.with_label else None
            self._keys[case.name] = image_key, label_key
        return self._keys[case.name]


def remove_old_leftovers(folder: Path, *, seconds: float) -> None:
    """Remove what killed writers left behind in a folder of preprocessed cases, if it is that old."""
    for path in folder.glob("*/.tmp-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime >= seconds:
                path.unlink()


def changed(case: Case, path: Path) -> BadDataError:
    """The error for a file that holds something else than when the run began."""
    return BadDataError(
        "the file has changed since the run began",
        hint="Put the old file back to go on, or start in another folder.",
        case=case.name,
        path=path,
    )


def _file_stem(name: str) -> str:
    """A file name that every system takes and that no other case of the data set gets."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".")[:60]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _stamp(path: Path, case: Case) -> list:
    """What shows that a file has changed."""
    try:
        status = path.stat()
    except OSError as error:
        problem = f"a file cannot be read: {error.strerror}"
        raise BadDataError(problem, hint="Restore the file.", case=case.name, path=path) from None
    return [path.name, status.st_size, status.st_mtime_ns]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
