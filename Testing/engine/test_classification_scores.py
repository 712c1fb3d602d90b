"""Numbers about predicted classes, against MONAI and closed forms; and the tables that classes are read from."""

from __future__ import annotations

import json
import math

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_confusion_matrix_metric, compute_roc_auc

from topomae.classification.labels import read_table, volume_classes
from topomae.classification.scores import (
    auroc,
    auroc_per_class,
    balanced_accuracy,
    brier_score,
    confidence_intervals,
    expected_calibration_error,
    f1_per_class,
    reliability,
)
from topomae.classification.splitting import split_classes, stratified_fold
from topomae.classification.table import Predictions
from topomae.config import ClassifySettings
from topomae.data.cases import Case, Dataset, Split
from topomae.errors import BadDataError, TopoMAEError
from topomae.evaluation.classification import ClassEvaluation, evaluate_classes


@st.composite
def predictions(draw, most=4):
    """Probabilities of two to `most` classes with many ties, and true classes of which each occurs."""
    k = draw(st.integers(2, most))
    n = draw(st.integers(k, 30))
    raw = draw(arrays(np.int64, (n, k), elements=st.integers(1, 6)))
    truth = draw(arrays(np.int64, n, elements=st.integers(0, k - 1)))
    truth[:k] = np.arange(k)
    return raw / raw.sum(1, keepdims=True), truth


@settings(deadline=None)
@given(predictions())
def test_auroc_is_that_of_monai_ties_included(both):
    probabilities, truth = both
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(truth), probabilities.shape[1])
    expected = compute_roc_auc(torch.from_numpy(probabilities), one_hot, average="none")
    assert auroc_per_class(probabilities, truth) == pytest.approx(np.array(expected))


@settings(deadline=None)
@given(predictions(most=2))
def test_balanced_accuracy_and_f1_are_those_of_monai(both):
    probabilities, truth = both
    predicted = probabilities.argmax(1)
    table = torch.tensor(
        [
            int(((predicted == 1) & (truth == 1)).sum()),
            int(((predicted == 1) & (truth == 0)).sum()),
            int(((predicted == 0) & (truth == 0)).sum()),
            int(((predicted == 0) & (truth == 1)).sum()),
        ],
        dtype=torch.float64,
    )
    balanced = compute_confusion_matrix_metric("balanced accuracy", table)
    assert balanced_accuracy(probabilities, truth) == pytest.approx(float(balanced))
    if table[0] + table[1] + table[3]:
        assert f1_per_class(predicted, truth, 2)[1] == pytest.approx(
            float(compute_confusion_matrix_metric("f1 score", table))
        )


def test_auroc_is_not_defined_where_a_class_is_absent():
    assert math.isnan(auroc(np.array([[0.4, 0.6], [0.7, 0.3]]), np.array([1, 1])))


def test_calibration_error_and_brier_score_have_their_closed_forms():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.35, 0.65]])
    truth = np.array([0, 1, 1, 1])
    # Confidence 0.9 is right for one of two, confidence 0.65 for two of two.
    assert expected_calibration_error(probabilities, truth) == pytest.approx((0.4 + 0.35) / 2)
    assert brier_score(probabilities, truth) == pytest.approx((0.01 + 0.81 + 2 * 0.35**2) / 4)
    filled = {place: one.cases for place, one in enumerate(reliability(probabilities, truth)) if one.cases}
    assert filled == {8: 2, 6: 2}  # (0.8, 0.9] and (0.6, 0.7]


def test_a_model_that_knows_how_sure_it_may_be_is_calibrated():
    random = np.random.default_rng(0)
    sure = random.uniform(0, 1, 20000)
    probabilities = np.stack([1 - sure, sure], 1)
    truth = (random.uniform(0, 1, 20000) < sure).astype(int)
    assert expected_calibration_error(probabilities, truth) < 0.02
    assert expected_calibration_error(probabilities**3 / (probabilities**3).sum(1, keepdims=True), truth) > 0.08


def test_confidence_intervals_count_people_not_scans():
    """Ten copies of each scan tell nothing new, if it is known that they are of one person."""
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 30)
    score = np.clip(0.5 + 0.2 * (truth - 0.5) + random.normal(0, 0.15, 30), 0.01, 0.99)
    probabilities = np.stack([1 - score, score], 1)
    people = np.array([f"p{n}" for n in range(30)])

    def intervals(times: int, subjects) -> dict:
        copies = np.repeat(probabilities, times, 0), np.repeat(truth, times)
        return confidence_intervals(*copies, list(subjects), resamples=100)

    once, tenfold, as_if_many = intervals(1, people), intervals(10, np.repeat(people, 10)), intervals(10, range(300))
    assert all(tenfold[name] == pytest.approx(once[name]) for name in once)
    low, high = once["auroc"]
    assert low < auroc(probabilities, truth) < high
    assert as_if_many["auroc"][1] - as_if_many["auroc"][0] < 0.6 * (high - low)


def a_dataset(
    folder, count: int = 6, *, subjects: dict[str, str] | None = None, split: Split | None = None
) -> Dataset:
    names = [f"case{n}" for n in range(count)]
    cases = tuple(Case(name, (folder / f"{name}.nii.gz",), None, (subjects or {}).get(name, name)) for name in names)
    return Dataset("d", folder, cases, ("MR",), {}, split)


@pytest.mark.parametrize(
    "text",
    [
        "case0,healthy\ncase1,lesion\n",
        "case,class\ncase0,healthy\ncase1,lesion\n",
        "Age;Class;Case\n41;healthy;case0\n7;lesion;case1\n9;;case2\n",
        "case\tclass\r\ncase0.nii.gz\thealthy\r\n\r\ncase1\tlesion\r\n",
        '\ufeff"case","class"\n"case0","healthy"\n"case1","lesion"\n',
    ],
)
def test_tables_are_read_with_and_without_a_header_and_with_any_separator(tmp_path, text):
    (tmp_path / "classes.csv").write_text(text, encoding="utf-8")
    found = volume_classes(a_dataset(tmp_path), tmp_path / "classes.csv")
    assert found.names == ("healthy", "lesion")
    assert found.of_case == {"case0": 0, "case1": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("case0,a\ncase0,b\n", "more than once"),
        ("case0,a\ncase1,a\n", "all cases have the class"),
        ("case0,a\nstranger,b\n", "no case named stranger"),
        ("case0\ncase1\n", "neither the two columns"),
        ("case,class\ncase0,a\ncase1,b,c\n", "line 3 has 3 columns"),
        ("case,class\n,a\n", "names no case"),
        ('case0,"a\ncase1,b\n', "is not CSV"),
        ("case0,\ncase1,\n", "no case has a class"),
    ],
)
def test_a_bad_table_is_refused_in_one_sentence(tmp_path, text, told, is_clear):
    path = tmp_path / "classes.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadDataError, match=told) as caught:
        volume_classes(a_dataset(tmp_path), path)
    assert is_clear(caught.value)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='case,;\t\n"01', max_size=60).map(str.encode))
def test_no_table_makes_anything_but_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    try:
        table = read_table(path)
    except TopoMAEError as error:
        assert error.path == path
    else:
        assert all(case and name for case, name in table.items())
    with pytest.raises(BadDataError):
        Predictions.load(path)


def write_described(folder, entries, **more) -> None:
    """A data set of tiny volumes whose dataset.json is as given."""
    (folder / "imagesTr").mkdir(parents=True)
    for entry in entries:
        image = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), folder / entry["image"])
    description = {"name": "d", "modality": {"0": "MR"}, "training": entries, **more}
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")


def entries_of(classes) -> list[dict]:
    return [
        {"image": f"imagesTr/case{n}.nii.gz", **({} if c is None else {"class": c})} for n, c in enumerate(classes)
    ]


def test_dataset_json_gives_classes_by_value_or_name_and_leaves_some_open(tmp_path):
    from topomae.data.dataset import open_dataset

    names = {"10": "lesion", "2": "healthy"}
    write_described(tmp_path / "data", entries_of([2, "lesion", None, "10"]), classes=names)
    found = volume_classes(open_dataset(tmp_path / "data"))
    assert found.names == ("healthy", "lesion")
    assert found.of_case == {"case0": 0, "case1": 1, "case3": 1}


@pytest.mark.parametrize(
    ("classes", "names", "told"),
    [
        ([0, 7], {"0": "a", "1": "b"}, "there is no class '7'"),
        ([0, 1.5], None, "neither a name nor a whole number"),
        (["1" * 5000, "1" * 5000], None, "all cases have the class"),  # too long for a number
        ([None, None], None, "no case has a class"),
        ([0, 1], {"0": "a", "1": "a"}, "not a list of different names"),
    ],
)
def test_wrong_classes_in_dataset_json_are_refused_in_one_sentence(tmp_path, classes, names, told, is_clear):
    from topomae.data.dataset import open_dataset

    write_described(tmp_path / "data", entries_of(classes), **({"classes": names} if names else {}))
    with pytest.raises(BadDataError, match=told) as caught:
        volume_classes(open_dataset(tmp_path / "data"))
    assert is_clear(caught.value)


@given(
    of_subject=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=6, max_size=20),
    folds=st.integers(2, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_folds_have_a_share_of_each_class_and_part_no_subject(tmp_path_factory, of_subject, folds, seed):
    subjects, classes = {}, {}
    for number, (label, scans) in enumerate(of_subject):
        for _ in range(scans):
            name = f"case{len(subjects)}"
            subjects[name], classes[name] = f"person{number}", label
    from topomae.classification.labels import VolumeClasses

    dataset = a_dataset(tmp_path_factory.getbasetemp(), len(subjects), subjects=subjects)
    known = VolumeClasses(("a", "b", "c"), classes)
    validating = [stratified_fold(dataset, known, fold=fold, folds=folds, seed=seed) for fold in range(folds)]
    assert sorted(name for names in validating for name in names) == sorted(subjects)
    people = [{subjects[name] for name in names} for names in validating]
    assert sum(map(len, people)) == len(of_subject)
    for label in range(3):
        shares = [sum(of_subject[int(person[6:])][0] == label for person in group) for group in people]
        assert max(shares) - min(shares) <= 1


def test_few_training_cases_are_taken_from_the_classes_in_turn(tmp_path):
    from topomae.classification.labels import VolumeClasses

    split = Split(train=tuple(f"case{n}" for n in range(8)), val=("case8", "case9"))
    known = VolumeClasses(("a", "b"), {f"case{n}": int(n in (6, 7, 9)) for n in range(10)})
    train, val = split_classes(a_dataset(tmp_path, 10, split=split), known, ClassifySettings(labelled=4))
    assert [case.name for case in train] == ["case0", "case1", "case6", "case7"]
    assert [case.name for case in val] == ["case8", "case9"]
    with pytest.raises(BadDataError, match="no training case has the class b"):
        split_classes(a_dataset(tmp_path, 10, split=Split(("case0", "case1"), ("case9",))), known, ClassifySettings())


def test_an_evaluation_judges_the_test_cases_by_subject_and_is_read_again(tmp_path):
    write_described(tmp_path / "data", entries_of([0, 1, 0, 1, 0, None]), classes={"0": "healthy", "1": "=lesion"})
    split = {
        "train": ["case0"],
        "test": ["case1", "case2", "case3", "case4"],
        "subject_of": {"case1": "x", "case3": "x"},
    }
    (tmp_path / "data" / "splits.json").write_text(json.dumps(split))
    names = ("case0", "case1", "case2", "case3", "case5", "case9")
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4], [0.5, 0.5], [0.5, 0.5]])
    Predictions(("healthy", "=lesion"), names, probabilities).save(tmp_path / "classes.csv")
    assert "'=lesion" in (tmp_path / "classes.csv").read_text()  # no formula for a spreadsheet
    found = evaluate_classes(tmp_path / "classes.csv", tmp_path / "data", tmp_path / "out", bootstrap=100)
    assert [row.case for row in found.rows] == ["case1", "case2", "case3"]
    assert found.summary.subjects == 2
    assert found.summary.confusion == ((1, 0), (1, 1))
    assert found.summary.overall["auroc"].value == 1
    assert found.summary.overall["balanced_accuracy"].value == 0.75
    assert found.summary.missing_predictions == ("case4",)
    assert found.summary.predictions_without_class == ("case5", "case9")
    loaded = ClassEvaluation.load(tmp_path / "out")
    assert loaded.summary == found.summary
    assert [row.true for row in loaded.rows] == ["=lesion", "healthy", "=lesion"]
