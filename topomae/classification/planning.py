"""How volumes are looked at to learn their class: the size of the windows, and how many volumes make a step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from topomae.classification.bags import covering_offsets
from topomae.data.checks import CaseReport
from topomae.data.plan import Plan
from topomae.data.plan_rules import round_up_crop
from topomae.data.planning import SET_BY_USER

WINDOWS_PER_STEP = 8  # of the plan's crop size
_WIDER = 1.25  # along each axis, at most


def plan_for_classes(plan: Plan, reports: Iterable[CaseReport], most: int) -> Plan:
    """Change a plan that was made for segmentation; what the user has set stays.

    A crop holds the median volume where that is affordable, so that half of the volumes are larger, mostly by a few
    voxels: eight windows would cover such a one, which all show nearly the same. A window that is a little larger
    does as well, at a fraction of the work. And a volume has but one class, so that more volumes make a step.

    Args:
        plan: made for segmentation.
        reports: of the cases.
        most: windows that a volume is looked at with, at most.
    Returns:
        The plan, with the reason for each change.
    """
    reports = list(reports)
    crop, batch = plan.crop_size, plan.batch_size
    if plan.reasons.get("crop_size") != SET_BY_USER:
        crop = _window_size(plan, np.array([shape_in_plan(report, plan) for report in reports]))
    if plan.reasons.get("batch_size") != SET_BY_USER:
        wider = np.prod(crop) / np.prod(plan.crop_size)
        room = WINDOWS_PER_STEP / (wider * _mean_windows(reports, plan, crop, most))
        batch = max(1, int(batch / wider), int(room))
    reasons = {}
    if crop != plan.crop_size:
        reasons["crop_size"] = "most volumes fit into one look then, for classification"
    if batch != plan.batch_size:
        reasons["batch_size"] = f"a class says less than a label map, so {batch} volumes a step for classification"
    return plan.model_copy(update={"crop_size": crop, "batch_size": batch, "reasons": plan.reasons | reasons})


def shape_in_plan(report: CaseReport, plan: Plan) -> tuple[int, ...]:
    """Voxels (i, j, k) that a case has without its border, with the spacing of a plan."""
    axes = zip(report.foreground_shape, report.spacing, plan.spacing, strict=True)
    return tuple(round(n * s / t) for n, s, t in axes)


def most_windows(reports: Iterable[CaseReport], plan: Plan, most: int) -> int:
    """Windows that the largest of the cases is covered by, `most` at most."""
    return min(most, max(len(covering_offsets(shape_in_plan(report, plan), plan.crop_size)) for report in reports))


def _mean_windows(reports: Iterable[CaseReport], plan: Plan, crop_size: tuple[int, ...], most: int) -> float:
    """Windows of this size that cases are covered by on average, `most` each at most."""
    counts = [min(most, len(covering_offsets(shape_in_plan(report, plan), crop_size))) for report in reports]
    return float(np.mean(counts))


def _window_size(plan: Plan, shapes: np.ndarray) -> tuple[int, int, int]:
    """The crop size, wider along the axes where that lets most volumes (n, 3) fit in which did not all fit before."""
    size = []
    for crop, lengths in zip(plan.crop_size, shapes.T, strict=True):
        wide = round_up_crop(int(crop * _WIDER), plan.size)
        within = lengths[lengths <= wide]
        enough = len(within) > len(lengths) / 2 and within.max() > crop
        size.append(min(wide, round_up_crop(int(within.max()), plan.size)) if enough else crop)
    return tuple(size)
