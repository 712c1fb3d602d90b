"""Very many cases, and data that change: made when needed, the same run whatever becomes of the files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recorder import Recorder
from small_data_sets import PLAN, image_of, write_volume

import topomae
from topomae.config import PretrainSettings
from topomae.data import cache
from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, CaseCache, Dataset, Split
from topomae.data.checks import check_dataset
from topomae.data.dataset import open_dataset
from topomae.data.fingerprint import content_fingerprint
from topomae.data.loading import batches, case_of_sample, order_of_use
from topomae.data.remembered import FILE_NAME, Remembered
from topomae.data.run_data import RunData
from topomae.errors import BadDataError, RunError
from topomae.events import Events
from topomae.models.pretrained import load_pretrained
from topomae.training import preparation

pytest_plugins = ("small_data_fixtures",)


STEPS = PretrainSettings(steps=4, checkpoint_every=2, topology_weight=0, preview_every=100)


def test_a_fingerprint_is_that_of_the_content_alone(five_cases, tmp_path):
    dataset = open_dataset(five_cases)
    fingerprint = content_fingerprint(dataset, dataset.cases)
    image, label = image_of(five_cases, "case1"), five_cases / "labelsTr" / "case1.nii"
    assert fingerprint["cases"]["case1"] == {
        "images": [hashlib.sha256(image.read_bytes()).hexdigest()],
        "label": hashlib.sha256(label.read_bytes()).hexdigest(),
    }
    assert fingerprint["cases"]["case4"]["label"] is None
    moved = open_dataset(shutil.copytree(five_cases, tmp_path / "elsewhere"))
    assert content_fingerprint(moved, [case.name for case in reversed(moved.cases)]) == fingerprint
    without = content_fingerprint(dataset, dataset.cases, with_labels=False)
    label.write_bytes(label.read_bytes() + b"\0")
    assert content_fingerprint(dataset, dataset.cases, with_labels=False) == without
    assert content_fingerprint(dataset, dataset.cases)["sha256"] != fingerprint["sha256"]


def test_the_data_file_of_a_detached_header_belongs_to_the_fingerprint(tmp_path):
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: a.raw\n"
    (tmp_path / "a.nhdr").write_text(header)
    (tmp_path / "a.raw").write_bytes(bytes(64))
    dataset = open_dataset(tmp_path)
    before = content_fingerprint(dataset, dataset.cases)
    (tmp_path / "a.raw").write_bytes(bytes(63) + b"\1")
    assert content_fingerprint(dataset, dataset.cases) != before


@pytest.mark.skipif(os.name == "nt", reason="such names are not allowed there")
def test_a_run_writes_down_its_data_set_whole_and_finds_it_in_another_folder(tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    images = [tmp_path / "here" / name for name in ("ä b.nii", "a:c\\d.nii")]
    for n, image in enumerate(images):
        write_volume(image, n)
    cases = (Case("a", (images[0], None), images[1], "anna"), Case("b", (None, images[1]), None, "ben"))
    dataset = Dataset("two", tmp_path / "here", cases, ("T1", "T2"), {2: "lesion"}, Split(("a",), ("b",)))
    fingerprint = content_fingerprint(dataset, cases)
    assert fingerprint["cases"]["b"]["images"][0] is None
    with Remembered(tmp_path / "found") as remembered:
        reports = check_dataset(dataset, cases, labels_needed=False, remembered=remembered)
        assert check_dataset(dataset, cases, labels_needed=False, remembered=remembered) == reports
    RunData.of(dataset, reports, fingerprint).save(tmp_path / "data.json")
    read_back = RunData.load(tmp_path / "data.json")
    assert read_back.dataset(tmp_path / "here") == dataset
    assert read_back.dataset(tmp_path / "there").cases[0].label == tmp_path / "there" / "a:c\\d.nii"
    assert read_back.cubic_mm == {"a": 16.0**3, "b": 16.0**3}
    escaping = json.loads((tmp_path / "data.json").read_text())
    escaping["cases"][0]["images"][0] = "../here/ä b.nii"
    (tmp_path / "data.json").write_text(json.dumps(escaping))
    with pytest.raises(BadDataError, match="outside"):
        RunData.load(tmp_path / "data.json").dataset(tmp_path / "there")
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(RunError, match="not a file of this version"):
        RunData.load(tmp_path / "data.json")


@given(count=st.integers(1, 50), seed=st.integers(0, 2**31 - 1), samples=st.integers(1, 120))
def test_cases_are_prepared_in_the_order_in_which_they_are_used(count, seed, samples):
    used = [case_of_sample(n, count, seed) for n in range(samples)]
    assert order_of_use(count, seed, samples) == list(dict.fromkeys(used))
    for start in range(0, samples - count + 1, count):
        assert sorted(used[start : start + count]) == list(range(count))


def pretrain(data, run, *, act=lambda event: None, plan=PLAN, **more):
    recorder = Recorder(act)
    topomae.pretrain(data, run, settings=STEPS.model_copy(update=more), plan=plan, events=Events(recorder))
    return recorder


def weights(run):
    return load_pretrained(run / "model").weights


def assert_same_weights(run, other):
    mine, theirs = weights(run), weights(other)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine.keys() | theirs.keys())


def stopped(data, run):
    """A run that was stopped after two steps."""

    def act(event):
        if event["event"] == "checkpoint" and event["step"] == 2:
            (run / "stop").touch()

    pretrain(data, run, act=act)
    assert not (run / "model").exists()
    return run


def test_a_run_goes_on_as_it_began_whatever_becomes_of_the_data_folder(five_images, tmp_path):
    pretrain(five_images, tmp_path / "undisturbed")
    run = stopped(five_images, tmp_path / "run")
    write_volume(image_of(five_images, "case7"), 7)  # a new case is none of the run's
    moved = shutil.copytree(five_images, tmp_path / "moved", copy_function=shutil.copyfile)
    shutil.rmtree(five_images)
    image_of(moved, "case3").unlink()
    told = pretrain(moved, run)
    assert any("case3.nii is gone" in message for message in told.messages())
    assert_same_weights(run, tmp_path / "undisturbed")


def test_a_run_refuses_to_go_on_with_changed_content_until_it_is_put_back(five_images, tmp_path):
    run = stopped(five_images, tmp_path / "run")
    image = image_of(five_images, "case2")
    before = image.read_bytes()
    write_volume(image, 22)
    with pytest.raises(BadDataError, match="changed since the run began") as caught:
        pretrain(five_images, run)
    assert (caught.value.case, caught.value.path) == ("case2", image)
    image.write_bytes(before)
    pretrain(five_images, run)
    assert (run / "model").is_dir()


def test_cases_beyond_a_number_are_prepared_on_the_way_with_the_same_result(five_images, tmp_path, monkeypatch):
    pretrain(five_images, tmp_path / "ahead")
    monkeypatch.setattr(preparation, "AHEAD", 2)
    made = {}

    def act(event):
        if event["event"] == "progress" and event["phase"] == "pretrain" and not made:
            made["before"] = len(list((tmp_path / "way" / "preprocessed").glob("*/*.json")))

    told = pretrain(five_images, tmp_path / "way", act=act)
    assert any(message.startswith("3 more cases are prepared on the way") for message in told.messages("note"))
    assert made["before"] <= 3  # the two, and the one for the preview
    assert_same_weights(tmp_path / "way", tmp_path / "ahead")


def test_runs_share_a_cache_and_leave_each_other_what_they_made(five_images, read, tmp_path, monkeypatch):
    monkeypatch.setenv("TOPOMAE_CACHE", str(tmp_path / "cache"))
    pretrain(five_images, tmp_path / "one", steps=2)
    volumes = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*/*")}
    assert len(volumes) == 2 * 4 and not (tmp_path / "one" / "preprocessed").exists()  # 2 steps of 2 samples
    read.clear()
    told = pretrain(five_images, tmp_path / "other", steps=2)
    assert read == []
    assert not any(event.get("phase") == "preprocess" for event in told.events)
    pretrain(five_images, tmp_path / "coarse", steps=2, plan={**PLAN, "spacing": [2.0, 2.0, 2.0]})
    assert volumes.items() < {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*/*")}.items()
    assert (tmp_path / "cache" / FILE_NAME).is_file()


def test_too_little_disk_space_is_told_before_any_case_is_prepared(five_images, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 * 4 * 16**3 - 1))
    with pytest.raises(RunError, match="preparing 5 cases needs about"):
        pretrain(five_images, tmp_path / "run", steps=20)
    assert not list((tmp_path / "run" / "preprocessed").glob("*/*"))


def a_cache_of(dataset, folder):
    fingerprint = content_fingerprint(dataset, dataset.cases, with_labels=False)
    return replace(dataset, cache=CaseCache(folder, False, fingerprint, {}))


class Images(torch.utils.data.Dataset):
    """Whole images, for a loader."""

    def __init__(self, cases):
        self.cases = cases

    def __getitem__(self, index):
        return {"image": torch.from_numpy(np.array(self.cases[index].image))}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_changed_before_it_was_prepared_is_told_in_one_sentence(workers, five_images, tmp_path):
    dataset = open_dataset(five_images)
    plan = topomae.plan(five_images, overrides=PLAN)
    cases = PreprocessedCases(tmp_path, a_cache_of(dataset, tmp_path / "volumes"), dataset.cases, plan, False)
    cases.make(0)
    for name in ("case0", "case1"):
        write_volume(image_of(five_images, name), 99)
    stream = batches(Images(cases), batch_size=1, first_step=0, last_step=2, workers=workers, pin_memory=False)
    assert next(stream)["image"].shape == (1, 1, 16, 16, 16)  # it was prepared before
    with pytest.raises(BadDataError, match="changed since the run began") as caught:
        next(stream)
    assert caught.value.case == "case1"
    assert "\n" not in str(caught.value)


def test_no_more_than_a_few_cases_are_kept_in_memory_and_no_file_is_held_open(five_images, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_MOST_REMEMBERED", 2)
    dataset = open_dataset(five_images)
    plan = topomae.plan(five_images, overrides=PLAN)
    cases = PreprocessedCases(tmp_path / "volumes", dataset, dataset.cases, plan, False)
    for _ in range(2):
        assert [case.image.shape for case in cases] == [(1, 16, 16, 16)] * 5
    assert len(cases._recent) == 2
    if os.path.isdir("/proc/self/fd"):
        opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        assert not [path for path in opened if path.startswith(str(tmp_path))]
