"""What the files of a data set hold, as numbers that change when the content does, and only then."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from topomae.data.cases import Case, Dataset
from topomae.data.nrrd import detached_data_file
from topomae.errors import BadDataError

_BLOCK = 1 << 20
_HEAD = 4096  # holds the header of every format that is read
_MAX_THREADS = 4


def content_fingerprint(
    dataset: Dataset,
    cases: Iterable[Case | str],
    *,
    with_labels: bool = True,
    sha256: Callable[[Path], str] | None = None,
) -> dict[str, Any]:
    """Say what the files of some cases hold. Where they lie and when they were written does not matter.

    Args:
        dataset: the data set of the cases.
        cases: which of its cases, by `Case` or by name.
        with_labels: False leaves the label maps alone, as pre-training does; they then count as absent.
        sha256: how the content of a file is found out; by default it is read (`sha256_of`).

    Returns:
        {"cases": {name: {"images": [SHA-256 of each file; None for a modality that the case does not have],
        "label": SHA-256 or None}}, "sha256": SHA-256 of all that}, in hexadecimal digits. The order of the cases
        does not matter.

    Raises:
        BadDataError: a file cannot be read; it names the case.
    """
    digest = sha256 or sha256_of
    chosen = [dataset.case(case) if isinstance(case, str) else case for case in cases]

    def content(case: Case) -> dict[str, Any]:
        return {
            "images": [None if path is None else _told(digest, path, case) for path in case.images],
            "label": _told(digest, case.label, case) if with_labels and case.label is not None else None,
        }

    pool = ThreadPoolExecutor(max(1, min(_MAX_THREADS, os.cpu_count() or 1)))
    try:
        found = {case.name: one for case, one in zip(chosen, pool.map(content, chosen), strict=True)}
    finally:
        pool.shutdown(cancel_futures=True)
    return joined_fingerprint(found)


def joined_fingerprint(cases: dict[str, Any]) -> dict[str, Any]:
    """The fingerprint of cases whose contents were found out one by one; see `content_fingerprint`."""
    return {"cases": cases, "sha256": hashlib.sha256(json.dumps(cases, sort_keys=True).encode()).hexdigest()}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal digits; of a header with its data file, or a folder, of all files.

    Raises:
        OSError: a file cannot be read.
    """
    parts = parts_of(path)
    if parts == (path,):
        return _sha256_of_file(path)
    whole = hashlib.sha256()
    for part in parts:
        whole.update(f"{part.name}\0{_sha256_of_file(part)}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def stamp_of(path: Path) -> list[Any]:
    """What shows, without reading it all, that a volume is still as it was: size, time and first bytes.

    Returns:
        A list of JSON values, to be compared only.

    Raises:
        OSError: a file cannot be read.
    """
    return [_stamp_of_file(part) for part in parts_of(path)]


def parts_of(path: Path) -> tuple[Path, ...]:
    """The files that a volume consists of: itself, a detached header with its data file, or those of a folder."""
    if path.is_dir():
        return tuple(sorted(part for part in path.rglob("*") if part.is_file()))
    data = detached_data_file(path) if path.name.lower().endswith(".nhdr") else None
    return (path,) if data is None else (path, data)


def _sha256_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _stamp_of_file(path: Path) -> list[Any]:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        head = hashlib.blake2b(file.read(_HEAD), digest_size=16).hexdigest()
    return [path.name, status.st_size, status.st_mtime_ns, head]


def _told(digest: Callable[[Path], str], path: Path, case: Case) -> str:
    """The digest of a file of a case, with the system's errors as a sentence."""
    try:
        return digest(path)
    except FileNotFoundError:
        problem, hint = "the file does not exist", "Restore the file."
    except OSError as error:
        problem, hint = f"the file cannot be read ({error.strerror or error})", "Check the disk and the permissions."
    raise BadDataError(problem, hint=hint, case=case.name, path=path)
