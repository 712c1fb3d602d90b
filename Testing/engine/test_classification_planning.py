"""How volumes are looked at to learn their class."""

from __future__ import annotations

import pytest
from test_classification import a_plan, write_scans

import topomae
from topomae.classification.planning import most_windows, plan_for_classes
from topomae.config import ClassifySettings, PretrainSettings
from topomae.data.case_report import CaseReport
from topomae.data.planning import SET_BY_USER
from topomae.models.folder import load_model


def reports_of(*shapes) -> list[CaseReport]:
    return [CaseReport(None, shape=s, spacing=(1.0, 1.0, 1.0), foreground_shape=s) for s in shapes]


def test_volumes_a_little_larger_than_the_crop_are_looked_at_once():
    cases = reports_of((16, 16, 16), (17, 18, 16), (19, 16, 16), (18, 17, 16))
    before, plan = a_plan(batch_size=2), plan_for_classes(a_plan(batch_size=2), cases, 8)
    assert (most_windows(cases, before, 8), most_windows(cases, plan, 8)) == (4, 1)
    assert plan.crop_size == (20, 20, 16)  # no wider than is needed, and only where it is
    assert plan.batch_size == 5  # eight crops of the plan for segmentation are as many voxels
    assert "one look" in plan.reasons["crop_size"] and "5 volumes" in plan.reasons["batch_size"]


@pytest.mark.parametrize(
    "shapes",
    [
        [(48, 48, 48)] * 4,  # many crops large, whatever their size
        [(16, 16, 16), (12, 16, 16), (48, 48, 48)],  # one that is far larger does not decide
        [(16, 16, 16), (16, 15, 9)],
    ],
)
def test_the_crop_stays_where_a_wider_one_would_not_help(shapes):
    assert plan_for_classes(a_plan(), reports_of(*shapes), 8).crop_size == (16, 16, 16)


def test_volumes_of_many_windows_do_not_make_the_batch_smaller_than_planned():
    assert plan_for_classes(a_plan(batch_size=2), reports_of(*[(64, 64, 64)] * 3), 8).batch_size == 2


def test_what_the_user_has_set_stays():
    own = a_plan(batch_size=1, reasons={"crop_size": SET_BY_USER, "batch_size": SET_BY_USER})
    assert plan_for_classes(own, reports_of(*[(18, 18, 18)] * 3), 8) == own


def test_encoders_pretrained_on_smaller_crops_look_at_whole_volumes(tmp_path):
    small, data = write_scans(tmp_path / "small", 2), write_scans(tmp_path / "scans", 9, size=(18, 18, 18))
    chosen = PretrainSettings(steps=1, topology_weight=0, preview_every=9)
    topomae.pretrain(small, tmp_path / "pretrained", settings=chosen)
    given = {"init": tmp_path / "pretrained", "task": "classification"}
    topomae.finetune(data, tmp_path / "run", **given, settings=ClassifySettings(steps=2, folds=3))
    model = load_model(tmp_path / "run", task="classification")
    assert (model.spec.crop_size, model.plan.crop_size) == ((16, 16, 16), (20, 20, 20))
    assert model.metadata["training"]["settings"]["windows"] == 1
    given["init"] = tmp_path / "run"
    topomae.finetune(data, tmp_path / "further", **given, settings=ClassifySettings(steps=1, folds=3))
    assert load_model(tmp_path / "further", task="classification").spec == model.spec
