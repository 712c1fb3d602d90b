"""Preprocessed cases on disk: made once, made again when anything they depend on changes, never half."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from topomae.data import cache, cache_entries
from topomae.data.cache import PreprocessedCases
from topomae.data.case_loading import load_case
from topomae.data.cases import Case, Dataset
from topomae.data.checks import check_dataset
from topomae.data.plan import Normalization, Plan
from topomae.data.planning import make_plan
from topomae.data.preprocessing import preprocess
from topomae.errors import BadDataError

NAMES = ("a/b: one", "a_b_ one", "Täst")  # unlike names that a careless file name would make alike


@pytest.fixture
def three_cases(tmp_path) -> Dataset:
    random = np.random.default_rng(0)
    cases = []
    for n, name in enumerate(NAMES):
        image, label = tmp_path / f"image{n}.nii", tmp_path / f"label{n}.nii"
        affine = np.diag([-1.0, 1, 1.5, 1])
        nib.save(nib.Nifti1Image(random.normal(size=(9, 10, 8)).astype(np.float32), affine), image)
        nib.save(nib.Nifti1Image(random.integers(0, 3, (9, 10, 8)).astype(np.uint8), affine), label)
        cases.append(Case(name, (image,), label))
    return Dataset("made up", tmp_path, tuple(cases), ("MR",), {1: "one", 2: "two"})


@pytest.fixture
def a_plan() -> Plan:
    return Plan(
        dataset="made up",
        modalities=("MR",),
        labels={1: "one", 2: "two"},
        spacing=(1, 1, 1),
        normalization=(Normalization(kind="robust"),),
        crop_size=(8, 8, 8),
        patch_size=(2, 2, 2),
        stem_stride=(1, 1, 1),
        batch_size=1,
        size="small",
    )


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Names of the cases that were preprocessed, in order."""
    names = []

    def watched(dataset, case, *, with_label):
        names.append(case.name)
        return load_case(dataset, case, with_label=with_label)

    monkeypatch.setattr(cache, "load_case", watched)
    return names


def assert_same(one, other):
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.label, other.label)
    np.testing.assert_array_equal(one.affine, other.affine)
    assert one.geometry.to_dict() == other.geometry.to_dict()
    assert one.foreground.keys() == other.foreground.keys()
    for c in one.foreground:
        np.testing.assert_array_equal(one.foreground[c], other.foreground[c])


def test_a_case_is_made_once_and_reads_as_it_was_made(three_cases, a_plan, made, tmp_path):
    seen = []
    first = PreprocessedCases(tmp_path / "cache", three_cases, three_cases.cases, a_plan, with_label=True)
    first.prepare(lambda done, of: seen.append((done, of)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    again = PreprocessedCases(tmp_path / "cache", three_cases, NAMES, a_plan, with_label=True)
    again.prepare()
    assert made == list(NAMES)
    for stored, case in zip(again, three_cases.cases, strict=True):
        assert isinstance(stored.image, np.memmap)
        assert_same(stored, preprocess(*load_case(three_cases, case, with_label=True), a_plan))


def test_a_case_is_made_again_when_its_files_or_its_preprocessing_change(three_cases, a_plan, made, tmp_path):
    def read(plan=a_plan):
        made.clear()
        cases = PreprocessedCases(tmp_path / "cache", three_cases, NAMES, plan, with_label=True)
        list(cases)
        return list(made)

    assert read() == list(NAMES)
    assert read() == []
    image, label = three_cases.cases[1].images[0], three_cases.cases[2].label
    os.utime(image, ns=(1, 1))
    assert read() == [NAMES[1]]
    label.write_bytes(label.read_bytes() + b"\0")
    assert read() == [NAMES[2]]
    assert read(a_plan.model_copy(update={"batch_size": 4, "crop_size": (4, 4, 4)})) == []
    assert read(a_plan.model_copy(update={"spacing": (1.0, 1.0, 2.0)})) == list(NAMES)
    assert len(list((tmp_path / "cache").glob("*/*"))) == 3 * 5  # outdated arrays are gone


def test_without_labels_no_label_file_is_opened(three_cases, a_plan, made, tmp_path):
    for case in three_cases.cases:
        case.label.write_bytes(b"not a label map")
    unlabelled = PreprocessedCases(tmp_path / "cache", three_cases, NAMES, a_plan, with_label=False)
    assert [case.label for case in unlabelled] == [None] * 3
    assert unlabelled[0].foreground == {}
    with pytest.raises(BadDataError, match=NAMES[0]):
        PreprocessedCases(tmp_path / "cache", three_cases, NAMES, a_plan, with_label=True).prepare()


def test_labelled_entries_serve_readers_without_labels_too(three_cases, a_plan, made, tmp_path):
    for with_label in (False, True, False, True):
        cases = PreprocessedCases(tmp_path / "cache", three_cases, NAMES[:1], a_plan, with_label)
        assert (cases[0].label is not None) == with_label
    assert made == [NAMES[0]] * 2


def test_a_run_killed_half_way_leaves_nothing_that_counts(three_cases, a_plan, made, tmp_path, monkeypatch):
    cases = PreprocessedCases(tmp_path / "cache", three_cases, NAMES, a_plan, with_label=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache_entries, "write_json_atomic", _killed)
        cases.prepare()
    assert list((tmp_path / "cache").glob("*/*.npy"))
    made.clear()
    PreprocessedCases(tmp_path / "cache", three_cases, NAMES, a_plan, with_label=True).prepare()
    assert made == list(NAMES)


def _killed(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("part", ["image", "label", "foreground", "json", "other", "escape"])
def test_a_damaged_entry_is_made_again(part, three_cases, a_plan, made, tmp_path):
    folder = tmp_path / "cache"
    before = PreprocessedCases(folder, three_cases, NAMES[:1], a_plan, with_label=True)[0]
    (index,) = folder.glob("*/*.image.json")
    content = json.loads(index.read_text(encoding="utf-8"))
    if part == "json":
        index.write_text("{", encoding="utf-8")
    elif part == "other":
        index.write_text(json.dumps({**content, "key": "0" * 64}), encoding="utf-8")
    elif part == "escape":
        name, size = content["arrays"]["image"]
        (folder / name).write_bytes((index.parent / name).read_bytes())
        content["arrays"]["image"] = ["../" + name, size]
        index.write_text(json.dumps(content), encoding="utf-8")
    else:
        (array,) = folder.glob(f"*/*.{part}.npy")
        replaced = array.read_bytes()[:-4]  # not in place: `before` still has the file mapped
        array.unlink()
        array.write_bytes(replaced)
    after = PreprocessedCases(folder, three_cases, NAMES[:1], a_plan, with_label=True)[0]
    assert made == [NAMES[0]] * 2
    assert_same(after, before)


def test_a_bad_case_is_refused_by_name_and_file(three_cases, a_plan, tmp_path):
    case = three_cases.cases[2]
    unlabelled = replace(three_cases, cases=(replace(case, label=None),))
    with pytest.raises(BadDataError, match=f"{case.name}: has no label"):
        PreprocessedCases(tmp_path / "cache", unlabelled, [case.name], a_plan, with_label=True)
    nib.save(nib.Nifti1Image(np.full((9, 10, 8), 5.0), np.eye(4)), case.images[0])
    with pytest.raises(BadDataError, match="constant") as caught:
        PreprocessedCases(tmp_path / "cache", three_cases, NAMES, a_plan, with_label=False).prepare()
    assert (caught.value.case, caught.value.path) == (case.name, case.images[0])
    case.images[0].unlink()
    with pytest.raises(BadDataError, match="cannot be read") as caught:
        PreprocessedCases(tmp_path / "cache", three_cases, NAMES, a_plan, with_label=False)[2]
    assert caught.value.case == case.name


def test_a_case_without_foreground_is_kept_like_any_other(three_cases, a_plan, made, tmp_path):
    case = three_cases.cases[0]
    nib.save(nib.Nifti1Image(np.zeros((9, 10, 8), np.uint8), np.diag([-1.0, 1, 1.5, 1])), case.label)
    for _ in range(2):
        stored = PreprocessedCases(tmp_path / "cache", three_cases, NAMES[:1], a_plan, with_label=True)[0]
        assert stored.foreground == {}
        assert not stored.label.any()
    assert made == [case.name]


def test_a_modality_that_a_case_lacks_is_lacking_when_it_is_read_back(three_cases, a_plan, made, tmp_path):
    case = replace(three_cases.cases[0], images=(None, three_cases.cases[0].images[0]))
    plan = a_plan.model_copy(update={"modalities": ("T1", "T2"), "normalization": a_plan.normalization * 2})
    dataset = replace(three_cases, cases=(case,), modalities=("T1", "T2"))
    for _ in range(2):
        stored = PreprocessedCases(tmp_path / "cache", dataset, [case.name], plan, with_label=True)[0]
        assert stored.available == (False, True)
        assert not stored.image[0].any() and stored.image[1].any()
    assert made == [case.name]


def test_the_cases_can_be_sent_to_other_processes(three_cases, a_plan, made, tmp_path):
    cases = PreprocessedCases(tmp_path / "cache", three_cases, NAMES, a_plan, with_label=True)
    cases.prepare()
    sent = pickle.loads(pickle.dumps(cases))
    assert_same(sent[1], cases[1])
    assert made == list(NAMES)


def test_real_cases_of_two_modalities_are_kept(brats_dataset, tmp_path):
    reports = check_dataset(brats_dataset, brats_dataset.cases[:1], labels_needed=False)
    plan = make_plan(brats_dataset, reports, overrides={"spacing": (2, 2, 2)})
    (case,) = PreprocessedCases(tmp_path, brats_dataset, brats_dataset.cases[:1], plan, with_label=True)
    assert case.image.shape[0] == 2
    assert set(case.foreground) == {1, 2, 3, 4}
    for c, where in case.foreground.items():
        assert (case.label[tuple(where.T)] == c).all()
