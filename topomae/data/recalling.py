"""Reports of cases under keys that hold as long as the content of their files does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from topomae.data.case_report import CaseReport
from topomae.data.cases import Case, Dataset
from topomae.data.remembered import Remembered

_CHECKS = 2  # part of every key: raise it when the checks find something else in the same files


def recalled(
    remembered: Remembered, dataset: Dataset, case: Case, *, with_label: bool, read: bool = True
) -> CaseReport | None:
    """What was found in a case's files before; None if nothing that still holds is known.

    Args:
        remembered: where it was kept.
        dataset: the data set of the case.
        case: the case; its name and the folder of its files do not matter.
        with_label: whether the label map must have been read as well.
        read: hash files that are new or have another time; False leaves them unread, and the case unknown.
    """
    key = _key(dataset, case, with_label, remembered.sha256 if read else remembered.known_sha256)
    found = None if key is None else remembered.report(key)
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        return None if found is None else CaseReport.from_plain(case, found)
    return None


def keep_report(remembered: Remembered, dataset: Dataset, report: CaseReport, *, with_label: bool) -> None:
    """Keep what was found for `recalled`; call it when the files have been read. Bad cases are not kept."""
    key = _key(dataset, report.case, with_label, remembered.known_sha256) if report.ok else None
    if key is not None:  # else a file was changed while it was read
        remembered.keep_report(key, report.to_plain())


def _key(dataset: Dataset, case: Case, with_label: bool, sha256: Callable[[Path], str | None]) -> str | None:
    """Everything that a report depends on; None if the content of a file is not known."""
    files = [*case.images, *([case.label] if with_label else [])]
    try:
        contents = [None if file is None else [file.name, sha256(file)] for file in files]
    except OSError:
        return None
    if any(content is not None and content[1] is None for content in contents):
        return None
    labels = sorted(dataset.labels.items()) if with_label else []
    text = json.dumps([_CHECKS, with_label, list(dataset.modalities), labels, contents])
    return hashlib.sha256(text.encode()).hexdigest()
