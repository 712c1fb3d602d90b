"""How many windows a volume is looked at with in training, and how many volumes make a step."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from topomae.classification.bags import SPARE, covering_offsets
from topomae.data.case_report import CaseReport
from topomae.data.plan import Plan
from topomae.data.plan_rules import CROP_VOXELS
from topomae.data.planning import SET_BY_USER

WINDOWS_PER_STEP = 8  # of the largest size; of smaller ones as many as have so many voxels
FEWEST_VOLUMES, MOST_VOLUMES = 2, 8


def windows_of(reports: Iterable[CaseReport], plan: Plan, most: int) -> list[int]:
    """Windows that each case is looked at with in training, `most` at most."""
    return [min(most, len(covering_offsets(_shape(report, plan), plan.crop_size, SPARE))) for report in reports]


def plan_for_classes(plan: Plan, windows: list[int], devices: int = 1) -> Plan:
    """Let as many volumes make a step as there is room for their windows: a volume has but one class.

    There is room for as many windows as segmentation would take crops, and for eight large ones.

    Args:
        plan: made for segmentation. A batch size that the user has set stays.
        windows: of each case.
        devices: how many of them share each step; each takes a volume at least.
    Returns:
        The plan, with the reason for what has changed.
    """
    if plan.reasons.get("batch_size") == SET_BY_USER:
        return plan
    large = WINDOWS_PER_STEP * CROP_VOXELS[plan.size, "cpu"] / prod(plan.crop_size)
    room = max(plan.batch_size, WINDOWS_PER_STEP, large)
    volumes = round(room * len(windows) / sum(windows))
    fewest = max(devices, min(FEWEST_VOLUMES, plan.batch_size))
    batch = max(fewest, min(volumes, max(MOST_VOLUMES, plan.batch_size)))
    if batch == plan.batch_size:
        return plan
    reason = f"a class says less than a label map, so {batch} volumes a step for classification"
    if batch < plan.batch_size:
        reason = f"each volume is looked at in up to {max(windows)} windows, so {batch} volumes a step"
    return plan.model_copy(update={"batch_size": batch, "reasons": plan.reasons | {"batch_size": reason}})


def _shape(report: CaseReport, plan: Plan) -> tuple[int, ...]:
    """Voxels (i, j, k) of a case without its border, with the spacing of the plan."""
    axes = zip(report.foreground_shape, report.spacing, plan.spacing, strict=True)
    return tuple(round(n * s / t) for n, s, t in axes)
