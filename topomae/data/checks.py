"""Reading every file once before any work begins: what is wrong, what is odd, and what planning needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from topomae.data.case_loading import count_labels, load_case_image, load_case_label
from topomae.data.cases import Case, Dataset, in_hounsfield_units
from topomae.data.grids import ras_axes
from topomae.data.normalization import border_value
from topomae.data.volume import Volume
from topomae.errors import BadDataError, TopoMAEError

_MAX_THREADS = 4  # decompression dominates and runs in parallel; each thread holds one case in memory
_MAX_SAMPLES = 2_000_000  # voxels for percentiles: enough for three digits, and quick
_OUTLIER_RATIO = 3.0
_AIR_HU = -900.0  # lung is denser
_CASES_FOR_OUTLIERS = 4


@dataclass(frozen=True)
class Intensities:
    """Distribution of one modality's values in the file's units, over voxels that are no constant border.

    p0_5, p50 and p99_5 are percentiles.
    """

    p0_5: float
    p50: float
    p99_5: float
    mean: float
    sd: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class CaseReport:
    """What reading a case found.

    Attributes:
        case: the case.
        errors: why it cannot be used; empty if it can.
        warnings: what the user should know although it can be used.
        shape: voxels along left-right, posterior-anterior, inferior-superior; None if unread.
        spacing: mm in the same order; None if unread.
        foreground_shape: the same order, of the box around voxels that are no constant border.
        intensities: one per modality, of CT without air; empty if unread.
        label_voxels: label value to number of voxels, without 0; empty if labels were not needed.
    """

    case: Case
    errors: tuple[TopoMAEError, ...] = ()
    warnings: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    foreground_shape: tuple[int, int, int] | None = None
    intensities: tuple[Intensities, ...] = ()
    label_voxels: dict[int, int] | None = None

    @property
    def ok(self) -> bool:
        """Whether the case can be used."""
        return not self.errors


def check_dataset(
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    labels_needed: bool,
    labels_checked: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[CaseReport]:
    """Read every file of the given cases once; nothing is raised for bad files, they are reported.

    Args:
        dataset: the data set of the cases.
        cases: the cases to read.
        labels_needed: read label maps too, and report a missing one as an error.
        labels_checked: read the label maps that are there. Without either no label file is opened.
        progress: called with (cases done, cases in all) after each case.

    Returns:
        One report per case, in the order given.
    """
    cases = list(cases)
    reports: list[CaseReport] = []

    def check(case: Case) -> CaseReport:
        return check_case(dataset, case, labels_needed=labels_needed or (labels_checked and case.label is not None))

    pool = ThreadPoolExecutor(max(1, min(_MAX_THREADS, os.cpu_count() or 1)))
    try:
        for report in pool.map(check, cases):
            reports.append(report)
            if progress is not None:
                progress(len(reports), len(cases))
    finally:
        pool.shutdown(cancel_futures=True)
    return _with_outliers(reports)


def check_case(dataset: Dataset, case: Case, *, labels_needed: bool) -> CaseReport:
    """Read one case's files and report; see `check_dataset`."""
    problems: list[str] = []
    errors: list[TopoMAEError] = []
    report = CaseReport(case)
    image = None
    try:
        image = load_case_image(dataset, case, problems)
        report = replace(report, **_describe(image, dataset.modalities))
        problems += _constant_channels(dataset, case, report.intensities)
    except TopoMAEError as error:
        errors.append(error)
    if labels_needed:
        try:
            report = replace(report, label_voxels=_read_label(dataset, case, image, problems))
        except TopoMAEError as error:
            errors.append(error)
    return replace(report, errors=tuple(errors), warnings=tuple(dict.fromkeys(problems)))


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


def _read_label(dataset: Dataset, case: Case, image: Volume | None, problems: list[str]) -> dict[int, int] | None:
    if image is None and case.label is not None:
        return None  # the image's error comes first; without its grid the label cannot be judged
    counts = count_labels(load_case_label(dataset, case, image, problems))
    if not counts:
        problems.append(f"{case.label.name}: the label map is empty, all background")
    return counts


def _describe(image: Volume, modalities: Sequence[str]) -> dict:
    axes = ras_axes(image.affine)
    inside = [_not_border(channel) for channel in image.array]
    box = _box_shape(np.logical_or.reduce(inside) if len(inside) > 1 else inside[0])
    tissue = [
        _without_air(channel, mask) if in_hounsfield_units(name) else mask
        for channel, mask, name in zip(image.array, inside, modalities, strict=True)
    ]
    pairs = zip(image.array, tissue, strict=True)
    return {
        "shape": tuple(image.shape[a] for a in axes),
        "spacing": tuple(image.spacing[a] for a in axes),
        "foreground_shape": tuple(box[a] for a in axes),
        "intensities": tuple(_intensities(channel, mask) for channel, mask in pairs),
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


def _constant_channels(dataset: Dataset, case: Case, intensities: Sequence[Intensities]) -> list[str]:
    """Name constant modalities; a case where all are constant is refused."""
    constant = [name for name, one in zip(dataset.modalities, intensities, strict=True) if one.minimum == one.maximum]
    if len(constant) == len(intensities):
        raise BadDataError(
            f"every voxel of the image has the same value ({intensities[0].minimum:g})",
            hint="Export the volume again, or take the case out.",
            case=case.name,
            path=case.images[0],
        )
    return [f"the modality {name} is constant: nothing can be learned from it" for name in constant]


def _with_outliers(reports: list[CaseReport]) -> list[CaseReport]:
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
