"""How many windows a volume is looked at with in training, and how many volumes make a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_classification import a_plan

from topomae.classification.bags import covering_offsets
from topomae.classification.planning import plan_for_classes, windows_of
from topomae.data.case_report import CaseReport
from topomae.data.planning import SET_BY_USER


def reports_of(*shapes) -> list[CaseReport]:
    return [CaseReport(None, shape=s, spacing=(1.0, 1.0, 1.0), foreground_shape=s) for s in shapes]


@given(length=st.integers(1, 200), crop=st.integers(8, 48))
@settings(max_examples=200, deadline=None)
def test_windows_of_training_leave_out_an_eighth_of_one_at_most_and_evenly(length, crop):
    starts = [offset[0] for offset in covering_offsets((length, 1, 1), (crop, 1, 1), 1 / 8)]
    whole = max(length, crop)
    seen = np.zeros(whole, bool)
    for start in starts:
        assert 0 <= start <= whole - crop
        seen[start : start + crop] = True
    assert np.count_nonzero(~seen) <= crop / 8
    assert abs(starts[0] - (whole - crop - starts[-1])) <= 1
    assert len(starts) in (-(-whole // crop), -(-whole // crop) - 1)


def test_volumes_a_little_larger_than_the_crop_are_looked_at_once():
    assert windows_of(reports_of((16, 9, 16), (18, 18, 18), (19, 16, 16), (48, 32, 32)), a_plan(), 8) == [1, 1, 2, 8]


@pytest.mark.parametrize(
    ("side", "windows", "volumes"),
    [(48, [1, 1, 1], 8), (48, [1, 1, 2], 6), (48, [8, 8], 2), (48, [2, 2], 4), (32, [4, 4], 7), (16, [8, 8], 8)],
)
def test_a_step_takes_as_many_volumes_as_eight_large_windows_have_room_for(side, windows, volumes):
    plan = plan_for_classes(a_plan(batch_size=2, crop_size=(side,) * 3), windows)
    assert plan.batch_size == volumes
    assert (f"so {volumes} volumes" in plan.reasons.get("batch_size", "")) == (volumes != 2)


@pytest.mark.parametrize(("batch_size", "devices", "volumes"), [(8, 1, 2), (8, 4, 4), (1, 1, 1)])
def test_volumes_of_many_windows_take_no_more_memory_than_a_step_of_crops(batch_size, devices, volumes):
    crops = a_plan(batch_size=batch_size, crop_size=(96, 96, 96))
    plan = plan_for_classes(crops, [8, 8], devices)
    assert plan.batch_size == volumes
    assert (f"8 windows, so {volumes} volumes" in plan.reasons.get("batch_size", "")) == (volumes < batch_size)


def test_a_batch_size_that_the_user_has_set_stays():
    own = a_plan(batch_size=1, reasons={"batch_size": SET_BY_USER})
    assert plan_for_classes(own, [1, 1]) == own
