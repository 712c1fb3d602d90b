"""What reading a data set found, kept in a file, so that planning anew does not read every volume again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from topomae.data.cases import Case, Dataset
from topomae.data.checks import CaseReport, Intensities
from topomae.errors import BadDataError
from topomae.files import write_text_atomic

_FORMAT = 1  # raise it when the checks change


def recall(path: Path, dataset: Dataset, *, labels_checked: bool) -> list[CaseReport] | None:
    """The reports of a data set's cases from an earlier reading; None if there are none that still hold.

    Args:
        path: file written by `keep`; it may be missing or damaged.
        dataset: the data set as it is now; sizes and times of its files must be those of then.
        labels_checked: whether label maps must have been read as well.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["of"] == _fingerprint(dataset, labels_checked):
            return [_report(case, one) for case, one in zip(dataset.cases, content["reports"], strict=True)]
    return None


def keep(path: Path, dataset: Dataset, reports: Sequence[CaseReport], *, labels_checked: bool) -> None:
    """Write reports to a file for `recall`; `reports` are of the data set's cases, in order."""
    content = {"of": _fingerprint(dataset, labels_checked), "reports": [_plain(report) for report in reports]}
    write_text_atomic(path, json.dumps(content))


def _fingerprint(dataset: Dataset, labels_checked: bool) -> list[Any]:
    """Everything that the reports depend on, as JSON gives it back."""
    stamps = [[case.name, *map(_stamp, case.images), case.label and _stamp(case.label)] for case in dataset.cases]
    labels = {str(value): name for value, name in dataset.labels.items()}
    return [_FORMAT, labels_checked, list(dataset.modalities), labels, stamps]


def _stamp(path: Path) -> list[Any]:
    try:
        status = path.stat()
    except OSError:
        return [str(path.resolve()), None, None]
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _plain(report: CaseReport) -> dict[str, Any]:
    errors = [
        {"message": e.message, "hint": e.hint, "case": e.case, "path": str(e.path) if e.path else None}
        for e in report.errors
    ]
    return {
        "errors": errors,
        "warnings": report.warnings,
        "shape": report.shape,
        "spacing": report.spacing,
        "foreground_shape": report.foreground_shape,
        "intensities": [asdict(one) for one in report.intensities],
        "label_voxels": report.label_voxels,
    }


def _report(case: Case, plain: dict[str, Any]) -> CaseReport:
    counts = plain["label_voxels"]
    return CaseReport(
        case,
        errors=tuple(BadDataError(**error) for error in plain["errors"]),
        warnings=tuple(plain["warnings"]),
        shape=_tuple(plain["shape"]),
        spacing=_tuple(plain["spacing"]),
        foreground_shape=_tuple(plain["foreground_shape"]),
        intensities=tuple(Intensities(**one) for one in plain["intensities"]),
        label_voxels=None if counts is None else {int(value): count for value, count in counts.items()},
    )


def _tuple(values: list | None) -> tuple | None:
    return None if values is None else tuple(values)
