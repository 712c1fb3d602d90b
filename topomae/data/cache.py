"""Preprocessed cases on disk: made once, read as memory-mapped arrays ever after."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from topomae.data.cases import Case, Dataset
from topomae.data.dataset import load_case
from topomae.data.geometry import Geometry
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed, preprocess
from topomae.errors import BadDataError
from topomae.files import atomic_path, write_json_atomic

# Part of every key: raise it when preprocessing changes what it makes of the same input.
FORMAT = 2


class PreprocessedCases:
    """A sequence of preprocessed cases, kept in a folder between runs.

    A case is made again when its plan (as far as preprocessing goes) or the size or time of one of its
    files has changed. Making it is atomic: a run killed half-way leaves nothing that is later taken for
    whole. Instances may be sent to other processes.

    Args:
        folder: where the arrays go; made if needed.
        dataset: the data set.
        cases: which of its cases, by `Case` or by name, in the order wanted.
        plan: how to preprocess.
        with_label: also keep the labels; each case then needs one. Without, no label file is opened.
    """

    def __init__(
        self, folder: str | Path, dataset: Dataset, cases: Sequence[Case | str], plan: Plan, with_label: bool
    ):
        self.folder = Path(folder)
        self.dataset = dataset
        self.cases = tuple(dataset.case(c) if isinstance(c, str) else c for c in cases)
        self.plan = plan
        self.with_label = with_label
        self._ready: dict[str, _Entry] = {}
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
        entry = self._ready.get(case.name) or self._find(case) or self._make(case)
        self._ready[case.name] = entry
        return entry.open(self.with_label)

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Make every case that is not there yet.

        Args:
            progress: called with the number of cases done and the number in all, at the start and after each.
        Raises:
            BadDataError: a case cannot be read or preprocessed; those before it are kept.
        """
        report = progress or (lambda done, of: None)
        report(0, len(self))
        for done, case in enumerate(self.cases, start=1):
            if case.name not in self._ready:
                self._ready[case.name] = self._find(case) or self._make(case)
            report(done, len(self))

    def _find(self, case: Case) -> _Entry | None:
        """The entry on disk, if it is whole and still true."""
        try:
            index = _Index.model_validate_json(self._index_file(case).read_text(encoding="utf-8"))
            entry = _Entry(self.folder, index, Geometry.from_dict(index.geometry))
            if index.image_key != self._image_key(case):
                return None
            if self.with_label and index.label_key != self._label_key(case):
                return None
            entry.open(self.with_label)  # a truncated array cannot be mapped
        except (OSError, ValueError):  # not there, or damaged: then it is made again
            return None
        return entry

    def _make(self, case: Case) -> _Entry:
        image_key = self._image_key(case)  # before reading: a file replaced meanwhile is then noticed
        label_key = self._label_key(case) if self.with_label else None
        image, label = load_case(self.dataset, case, with_label=self.with_label)
        try:
            made = preprocess(image, label, self.plan)
        except BadDataError as error:
            where = error.path or case.images[0]
            raise BadDataError(error.message, hint=error.hint, case=case.name, path=where) from None
        stem = f"{_file_stem(case.name)}-{image_key[:8]}"
        arrays = {"image": f"{stem}.image.npy"}
        _save_array(self.folder / arrays["image"], made.image)
        if label_key is not None:
            arrays |= {part: f"{stem}-{label_key[:8]}.{part}.npy" for part in ("label", "foreground")}
            _save_array(self.folder / arrays["label"], made.label)
            _save_array(self.folder / arrays["foreground"], _as_table(made.foreground))
        index = _Index(
            case=case.name,
            image_key=image_key,
            label_key=label_key,
            arrays=arrays,
            geometry=made.geometry.to_dict(),
        )
        write_json_atomic(self._index_file(case), index.model_dump(mode="json"))  # last: it makes the rest count
        self._remove_outdated(case, keep=set(arrays.values()))
        return _Entry(self.folder, index, made.geometry)

    def _index_file(self, case: Case) -> Path:
        return self.folder / f"{_file_stem(case.name)}.json"

    def _remove_outdated(self, case: Case, keep: set[str]) -> None:
        for path in self.folder.glob(f"{_file_stem(case.name)}-*.npy"):
            if path.name not in keep:
                with suppress(OSError):  # Windows keeps files that another process has mapped
                    path.unlink()

    def _image_key(self, case: Case) -> str:
        plan = self.plan.model_dump(mode="json", include={"modalities", "spacing", "normalization"})
        return _digest([FORMAT, plan, [_stamp(path, case) for path in case.images]])

    def _label_key(self, case: Case) -> str:
        return _digest([self._image_key(case), list(self.plan.labels), _stamp(case.label, case)])


class _Index(BaseModel):
    """The JSON beside the arrays of one case."""

    model_config = ConfigDict(extra="forbid")

    case: str
    image_key: str
    label_key: str | None
    arrays: dict[str, str]
    geometry: dict


@dataclass(frozen=True)
class _Entry:
    """One case on disk."""

    folder: Path
    index: _Index
    geometry: Geometry

    def open(self, with_label: bool) -> Preprocessed:
        label = self._array("label") if with_label else None
        return Preprocessed(
            image=self._array("image"),
            label=label,
            affine=self.geometry.preprocessed_affine,
            geometry=self.geometry,
            foreground=_from_table(self._array("foreground")) if with_label else {},
        )

    def _array(self, part: str) -> np.ndarray:
        """Memory-mapped array; ValueError if it is absent from the index, damaged or outside the folder."""
        name = self.index.arrays.get(part, "")
        if Path(name).name != name or not name.endswith(".npy"):
            raise ValueError(f"no array named {name!r}")
        mode = None if part == "foreground" else "r"  # an empty table cannot be mapped
        array = np.load(self.folder / name, mmap_mode=mode, allow_pickle=False)
        if part != "foreground" and array.shape[-3:] != self.geometry.preprocessed_shape:
            raise ValueError(f"{name} has shape {array.shape}")
        return array


def _save_array(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _as_table(foreground: dict[int, np.ndarray]) -> np.ndarray:
    """(N, 4) int32 rows of class index, i, j, k."""
    rows = [np.insert(where, 0, c, axis=1) for c, where in foreground.items()]
    return np.concatenate(rows).astype(np.int32) if rows else np.empty((0, 4), np.int32)


def _from_table(table: np.ndarray) -> dict[int, np.ndarray]:
    return {int(c): np.array(table[table[:, 0] == c, 1:]) for c in np.unique(table[:, 0])}


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
