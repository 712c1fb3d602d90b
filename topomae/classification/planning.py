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
MOST_VOLUMES = 8


def windows_of(reports: Iterable[CaseReport], plan: Plan, most: int) -> list[int]:
    """Windows that each case is looked at with in training, `most` at most."""
    return [min(most, len(covering_offsets(_shape(report, plan), plan.crop_size, SPARE))) for report in reports]


def plan_for_classes(plan: Plan, windows: list[int]) -> Plan:
    """Let as many volumes make a step as eight large windows have room for: a volume has but one class.

    Args:
        plan: made for segmentation. A batch size that the user has set stays.
        windows: of each case.
    Returns:
        The plan, with the reason for what has changed.
    """
    room = WINDOWS_PER_STEP * CROP_VOXELS[plan.size, "cpu"] / prod(plan.crop_size)
    volumes = round(max(WINDOWS_PER_STEP, room) * len(windows) / sum(windows))
    batch = max(plan.batch_size, min(volumes, MOST_VOLUMES))
    if batch == plan.batch_size or plan.reasons.get("batch_size") == SET_BY_USER:
        return plan
    reason = f"a class says less than a label map, so {batch} volumes a step for classification"
    return plan.model_copy(update={"batch_size": batch, "reasons": plan.reasons | {"batch_size": reason}})


def _shape(report: CaseReport, plan: Plan) -> tuple[int, ...]:
    """Voxels (i, j, k) of a case without its border, with the spacing of the plan."""
    axes = zip(report.foreground_shape, report.spacing, plan.spacing, strict=True)
    return tuple(round(n * s / t) for n, s, t in axes)
