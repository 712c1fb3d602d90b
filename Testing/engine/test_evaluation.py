"""Evaluation: metrics against closed forms and scipy, undefined cases, matching of files, summary."""

from __future__ import annotations

import csv
import json
import math
import time

import numpy as np
import pytest
from scipy import ndimage

from topomae.data.volume_io import read_labels, write_labels
from topomae.errors import BadDataError, BadSettingError
from topomae.evaluation.metrics import compare_masks
from topomae.evaluation.scores import Statistic
from topomae.evaluation.segmentation import Evaluation, evaluate, left_out


def a_box(shape, start, stop) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def a_ball(radius, size=48) -> np.ndarray:
    return sum((axis - size / 2) ** 2 for axis in np.ogrid[:size, :size, :size]) <= radius**2


def blobs(seed, shape=(22, 26, 18)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 2.0) > 0.03


def surface_distances(first, second, spacing) -> np.ndarray:
    """Distances (mm) from the surface voxels of `first` to those of `second`, by distance transform."""
    edges = [np.pad(m, 1) & ~ndimage.binary_erosion(np.pad(m, 1)) for m in (first, second)]
    return ndimage.distance_transform_edt(~edges[1], sampling=spacing)[edges[0]]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.7, 5.0), (3.0, 0.5, 1.2)])
def test_distances_agree_with_a_distance_transform(spacing):
    prediction, label = blobs(1), blobs(2)
    scores = compare_masks(prediction, label, spacing)
    there, back = surface_distances(prediction, label, spacing), surface_distances(label, prediction, spacing)
    assert scores.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-4)
    assert scores.asd_mm == pytest.approx(np.concatenate([there, back]).mean(), abs=1e-4)
    overlap = 2 * (prediction & label).sum() / (prediction.sum() + label.sum())
    assert scores.dice == pytest.approx(overlap, abs=1e-6)


def test_a_shifted_box_has_the_closed_form_scores():
    label = a_box((40, 40, 40), (5, 5, 5), (25, 25, 25))
    scores = compare_masks(np.roll(label, 3, 2), label, (1, 1, 2))
    assert scores.dice == pytest.approx(17 / 20)
    assert scores.hd95_mm == pytest.approx(6.0)  # three voxels of 2 mm; a tenth of the surface lies there
    assert scores.volume_label_ml == pytest.approx(16.0)
    assert scores.volume_difference_ml == scores.volume_difference_percent == 0
    assert scores.reason == ""


def test_balls_in_one_another_have_the_closed_form_scores():
    inner, outer = a_ball(12), a_ball(16)
    near = compare_masks(inner, outer, tolerance_mm=2.0)
    assert near.dice == pytest.approx(2 * 12**3 / (12**3 + 16**3), abs=0.01)
    assert near.asd_mm == pytest.approx(4.0, abs=0.25)
    assert near.hd95_mm == pytest.approx(4.0, abs=0.5)
    assert near.volume_difference_percent == pytest.approx(100 * (12**3 / 16**3 - 1), abs=1.0)
    assert near.surface_dice == 0.0
    assert compare_masks(inner, outer, tolerance_mm=5.5).surface_dice == 1.0


@pytest.mark.parametrize(("axis", "voxels", "mm"), [(2, 2, 10), (0, 5, 5)])
def test_surface_dice_weighs_surface_by_area_where_voxels_are_long(axis, voxels, mm):
    label = a_box((80, 80, 34), (10, 10, 5), (60, 70, 25))
    sides = np.array([50.0, 60.0, 100.0])  # mm, at 1 x 1 x 5 mm
    across, along = np.prod(np.delete(sides, axis)), 2 * np.delete(sides, axis).sum()
    total = 2 * (sides[0] * sides[1] + sides[1] * sides[2] + sides[0] * sides[2])
    tolerance = 0.5
    # Wrong: the two faces across the shift, and the strips beyond the tolerance where only one box is.
    expected = 1 - (2 * across + along * (mm - tolerance)) / total
    scores = compare_masks(np.roll(label, voxels, axis), label, (1.0, 1.0, 5.0), tolerance_mm=tolerance)
    assert scores.surface_dice == pytest.approx(expected, abs=0.04)


def test_room_around_the_structures_changes_nothing():
    prediction, label = blobs(3), blobs(4)
    padded = compare_masks(np.pad(prediction, 6), np.pad(label, 6), (1, 1, 3))
    assert compare_masks(prediction, label, (1, 1, 3)) == padded


def test_a_small_structure_in_a_large_volume_costs_little():
    label = a_box((512, 512, 100), (200, 210, 40), (230, 250, 60))
    compare_masks(blobs(1), blobs(2))  # imports
    start = time.process_time()
    scores = compare_masks(np.roll(label, 2, 0), label, (0.8, 0.8, 5.0))
    assert scores.dice == pytest.approx(28 / 30)
    assert time.process_time() - start < 3


def test_betti_errors_count_components_tunnels_and_cavities():
    label = a_box((24, 24, 24), (4, 4, 4), (14, 14, 14))
    prediction = label.copy()
    prediction[8:10, 8:10, 4:14] = False  # a tunnel through
    prediction[5:7, 5:7, 6:8] = False  # a cavity
    prediction[18:20, 18:20, 18:20] = True  # two crumbs
    prediction[18:20, 4:6, 18:20] = True
    scores = compare_masks(prediction, label)
    assert (scores.betti_label, scores.betti_prediction) == ((1, 0, 0), (3, 1, 1))
    assert scores.betti_error == (2, 1, 1)
    assert scores.betti_exact == 0
    assert compare_masks(np.roll(label, 1, 0), label).betti_exact == 1


def test_undefined_scores_are_nan_with_a_reason_and_a_missed_structure_counts_as_zero():
    full, empty = a_box((12, 12, 12), (3, 3, 3), (8, 8, 8)), np.zeros((12, 12, 12), bool)
    missed, made_up, absent = (compare_masks(p, y) for p, y in ((empty, full), (full, empty), (empty, empty)))
    reasons = [scores.reason for scores in (missed, made_up, absent)]
    assert reasons == ["prediction empty", "label empty", "both empty"]
    for scores in (missed, made_up):
        assert (scores.dice, scores.surface_dice) == (0, 0)
        assert math.isnan(scores.hd95_mm) and math.isnan(scores.asd_mm)
        assert scores.betti_error == (1, 0, 0)
    assert missed.volume_difference_percent == pytest.approx(-100)
    assert made_up.volume_difference_ml == pytest.approx(0.125)
    assert math.isnan(made_up.volume_difference_percent)
    undefined = (absent.dice, absent.surface_dice, absent.hd95_mm, absent.asd_mm, *absent.betti_error)
    assert all(math.isnan(value) for value in (*undefined, absent.betti_exact, absent.volume_difference_ml))


def test_statistics_leave_out_nan_and_say_how_many_were_counted():
    statistic = Statistic.of([1.0, math.nan, 2.0, 6.0])
    assert (statistic.mean, statistic.median, statistic.cases, statistic.undefined) == (3.0, 2.0, 3, 1)
    assert statistic.sd == pytest.approx(math.sqrt(7))
    nothing = Statistic.of([math.nan])
    assert (nothing.mean, nothing.sd, nothing.median, nothing.cases) == (None, None, None, 0)
    assert nothing.reason


AFFINE = np.diag([0.5, 1.0, 2.0, 1.0])


@pytest.fixture
def two_folders(tmp_path):
    """Predictions and labels: a is exact, in b label 2 is missed, in c neither side has a label 2."""
    labels = np.zeros((12, 14, 10), np.uint8)
    labels[2:6, 3:7, 1:5] = 1
    labels[7:9, 9:13, 4:9] = 2
    only_1 = np.where(labels == 1, 1, 0)
    for case, prediction, label in (("a", labels, labels), ("b", only_1, labels), ("c", only_1, only_1)):
        write_labels(tmp_path / "predictions" / f"{case}.nii.gz", prediction, AFFINE)
        write_labels(tmp_path / "labels" / f"{case}.nii.gz", label, AFFINE)
    return tmp_path / "predictions", tmp_path / "labels"


def test_every_case_has_a_row_per_label_and_means_say_what_they_count(two_folders, tmp_path):
    result = evaluate(*two_folders, tmp_path / "out", label_names={1: "one", 2: "two"})
    assert [(r.case, r.name, r.reason) for r in result.rows if r.reason] == [
        ("b", "two", "prediction empty"),
        ("c", "two", "both empty"),
    ]
    assert len(result.rows) == 6
    two = result.summary.per_label[2]
    assert (two.missed, two.made_up, two.absent) == (1, 0, 1)
    assert (two.metrics["dice"].mean, two.metrics["dice"].cases, two.metrics["dice"].undefined) == (0.5, 2, 1)
    assert (two.metrics["hd95_mm"].mean, two.metrics["hd95_mm"].cases) == (0.0, 1)
    assert result.mean_dice == pytest.approx((1 + 0.5 + 1) / 3)


def test_files_are_strict_hold_nan_explicitly_and_read_back_equal(two_folders, tmp_path):
    result = evaluate(*two_folders, tmp_path / "out", label_names={1: "one", 2: "two", 3: "never there"})
    with open(tmp_path / "out" / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    missed = next(row for row in rows if row["case"] == "b" and row["label"] == "2")
    assert (missed["hd95_mm"], missed["reason"], float(missed["dice"])) == ("nan", "prediction empty", 0.0)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    text = (tmp_path / "out" / "summary.json").read_text(encoding="utf-8")
    never = json.loads(text, parse_constant=refuse)["per_label"]["3"]["metrics"]["dice"]
    assert (never["mean"], never["cases"], never["undefined"]) == (None, 0, 3)
    assert never["reason"] == "defined in no case"

    read = Evaluation.load(tmp_path / "out")
    assert read.summary == result.summary
    assert [(r.case, r.label, r.reason, r.b0_label) for r in read.rows] == [
        (r.case, r.label, r.reason, r.b0_label) for r in result.rows
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["metrics.csv", "summary.json"]


def test_a_damaged_evaluation_is_refused(two_folders, tmp_path):
    evaluate(*two_folders, tmp_path / "out")
    table = tmp_path / "out" / "metrics.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("hd95_mm", "hd95"), encoding="utf-8")
    with pytest.raises(BadDataError, match="no complete evaluation"):
        Evaluation.load(tmp_path / "out")


def test_what_has_no_partner_or_no_name_is_reported(two_folders, tmp_path):
    predictions, labels = two_folders
    (predictions / "a.nii.gz").unlink()
    write_labels(predictions / "x.nii.gz", np.ones((4, 4, 4)), np.eye(4))
    strange = read_labels(predictions / "b.nii.gz").array[0].copy()
    strange[0, 0, 0] = 77
    write_labels(predictions / "b.nii.gz", strange, AFFINE)
    summary = evaluate(predictions, labels, tmp_path / "out", label_names={1: "one"}).summary
    assert summary.missing_predictions == ("a",)
    assert summary.predictions_without_label == ("x",)
    assert summary.unnamed_in_predictions == {"b": (77,)}
    assert summary.unnamed_in_labels == {"b": (2,)}
    told = " | ".join(left_out(summary))
    assert "1 of 3 labelled cases (a)" in told and "77 in the predictions of b" in told and "(x)" in told


def test_labels_without_names_are_called_by_their_values(two_folders, tmp_path):
    predictions, labels = two_folders
    only_predicted = read_labels(predictions / "c.nii.gz").array[0].copy()
    only_predicted[0, 0, 0] = 9
    write_labels(predictions / "c.nii.gz", only_predicted, AFFINE)
    summary = evaluate(predictions, labels, tmp_path / "out").summary
    assert {value: one.name for value, one in summary.per_label.items()} == {1: "label 1", 2: "label 2"}
    assert summary.unnamed_in_predictions == {"c": (9,)}


def test_names_that_never_match_are_refused_with_both_sides_named(two_folders, tmp_path):
    predictions, labels = two_folders
    for path in list(predictions.iterdir()):
        path.rename(path.with_name("other_" + path.name))
    with pytest.raises(BadDataError, match=r"other_a, other_b, other_c, labels a, b, c"):
        evaluate(predictions, labels, tmp_path / "out")


def test_two_files_of_one_case_are_refused(two_folders, tmp_path):
    predictions, labels = two_folders
    write_labels(predictions / "a.nrrd", np.ones((4, 4, 4)), np.eye(4))
    with pytest.raises(BadDataError, match="two files") as caught:
        evaluate(predictions, labels, tmp_path / "out")
    assert caught.value.case == "a"


@pytest.mark.parametrize("what", ["shape", "place", "spacing"])
def test_another_geometry_is_refused_by_case_and_nothing_is_written(two_folders, tmp_path, what):
    predictions, labels = two_folders
    array, affine = read_labels(predictions / "b.nii.gz").array[0], AFFINE.copy()
    if what == "shape":
        array = array[:-1]
    elif what == "place":
        affine[0, 3] = 0.2
    else:
        affine[2, 2] = 2.1
    write_labels(predictions / "b.nii.gz", array, affine)
    with pytest.raises(BadDataError, match="same geometry") as caught:
        evaluate(predictions, labels, tmp_path / "out")
    assert caught.value.case == "b" and caught.value.path.name == "b.nii.gz"
    assert not (tmp_path / "out").exists()


def test_a_prediction_with_flipped_and_swapped_axes_is_the_same_prediction(two_folders, tmp_path):
    predictions, labels = two_folders
    array = read_labels(predictions / "a.nii.gz").array[0]
    turned, step = array.transpose(2, 0, 1)[::-1], np.zeros((4, 4))
    # Axis 0 of the turned array is axis 2 reversed; axes 1 and 2 are axes 0 and 1.
    step[2, 0], step[2, 3], step[0, 1], step[1, 2], step[3, 3] = -1, array.shape[2] - 1, 1, 1, 1
    write_labels(predictions / "a.nii.gz", turned, AFFINE @ step)
    rows = evaluate(predictions, labels, tmp_path / "out").rows
    assert [r.dice for r in rows if r.case == "a"] == [1.0, 1.0]


def test_single_files_belong_together_whatever_their_names(two_folders, tmp_path):
    predictions, labels = two_folders
    result = evaluate(predictions / "b.nii.gz", labels / "a.nii.gz", tmp_path / "out")
    assert [(r.case, r.label, r.dice) for r in result.rows] == [("b", 1, 1.0), ("b", 2, 0.0)]


def test_an_image_given_as_labels_is_refused(tmp_path):
    image = np.arange(16**3).reshape(16, 16, 16)
    for side in ("predictions", "labels"):
        write_labels(tmp_path / side / "a.nii.gz", image, np.eye(4))
    with pytest.raises(BadDataError, match="seems to be an image"):
        evaluate(tmp_path / "predictions", tmp_path / "labels", tmp_path / "out")


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, {5: 1.0}])
def test_a_senseless_tolerance_is_refused(two_folders, tmp_path, tolerance):
    with pytest.raises(BadSettingError, match="tolerance"):
        evaluate(*two_folders, tmp_path / "out", label_names={1: "one"}, surface_tolerance_mm=tolerance)


def test_the_tolerance_may_differ_by_label(tmp_path):
    label = a_box((20, 20, 20), (4, 4, 4), (10, 10, 10)) + 2 * a_box((20, 20, 20), (4, 4, 12), (10, 10, 18))
    write_labels(tmp_path / "p.nii.gz", np.roll(label, 2, 0), np.eye(4))
    write_labels(tmp_path / "y.nii.gz", label, np.eye(4))
    rows = evaluate(tmp_path / "p.nii.gz", tmp_path / "y.nii.gz", tmp_path / "out", surface_tolerance_mm={2: 2.0}).rows
    assert rows[0].surface_dice < 0.8
    assert rows[1].surface_dice == 1.0


@pytest.fixture
def a_dataset(tmp_path):
    """Cases a to d with images and labels; c and d are the test cases; one label, called kidney."""
    folder = tmp_path / "data"
    label = a_box((8, 8, 8), (2, 2, 2), (5, 5, 5)).astype(np.uint8)
    for case in "abcd":
        write_labels(folder / "imagesTr" / f"{case}.nii.gz", label * 100, np.eye(4))
        write_labels(folder / "labelsTr" / f"{case}.nii.gz", label, np.eye(4))
    listed = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in "abcd"]
    description = {"name": "D", "modality": {"0": "MR"}, "labels": {"0": "background", "1": "kidney"}}
    (folder / "dataset.json").write_text(json.dumps({**description, "training": listed}), encoding="utf-8")
    split = {"train": ["a"], "val": ["b"], "test": ["c", "d"]}
    (folder / "splits.json").write_text(json.dumps(split), encoding="utf-8")
    return folder


def test_of_a_data_set_the_test_cases_count_under_the_names_it_gives(a_dataset, tmp_path):
    label = read_labels(a_dataset / "labelsTr" / "a.nii.gz").array[0]
    for case in "abc":
        write_labels(tmp_path / "predictions" / f"{case}.nii.gz", label, np.eye(4))
    summary = evaluate(tmp_path / "predictions", a_dataset, tmp_path / "out").summary
    assert (summary.cases, summary.missing_predictions) == (1, ("d",))
    assert summary.per_label[1].name == "kidney"
    assert summary.predictions_without_label == ()
    assert "not test cases" in " ".join(summary.notes) and "(a, b)" in " ".join(summary.notes)
    (tmp_path / "predictions" / "c.nii.gz").unlink()
    validation = evaluate(tmp_path / "predictions", a_dataset, tmp_path / "out")
    assert {row.case for row in validation.rows} == {"a", "b"}
    assert "not the data set's test cases" in " ".join(validation.summary.notes)
    (a_dataset / "splits.json").unlink()
    everything = evaluate(tmp_path / "predictions", a_dataset, tmp_path / "out")
    assert ["names no labelled test cases" in note for note in everything.summary.notes] == [True]


def test_the_label_folder_of_a_data_set_also_gives_names(a_dataset, tmp_path):
    result = evaluate(a_dataset / "labelsTr", a_dataset / "labelsTr", tmp_path / "out")
    assert {row.name for row in result.rows} == {"kidney"}
    assert (result.summary.cases, result.mean_dice) == (4, 1.0)


def test_progress_and_warnings_are_events(two_folders, tmp_path):
    from topomae.events import Events

    class Listener:
        def __init__(self):
            self.heard = []

        def write(self, event):
            self.heard.append(event)

        def close(self):
            pass

    listener = Listener()
    (two_folders[0] / "c.nii.gz").unlink()
    evaluate(*two_folders, tmp_path / "out", events=Events(listener))
    assert any(e["event"] == "progress" and e["step"] == e["of"] == 2 for e in listener.heard)
    assert any(e["event"] == "warning" and "labelled cases (c)" in e["message"] for e in listener.heard)


def test_real_hippocampus_labels_against_a_perturbed_copy(hippocampus_dataset, tmp_path):
    cases = hippocampus_dataset.fixed_split.test[:10]
    overlap = {}
    for case in cases:
        volume = read_labels(hippocampus_dataset.case(case).label)
        label = volume.array[0]
        moved = np.roll(label, 1, 1)
        for value in (1, 2):
            p, y = moved == value, label == value
            overlap[case, value] = 2 * (p & y).sum() / (p.sum() + y.sum())
        write_labels(tmp_path / "predictions" / f"{case}.nii.gz", moved, volume.affine)
    start = time.process_time()
    result = evaluate(tmp_path / "predictions", hippocampus_dataset.folder, tmp_path / "out")
    assert time.process_time() - start < 0.3 * len(cases)  # 65 cases in less than 20 s
    assert {(r.case, r.label): r.dice for r in result.rows} == pytest.approx(overlap, abs=1e-6)
    assert result.summary.per_label[1].name == "Anterior"
    assert len(result.summary.missing_predictions) == 55
    assert {r.hd95_mm for r in result.rows} == {1.0}
    assert {r.betti_exact for r in result.rows} == {1.0}
