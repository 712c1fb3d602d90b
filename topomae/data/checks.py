"""Reading every file once before any work begins: what is wrong, what is odd, and what planning needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from topomae.data.case_loading import count_labels, load_case_image, load_case_label
from topomae.data.case_report import CaseReport, Intensities
from topomae.data.cases import Case, Dataset, in_hounsfield_units
from topomae.data.grids import ras_axes
from topomae.data.normalization import border_value
from topomae.data.recalling import keep_report, recalled
from topomae.data.remembered import Remembered
from topomae.data.volume import Volume
from topomae.errors import BadDataError, TopoMAEError

_MAX_THREADS = 4  # decompression dominates and runs in parallel; each thread holds one case in memory
_MAX_SAMPLES = 2_000_000  # voxels for percentiles: enough for three digits, and quick
_OUTLIER_RATIO = 3.0
_AIR_HU = -900.0  # lung is denser
_CASES_FOR_OUTLIERS = 4


def check_dataset(
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    labels_needed: bool,
    labels_checked: bool = False,
    progress: Callable[[int, int], None] | None = None,
    remembered: Remembered | None = None,
) -> list[CaseReport]:
    """Read every file of the given cases once; nothing is raised for bad files, they are reported.

    Args:
        dataset: the data set of the cases.
        cases: the cases to read.
        labels_needed: read label maps too, and report a missing one as an error.
        labels_checked: read the label maps that are there. Without either no label file is opened.
        progress: called with (cases done, cases in all) before the first case and after each.
        remembered: what earlier readings found. Files that have not changed since are not read again, nor
            counted in the progress. What is found is kept there, save for bad cases: their files are read anew
            each time, since what was wrong may have been solved without a trace in them (permissions, memory).

    Returns:
        One report per case, in the order given.
    """
    return with_outliers(
        check_each(
            dataset,
            cases,
            labels_needed=labels_needed,
            labels_checked=labels_checked,
            progress=progress,
            remembered=remembered,
        )
    )


def check_each(
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    labels_needed: bool,
    labels_checked: bool,
    progress: Callable[[int, int], None] | None,
    remembered: Remembered | None,
) -> list[CaseReport]:
    """`check_dataset` without the comparison of the cases with one another, `with_outliers`."""
    cases = list(cases)

    def wanted(case: Case) -> bool:
        return labels_needed or (labels_checked and case.label is not None)

    def recall(case: Case) -> CaseReport | None:
        return recalled(remembered, dataset, case, with_label=wanted(case), read=False)

    def check(case: Case) -> CaseReport:
        return check_case(dataset, case, labels_needed=wanted(case), remembered=remembered)

    pool = ThreadPoolExecutor(max(1, min(_MAX_THREADS, os.cpu_count() or 1)))
    try:
        reports = list(pool.map(recall, cases)) if remembered is not None else [None] * len(cases)
        unknown = [place for place, report in enumerate(reports) if report is None]
        if unknown and progress is not None:
            progress(0, len(unknown))
        for done, report in enumerate(pool.map(check, (cases[place] for place in unknown)), start=1):
            reports[unknown[done - 1]] = report
            if progress is not None:
                progress(done, len(unknown))
    finally:
        pool.shutdown(cancel_futures=True)
    return reports


def check_case(
    dataset: Dataset, case: Case, *, labels_needed: bool, remembered: Remembered | None = None
) -> CaseReport:
    """Read one case's files and report; see `check_dataset`."""
    if remembered is None:
        report, image = _check_image(dataset, case)
        return _check_label(dataset, report, image) if labels_needed else report
    known = recalled(remembered, dataset, case, with_label=labels_needed)
    if known is not None:
        return known
    report, image = _check_image(dataset, case)
    keep_report(remembered, dataset, report, with_label=False)
    if labels_needed:
        report = _check_label(dataset, report, image)
        keep_report(remembered, dataset, report, with_label=True)
    return report


def require_ok(reports: Sequence[CaseReport]) -> None:
    """Raise if a case cannot be used.

    Raises:
        BadDataError: the first error; if there are several, with their number and the other cases' names.
    """
    bad = [report for report in reports if not report.ok]
    if not bad:
        return
    first = bad[0].errors[0]
    if len(bad) == 1:
        raise first
    others = ", ".join(report.case.name for report in bad[1:6]) + (" ..." if len(bad) > 6 else "")
    raise BadDataError(
        first.message,
        hint=f"{first.hint} {len(bad) - 1} more of {len(reports)} cases cannot be used either: {others}.",
        case=first.case,
        path=first.path,
    )


def _check_image(dataset: Dataset, case: Case) -> tuple[CaseReport, Volume | None]:
    """Read the image; None in its place if it cannot be used."""
    problems: list[str] = []
    report = CaseReport(case)
    try:
        image = load_case_image(dataset, case, problems)
        report = replace(report, **_describe(image, dataset.modalities))
        problems += _constant_channels(dataset, case, report.intensities)
    except TopoMAEError as error:
        return replace(report, errors=(error,), warnings=_once(problems)), None
    return replace(report, warnings=_once(problems)), image


def _check_label(dataset: Dataset, report: CaseReport, image: Volume | None) -> CaseReport:
    """Read the label map as well."""
    problems = list(report.warnings)
    try:
        report = replace(report, label_voxels=_read_label(dataset, report.case, image, problems))
    except TopoMAEError as error:
        report = replace(report, errors=(*report.errors, error))
    return replace(report, warnings=_once(problems))


def _once(problems: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(problems))


def _read_label(dataset: Dataset, case: Case, image: Volume | None, problems: list[str]) -> dict[int, int] | None:
    if image is None and case.label is not None:
        return None  # the image's error comes first; without its grid the label cannot be judged
    counts = count_labels(load_case_label(dataset, case, image, problems))
    if not counts:
        problems.append(f"{case.label.name}: the label map is empty, all background")
    return counts


def _describe(image: Volume, modalities: Sequence[str]) -> dict:
    axes = ras_axes(image.affine)
    available = image.available or (True,) * len(image.array)
    nothing = np.zeros(image.shape, bool)
    inside = [
        _not_border(channel) if there else nothing for channel, there in zip(image.array, available, strict=True)
    ]
    box = _box_shape(np.logical_or.reduce(inside) if len(inside) > 1 else inside[0])
    tissue = [
        _without_air(channel, mask) if in_hounsfield_units(name) else mask
        for channel, mask, name in zip(image.array, inside, modalities, strict=True)
    ]
    found = zip(image.array, tissue, available, strict=True)
    return {
        "shape": tuple(image.shape[a] for a in axes),
        "spacing": tuple(image.spacing[a] for a in axes),
        "foreground_shape": tuple(box[a] for a in axes),
        "intensities": tuple(_intensities(channel, mask) if there else None for channel, mask, there in found),
    }


def _not_border(channel: np.ndarray) -> np.ndarray:
    """Return where a channel differs from its constant border; everywhere if it has none or nothing else."""
    border = border_value(channel)
    mask = np.ones(channel.shape, bool) if border is None else channel != border
    return mask if mask.any() else np.ones(channel.shape, bool)


def _without_air(channel: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Leave out the air around a patient, which fills half of many CT volumes and would decide their contrast."""
    tissue = mask & (channel > _AIR_HU)
    return tissue if tissue.any() else mask


def _box_shape(mask: np.ndarray) -> tuple[int, int, int]:
    sides = (np.flatnonzero(mask.any(axis=tuple(b for b in range(3) if b != a))) for a in range(3))
    return tuple(int(side[-1] - side[0] + 1) for side in sides)


def _intensities(channel: np.ndarray, mask: np.ndarray) -> Intensities:
    values = channel[mask]
    sample = values[:: max(1, -(-values.size // _MAX_SAMPLES))]
    low, middle, high = np.percentile(sample, (0.5, 50, 99.5))
    return Intensities(
        p0_5=float(low),
        p50=float(middle),
        p99_5=float(high),
        mean=float(values.mean(dtype=np.float64)),
        sd=float(values.std(dtype=np.float64)),
        minimum=float(values.min()),
        maximum=float(values.max()),
    )


def _constant_channels(dataset: Dataset, case: Case, intensities: Sequence[Intensities | None]) -> list[str]:
    """Name constant modalities; a case where all that it has are constant is refused."""
    there = [(name, one) for name, one in zip(dataset.modalities, intensities, strict=True) if one is not None]
    constant = [name for name, one in there if one.minimum == one.maximum]
    if len(constant) == len(there):
        raise BadDataError(
            f"every voxel of the image has the same value ({there[0][1].minimum:g})",
            hint="Export the volume again, or take the case out.",
            case=case.name,
            path=case.files[0],
        )
    return [f"the modality {name} is constant: nothing can be learned from it" for name in constant]


def with_outliers(reports: list[CaseReport]) -> list[CaseReport]:
    """Add a warning to cases whose spacing or extent is far from the others': another organ or modality?"""
    read = [report for report in reports if report.shape is not None]
    if len(read) < _CASES_FOR_OUTLIERS:
        return reports
    spacings = np.array([report.spacing for report in read])
    extents = spacings * np.array([report.shape for report in read])
    odd: dict[str, str] = {}
    for values, what in ((spacings, "voxel spacing"), (extents, "extent")):
        usual = np.median(values, axis=0)
        ratio = np.maximum(values / usual, usual / values).max(axis=1)
        for at in np.flatnonzero(ratio > _OUTLIER_RATIO):
            found, others = ("×".join(f"{x:.3g}" for x in v) for v in (values[at], usual))
            text = f"{what} {found} mm is far from the data set's median {others} mm"
            name = read[at].case.name
            odd[name] = f"{odd[name]}; {text}" if name in odd else text
    return [
        replace(report, warnings=(*report.warnings, f"unlike the other cases: {odd[report.case.name]}"))
        if report.case.name in odd
        else report
        for report in reports
    ]
