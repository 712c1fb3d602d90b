"""Estimates of time and memory, and what `topomae plan` tells a program about cases."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest
import torch
from plans import a_plan
from run_stand_ins import Recorder
from typer.testing import CliRunner

from topomae.cli import app
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.dataset import open_dataset
from topomae.data.phantoms import make_phantoms
from topomae.events import Events
from topomae.training import estimates
from topomae.training.estimates import estimate


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", cases=4, labelled=2)


def planned(*arguments):
    """Exit code and events of `topomae plan`, by kind."""
    result = CliRunner().invoke(app, ["plan", *map(str, arguments), "--events", "json"])
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, {kind: [e for e in events if e["event"] == kind] for kind in {e["event"] for e in events}}


def test_both_kinds_of_training_are_estimated_by_doing_steps_of_them():
    recorder = Recorder()
    pretrain, finetune = estimate(a_plan(channels=2), device="cpu", events=Events(recorder))
    assert (pretrain.phase, finetune.phase) == ("pretrain", "finetune")
    assert pretrain.steps == PretrainSettings.BY_SIZE["small"]["steps"]
    assert finetune.steps == FinetuneSettings.BY_SIZE["small"]["steps"]
    for made in (pretrain, finetune):
        assert 0 < made.seconds_per_step < 60
        assert 0.05 < made.memory_gb < 4
        assert made.hours == pytest.approx(made.seconds_per_step * made.steps / 3600, rel=0.02)
    assert [event["phase"] for event in recorder.of("estimate")] == ["pretrain", "finetune"]
    last = recorder.of("progress")[-1]
    assert last["step"] == last["of"]


def test_larger_crops_take_more_memory():
    small, large = (
        estimate(a_plan().model_copy(update={"crop_size": size}), device="cpu", phases=("finetune",))[0]
        for size in ((16, 16, 16), (32, 32, 32))
    )
    assert large.memory_gb > small.memory_gb


def test_a_data_set_without_labels_is_estimated_too():
    (made,) = estimate(a_plan(labels=()), device="cpu", phases=("finetune",))
    assert made.memory_gb > 0


def test_a_step_that_does_not_fit_into_memory_is_a_warning_and_no_estimate(monkeypatch):
    def too_much(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")

    monkeypatch.setattr(estimates, "_timed_step", too_much)
    recorder = Recorder()
    assert estimate(a_plan(), device="cpu", events=Events(recorder)) == []
    assert ["batch_size" in event["message"] for event in recorder.of("warning")] == [True, True]
    monkeypatch.setattr(estimates, "_timed_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        estimate(a_plan(), device="cpu")


def test_the_command_tells_cases_plan_and_estimates(phantoms):
    code, told = planned("--data", phantoms, "--check-labels", "--estimate", "--device", "cpu")
    assert code == 0
    cases = open_dataset(phantoms).cases
    assert [(case["name"], case["labelled"]) for case in told["case"]] == [(c.name, bool(c.label)) for c in cases]
    assert all(len(case["shape"]) == 3 and len(case["spacing"]) == 3 for case in told["case"])
    assert all(bool(case["labels"]) == case["labelled"] for case in told["case"])
    assert [event["phase"] for event in told["estimate"]] == ["pretrain", "finetune"]


def test_a_bad_label_map_is_a_problem_of_its_case_only_where_labels_are_checked(phantoms, tmp_path):
    folder = shutil.copytree(phantoms, tmp_path / "phantoms")
    case = next(case for case in open_dataset(folder).cases if case.label)
    nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), 99, np.uint8), np.eye(4)), case.label)
    code, told = planned("--data", folder)
    assert code == 0
    assert not any(one["errors"] for one in told["case"])
    code, told = planned("--data", folder, "--check-labels")
    assert code == 1
    (problem,) = [(one["name"], error) for one in told["case"] for error in one["errors"]]
    assert problem[0] == case.name
    assert "grid" in problem[1]
    assert "error" in told
    assert "plan" not in told


def test_what_was_found_is_remembered_until_a_file_changes(phantoms, tmp_path):
    folder, file = shutil.copytree(phantoms, tmp_path / "phantoms"), tmp_path / "found"
    arguments = ("--data", folder, "--check-labels", "--remember", file)
    _, first = planned(*arguments)
    _, second = planned(*arguments, "--set", "batch_size=1")
    assert "progress" in first
    assert "progress" not in second
    without_time = [[{**case, "time": ""} for case in told["case"]] for told in (first, second)]
    assert without_time[0] == without_time[1]
    assert first["plan"][0]["crop_size"] == second["plan"][0]["crop_size"]

    image = open_dataset(folder).cases[0].images[0]
    volume = nibabel.load(image)
    nibabel.save(nibabel.Nifti1Image(volume.get_fdata() * 2, volume.affine), image)
    _, third = planned(*arguments)
    assert {one["of"] for one in third["progress"]} == {1}  # only that case is read


def test_bad_cases_stay_bad(broken_folder, tmp_path):
    arguments = ("--data", broken_folder / "c06_truncated_gz", "--remember", tmp_path / "found.json")
    (code, first), (again, second) = planned(*arguments), planned(*arguments)
    assert (code, again) == (1, 1)
    assert first["error"][0]["message"] == second["error"][0]["message"]
    assert first["case"][0]["errors"] == second["case"][0]["errors"]
