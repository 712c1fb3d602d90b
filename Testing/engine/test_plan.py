"""Planning: what is chosen for typical data sets, why, and how a plan survives a file and a person."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topomae.data.cases import Case, Dataset
from topomae.data.checks import CaseReport, Intensities, check_dataset
from topomae.data.plan import Normalization, Plan
from topomae.data.plan_rules import CROP_VOXELS, MOST_TOKENS
from topomae.data.planning import make_plan, plan_table
from topomae.errors import BadDataError, BadSettingError

MR = Intensities(p0_5=0, p50=100, p99_5=400, mean=120, sd=60, minimum=0, maximum=900)


def a_dataset(modalities=("MR",), labels=None):
    return Dataset("organs", Path("organs"), (), tuple(modalities), labels or {1: "organ"})


def reports_of(shapes, spacings, intensities=(MR,)):
    return [
        CaseReport(
            Case(f"case{n}", (Path("x.nii"),)),
            shape=tuple(2 * s for s in shape),
            foreground_shape=tuple(shape),
            spacing=tuple(spacing),
            intensities=tuple(intensities),
        )
        for n, (shape, spacing) in enumerate(zip(shapes, spacings, strict=True))
    ]


HIPPOCAMPUS = ([(35, 51, 35), (36, 50, 35), (38, 49, 36)], [(1, 1, 1)] * 3)
LEFT_ATRIUM = ([(240, 150, 88)], [(0.625, 0.625, 0.625)])
ABDOMEN = ([(512, 512, 100)], [(0.8, 0.8, 5.0)])
CINE = ([(216, 256, 10), (216, 256, 13), (216, 256, 16)], [(1.5, 1.5, 10), (1.5, 1.5, 8), (1.5, 1.5, 8)])


@pytest.mark.parametrize(
    ("data", "size", "device", "crop", "patch", "stem"),
    [
        (HIPPOCAMPUS, "small", "cpu", (32, 40, 32), (8, 8, 8), (2, 2, 2)),
        (HIPPOCAMPUS, "base", "cuda", (32, 40, 32), (8, 8, 8), (1, 1, 1)),
        (LEFT_ATRIUM, "small", "cpu", (72, 48, 32), (8, 8, 8), (2, 2, 2)),
        (LEFT_ATRIUM, "base", "cuda", (160, 96, 64), (16, 16, 16), (4, 4, 2)),
        (
            LEFT_ATRIUM,
            "base",
            "cpu",
            (96, 64, 40),
            (16, 16, 8),
            (2, 2, 1),
        ),  # not 4 beside 1 where voxels are cubes
        (ABDOMEN, "small", "cpu", (80, 80, 16), (8, 8, 4), (2, 2, 1)),
        (ABDOMEN, "base", "cuda", (160, 160, 32), (16, 16, 8), (4, 4, 1)),
        (CINE, "small", "cpu", (72, 88, 16), (8, 8, 4), (2, 2, 1)),
        (CINE, "base", "cuda", (160, 160, 16), (16, 16, 4), (4, 4, 1)),
    ],
)
def test_typical_data_sets_get_these_networks(data, size, device, crop, patch, stem):
    plan = make_plan(a_dataset(), reports_of(*data), size=size, device=device, memory_gb=24)
    assert (plan.crop_size, plan.patch_size, plan.stem_stride) == (crop, patch, stem)
    assert plan.size == size


def test_the_published_synapse_crop_gets_the_published_patch_and_stem():
    synapse = reports_of([(512, 512, 140)], [(0.76, 0.76, 3.0)])
    crop = {"crop_size": (128, 128, 64)}
    plan = make_plan(a_dataset(), synapse, size="base", device="cuda", overrides=crop)
    assert plan.patch_size == (16, 16, 16)
    assert plan.stem_stride == (4, 4, 2)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 700)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.3, 0.625, 0.8, 1.0, 1.5, 3.0, 5.0, 10.0])] * 3),
    size=st.sampled_from(["small", "base"]),
    device=st.sampled_from(["cpu", "cuda"]),
)
def test_any_volume_gets_a_plan_that_fits_budget_and_network(shape, spacing, size, device):
    plan = make_plan(a_dataset(), reports_of([shape], [spacing]), size=size, device=device, memory_gb=80)
    crop = plan.crop_size
    assert prod(crop) <= CROP_VOXELS[size, device]
    assert all(c % p == 0 and c % s == 0 for c, p, s in zip(crop, plan.patch_size, plan.stem_stride, strict=True))
    assert prod(c // p for c, p in zip(crop, plan.patch_size, strict=True)) <= MOST_TOKENS
    assert all(c >= min(n, 16) for c, n in zip(crop, shape, strict=True))  # no axis is starved
    assert all(c < n + 32 for c, n in zip(crop, shape, strict=True))  # nor blown up


@given(shape=st.tuples(*[st.integers(24, 47)] * 3), size=st.sampled_from(["small", "base"]))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_crop_of_a_small_volume_holds_two_thirds_of_it_at_most_and_more_of_them_make_a_step(shape, size):
    plan = make_plan(a_dataset(), reports_of([shape], [(1, 1, 1)]), size=size)
    assert prod(plan.crop_size) <= 2 / 3 * prod(shape)
    assert "part of the median volume" in plan.reasons["crop_size"]
    assert plan.batch_size in (3, 4)


def test_spacing_is_the_median_and_nothing_is_interpolated_where_all_agree():
    assert make_plan(a_dataset(), reports_of(*LEFT_ATRIUM)).spacing == (0.625, 0.625, 0.625)
    mixed = reports_of([(100, 100, 100)] * 3, [(1, 1, 1), (1.2, 1, 2), (3, 1, 1.5)])
    assert make_plan(a_dataset(), mixed).spacing == (1.2, 1.0, 1.5)


def test_between_thick_slices_the_tenth_percentile_keeps_the_slices():
    spacings = [(0.8, 0.8, z) for z in (2.5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5)]
    plan = make_plan(a_dataset(), reports_of([(512, 512, 100)] * 11, spacings))
    assert plan.spacing == (0.8, 0.8, 5.0)  # the 10th percentile of these eleven
    spacings[1:3] = [(0.8, 0.8, 2.5)] * 2
    plan = make_plan(a_dataset(), reports_of([(512, 512, 100)] * 11, spacings))
    assert plan.spacing == (0.8, 0.8, 2.5)
    assert "thick slices" in plan.reasons["spacing"]


def test_ct_gets_one_window_for_all_and_mr_is_left_to_each_volume():
    cases = [
        Intensities(p0_5=low, p50=40, p99_5=high, mean=mean, sd=100, minimum=-1024, maximum=3000)
        for low, high, mean in ((-110, 290, 20.0), (-100, 300, 50.0), (-90, 340, 80.0))
    ]
    reports = [reports_of([(9, 9, 9)], [(1, 1, 1)], (MR, ct))[0] for ct in cases]
    robust, window = make_plan(a_dataset(("T1", "ct")), reports).normalization
    assert robust == Normalization(kind="robust")
    # every case counts the same: var = mean of the variances + variance of the means = 100² + 600
    assert window == Normalization(kind="ct", lower=-100, upper=300, mean=50, sd=102.96)


def test_less_memory_means_fewer_and_then_smaller_crops():
    def plan(memory):
        return make_plan(a_dataset(), reports_of(*LEFT_ATRIUM), size="base", device="cuda", memory_gb=memory)

    assert (plan(80).crop_size, plan(80).batch_size) == ((160, 96, 64), 8)
    assert (plan(16).crop_size, plan(16).batch_size) == ((160, 96, 64), 2)
    assert prod(plan(6).crop_size) < 300_000
    assert "6 GB" in plan(6).reasons["crop_size"]


def test_left_and_right_organs_are_not_mirrored_into_each_other():
    reports = reports_of(*ABDOMEN)
    assert make_plan(a_dataset(), reports).mirror_axes == (0,)
    labels = {1: "Left kidney", 2: "right_kidney", 3: "liver"}
    assert make_plan(a_dataset(labels=labels), reports).mirror_axes == ()
    assert make_plan(a_dataset(labels={1: "left atrium"}), reports).mirror_axes == (0,)


def test_what_the_user_sets_stays_and_the_rest_follows_it():
    overrides = {"crop_size": [50, 35, 40], "spacing": (1, 1, 2), "mirror_axes": []}
    plan = make_plan(a_dataset(), reports_of(*LEFT_ATRIUM), overrides=overrides)
    assert (plan.crop_size, plan.spacing, plan.mirror_axes) == ((50, 35, 40), (1.0, 1.0, 2.0), ())
    assert all(plan.reasons[field] == "set by the user" for field in overrides)
    assert all(c % p == 0 for c, p in zip(plan.crop_size, plan.patch_size, strict=True))
    assert plan.patch_size == (5, 7, 8)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"spacing": (float("inf"), 1, 1)}, "spacing = .*finite"),
        ({"crop": [8, 8, 8]}, "crop"),
        ({"reasons": {}}, "reasons"),
        ({"crop_size": [8, 8]}, "crop_size"),
        ({"crop_size": "large"}, "crop_size"),
        ({"spacing": [1, 1, -1]}, "spacing"),
        ({"size": "huge"}, "size"),
        ({"patch_size": [7, 7, 7]}, "patch_size"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(overrides, named):
    with pytest.raises(BadSettingError, match=named):
        make_plan(a_dataset(), reports_of(*HIPPOCAMPUS), overrides=overrides)


def test_cases_that_cannot_be_used_do_not_shape_the_plan():
    good = reports_of(*HIPPOCAMPUS)
    bad = CaseReport(Case("bad", (Path("x.nii"),)), errors=(BadDataError("unreadable"),))
    assert make_plan(a_dataset(), [*good, bad]) == make_plan(a_dataset(), good)
    with pytest.raises(BadDataError, match="no case can be used"):
        make_plan(a_dataset(), [bad])


def test_a_plan_survives_its_file_and_a_persons_edit(tmp_path):
    ct = Intensities(p0_5=-110.5, p50=40, p99_5=290, mean=20, sd=90, minimum=-1024, maximum=3000)
    dataset = a_dataset(("CT", "MR"), labels={7: "Milz", 2: "Gallenblase, groß"})
    plan = make_plan(dataset, reports_of([(80, 90, 70)], [(1, 1, 3)], (ct, MR)))
    path = tmp_path / "new folder" / "plan.json"
    plan.save(path)
    assert Plan.load(path) == plan
    assert plan.class_values == (0, 2, 7)
    assert list(plan.labels) == [2, 7]
    text = path.read_text(encoding="utf-8")
    assert '"batch_size": 2,' in text
    path.write_text(text.replace('"batch_size": 2,', '"batch_size": 5,'), encoding="utf-8")
    assert Plan.load(path) == plan.model_copy(update={"batch_size": 5})


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda c: c.update(crop_size=[41, 56, 40]), "crop_size"),
        (lambda c: c.update(stem_stride=[3, 2, 2]), "stem_stride"),
        (lambda c: c.update(spacing=[1, 0, 1]), "spacing"),
        (lambda c: c.update(spacing=[1, float("nan"), 1]), "spacing"),
        (lambda c: c.update(labels={"0": "background"}), "labels"),
        (lambda c: c.update(normalization=[]), "normalization"),
        (
            lambda c: c.update(normalization=[{"kind": "ct", "lower": 5, "upper": 1, "mean": 0, "sd": 1}]),
            "lower",
        ),
        (lambda c: c.update(normalization=[{"kind": "ct"}]), "lower"),
        (lambda c: c.update(mirror_axes=[0, 0]), "mirror_axes"),
        (lambda c: c.update(version=2), "version"),
        (lambda c: c.update(learning_rate=1), "learning_rate"),
        (lambda c: c.pop("batch_size"), "batch_size"),
    ],
)
def test_a_wrong_entry_of_a_plan_file_is_refused_by_name(edit, named, tmp_path):
    path = tmp_path / "plan.json"
    make_plan(a_dataset(), reports_of(*HIPPOCAMPUS)).save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadSettingError, match=named) as caught:
        Plan.load(path)
    assert caught.value.path == path


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_no_plan_is_refused(content, tmp_path):
    path = tmp_path / "plan.json"
    with pytest.raises(BadSettingError, match="does not exist"):
        Plan.load(path)
    path.write_bytes(content)
    with pytest.raises(BadSettingError, match="plan"):
        Plan.load(path)


def test_the_table_gives_every_choice_a_value_and_a_reason():
    plan = make_plan(a_dataset(("T1", "T2")), reports_of(*HIPPOCAMPUS, (MR, MR)))
    rows = plan_table(plan)
    assert {setting for setting, _, _ in rows} >= {"spacing", "crop size", "batch size", "mirror axes"}
    assert all(value and reason for _, value, reason in rows)
    assert ("crop size", "32×40×32 voxels", plan.reasons["crop_size"]) in rows


def test_the_real_hippocampus_set_gets_its_own_spacing_and_a_crop_of_its_shape(hippocampus_dataset):
    cases = hippocampus_dataset.cases[::20]
    reports = check_dataset(hippocampus_dataset, cases, labels_needed=False)
    plan = make_plan(hippocampus_dataset, reports)
    assert plan.spacing == (1.0, 1.0, 1.0)
    assert plan.crop_size == (32, 40, 32)
    assert plan.class_values == (0, 1, 2)
    assert plan == make_plan(hippocampus_dataset, list(reversed(reports)))
