"""The files of one preprocessed case: arrays, and JSON that makes them count once they are whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from topomae.data.geometry import Geometry
from topomae.data.preprocessing import Preprocessed
from topomae.files import atomic_path, write_json_atomic

_LETTERS_OF_KEY = 32


class _Index(BaseModel):
    """The JSON beside the arrays of a case: of its image, or of its label map."""

    model_config = ConfigDict(extra="forbid")

    case: str
    key: str
    arrays: dict[str, tuple[str, int]]  # by part: name of the file, its size in bytes
    geometry: dict | None = None
    available: tuple[bool, ...] | None = None


@dataclass(frozen=True)
class Entry:
    """One case on disk. No file is held open.

    Attributes:
        home: folder of the case.
        arrays: file name by part: "image" and, where there is a label, "label" and "foreground".
        geometry: the way back to the input.
        available: which modalities the case has; None for all.
    """

    home: Path
    arrays: dict[str, str]
    geometry: Geometry
    available: tuple[bool, ...] | None

    def open(self, with_label: bool) -> Preprocessed:
        """The case with its arrays mapped into memory.

        Raises:
            OSError, ValueError: a file is gone or damaged.
        """
        return Preprocessed(
            image=self._array("image"),
            label=self._array("label") if with_label else None,
            affine=self.geometry.preprocessed_affine,
            geometry=self.geometry,
            foreground=_from_table(self._array("foreground")) if with_label else {},
            available=self.available,
        )

    def _array(self, part: str) -> np.ndarray:
        mode = None if part == "foreground" else "r"  # an empty table cannot be mapped
        array = np.load(self.home / self.arrays[part], mmap_mode=mode, allow_pickle=False)
        if part != "foreground" and array.shape[-3:] != self.geometry.preprocessed_shape:
            raise ValueError(f"{self.arrays[part]} has shape {array.shape}")
        return array


def entry_in(home: Path, image_key: str, label_key: str | None) -> Entry | None:
    """The arrays made under these keys, if they are all there and none is cut short; no array is opened.

    Args:
        home: folder of the case.
        image_key: of the image's array.
        label_key: of the label's arrays; None does without.
    """
    try:
        image = _read_index(home, image_key, "image")
        label = None if label_key is None else _read_index(home, label_key, "label")
        arrays = {part: name for index in (image, label) if index for part, (name, _) in index.arrays.items()}
        if not {"image", *(["label", "foreground"] if label else [])} <= arrays.keys():
            return None
        return Entry(home, arrays, Geometry.from_dict(image.geometry), image.available)
    except (OSError, ValueError, TypeError, KeyError):  # not there, or damaged: then it is made again
        return None


def store_image(home: Path, case: str, key: str, made: Preprocessed) -> set[str]:
    """Write the array of an image; returns the names of the files."""
    arrays = {"image": made.image}
    return _store(home, _Index(case=case, key=key, arrays={}, geometry=made.geometry.to_dict()), "image", arrays, made)


def store_label(home: Path, case: str, key: str, made: Preprocessed) -> set[str]:
    """Write the arrays of a label map; returns the names of the files."""
    arrays = {"label": made.label, "foreground": _as_table(made.foreground)}
    return _store(home, _Index(case=case, key=key, arrays={}), "label", arrays, made)


def _store(home: Path, index: _Index, kind: str, arrays: dict[str, np.ndarray], made: Preprocessed) -> set[str]:
    files = {part: f"{index.key[:_LETTERS_OF_KEY]}.{part}.npy" for part in arrays}
    for part, name in files.items():
        with atomic_path(home / name) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array(file, arrays[part], allow_pickle=False)
        index.arrays[part] = name, (home / name).stat().st_size
    index.available = made.available if kind == "image" else None
    index_file = _index_file(home, index.key, kind)
    write_json_atomic(index_file, index.model_dump(mode="json"), indent=None)  # last: it makes the rest count
    return {index_file.name, *files.values()}


def _read_index(home: Path, key: str, kind: str) -> _Index:
    """The index of arrays that are there; ValueError if one is damaged or lies outside the folder."""
    index = _Index.model_validate_json(_index_file(home, key, kind).read_bytes())
    if index.key != key:
        raise ValueError(f"made under the key {index.key}")
    for name, size in index.arrays.values():
        if Path(name).name != name or not name.endswith(".npy") or (home / name).stat().st_size != size:
            raise ValueError(f"no array named {name!r}")
    return index


def _index_file(home: Path, key: str, kind: str) -> Path:
    return home / f"{key[:_LETTERS_OF_KEY]}.{kind}.json"


def _as_table(foreground: dict[int, np.ndarray]) -> np.ndarray:
    """(N, 4) int32 rows of class index, i, j, k."""
    rows = [np.insert(where, 0, c, axis=1) for c, where in foreground.items()]
    return np.concatenate(rows).astype(np.int32) if rows else np.empty((0, 4), np.int32)


def _from_table(table: np.ndarray) -> dict[int, np.ndarray]:
    return {int(c): np.array(table[table[:, 0] == c, 1:]) for c in np.unique(table[:, 0])}
