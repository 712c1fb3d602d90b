"""Bad input is refused before any work begins, in one sentence that names case, file, problem and remedy."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from topomae.data.cases import Case, Dataset
from topomae.data.dataset import check_case, check_dataset, load_case, open_dataset, require_ok
from topomae.data.volume_io import read_image, write_image
from topomae.errors import BadDataError

# Bad input beside the data, by what happens to it. The words must all stand in the message.
REFUSED_FILES = {
    "c03_foreign_label": ["grids", "35×51×35", "512×512×94", "label.nii.gz"],
    "c05_git_lfs_pointer": ["not a NIfTI", "Git LFS", "image.nii.gz"],
    "c06_truncated_gz": ["truncated", "image.nii.gz"],
    "c07_truncated_header": ["header", "truncated", "image.nii.gz"],
    "c09_empty_file": ["empty", "image.nii.gz"],
    "c10_html_instead": ["not a NIfTI", "web page", "image.nii.gz"],
    "c11_corrupt_gz": ["damaged", "CRC", "image.nii.gz"],
    "c12_label_shape_mismatch": ["35×51×35", "34×52×35", "label.nii.gz"],
    "c13_affine_mismatch": ["1×1×1 mm", "2×1×1 mm", "(1, 1, 1)", "(21, -14, 9)", "label.nii.gz"],
    "c14_4d_image": ["2 channels", "1 (MRI)", "image.nii.gz"],
    "c17_zero_spacing": ["spacing", "not positive", "image.nii.gz"],
    "c22_label_255": ["unknown value 255", "0, 1, 2", "label.nii.gz"],
    "c23_label_fractional": ["not whole numbers", "0.5, 1.25", "label.nii.gz"],
    "c27_rgb": ["not a scalar image", "image.nii.gz"],
}
ACCEPTED_FILES = {
    "c16_tiny": "",
    "c19_left_right_flip": "",
    "c20_nan_inf": "315 NaN and 1 infinite voxels were replaced",
    "c24_empty_label": "all background",
    "c26_wrong_modality": "",
}
REFUSED_FOLDERS = {
    "c01_label_without_image": ["hippocampus_010", "without an image", "labelsTr"],
    "c28_missing_modality": ["case_b", "case_b_0001.nii.gz", "does not exist"],
}
REFUSED_SERIES = {
    "d01_dicom_missing_slice": ["uneven slice gaps", "6.00 mm", "3.00 mm", "1-07.dcm", "1-05.dcm"],
    "d02_dicom_missing_slice2": ["uneven slice gaps", "2.00 mm", "1.00 mm", "24.dcm", "26.dcm"],
    "d03_dicom_mixed_series": ["2 DICOM series", "20 files", "a_1.dcm", "b_1.dcm"],
}
ELSEWHERE = {"c02_image_without_label", "c04_stray_file", "j01_dataset_json"}  # tests of their own below


def as_case(folder: Path) -> tuple[Dataset, Case]:
    """The loose image and label of one bad input, as a case of a hippocampus data set."""
    label = folder / "label.nii.gz"
    case = Case(folder.name, (folder / "image.nii.gz",), label if label.exists() else None)
    return Dataset("bad", folder, (case,), ("MRI",), {1: "Anterior", 2: "Posterior"}), case


def test_every_bad_input_on_the_list_has_a_test(broken_cases):
    groups = [REFUSED_FILES, ACCEPTED_FILES, REFUSED_FOLDERS, REFUSED_SERIES, ELSEWHERE]
    assert set(broken_cases) == set().union(*groups)


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_a_bad_file_is_refused_by_name(broken_folder, name, capfd, is_clear):
    dataset, case = as_case(broken_folder / name)
    report = check_case(dataset, case, labels_needed=case.label is not None)
    assert not report.ok and len(report.errors) == 1
    error = report.errors[0]
    assert isinstance(error, BadDataError) and is_clear(error) and error.case == name
    assert all(word in str(error) for word in REFUSED_FILES[name]), str(error)
    with pytest.raises(BadDataError) as again:
        load_case(dataset, case, with_label=case.label is not None)
    assert str(again.value) == str(error)
    assert capfd.readouterr() == ("", "")  # no library complains past our own message


@pytest.mark.parametrize("name", ACCEPTED_FILES)
def test_an_odd_but_usable_file_is_accepted_with_a_note(broken_folder, name):
    dataset, case = as_case(broken_folder / name)
    report = check_case(dataset, case, labels_needed=True)
    assert report.ok and report.errors == ()
    assert ACCEPTED_FILES[name] in " ".join(report.warnings)
    image, label = load_case(dataset, case, with_label=True)
    assert np.isfinite(image.array).all() and label.shape == image.shape


@pytest.mark.parametrize("name", REFUSED_FOLDERS)
def test_an_incomplete_case_is_refused_by_name(broken_folder, name, is_clear):
    with pytest.raises(BadDataError) as error:
        open_dataset(broken_folder / name)
    assert is_clear(error.value) and all(word in str(error.value) for word in REFUSED_FOLDERS[name])


@pytest.mark.parametrize("name", REFUSED_SERIES)
def test_a_dicom_folder_that_is_no_whole_series_is_refused(broken_folder, name, capfd, is_clear):
    with pytest.raises(BadDataError) as error:
        read_image(broken_folder / name, case="patient")
    assert is_clear(error.value) and str(error.value).startswith("case patient: ")
    assert all(word in str(error.value) for word in REFUSED_SERIES[name]), str(error.value)
    assert capfd.readouterr() == ("", "")


def test_an_image_without_label_serves_pretraining_but_not_supervised_training(broken_folder, is_clear):
    dataset = open_dataset(broken_folder / "c02_image_without_label")
    assert check_dataset(dataset, dataset.cases, labels_needed=False)[0].ok
    (report,) = check_dataset(dataset, dataset.cases, labels_needed=True)
    assert is_clear(report.errors[0])
    assert all(word in str(report.errors[0]) for word in ("hippocampus_118", "no label map", "pre-training"))


def test_stray_files_are_ignored(broken_folder):
    dataset = open_dataset(broken_folder / "c04_stray_file")
    assert [case.name for case in dataset.cases] == ["hippocampus_001"]
    assert check_dataset(dataset, dataset.cases, labels_needed=True)[0].ok


def test_a_flipped_label_lands_on_its_image(broken_folder):
    folder = broken_folder / "c19_left_right_flip"
    dataset, case = as_case(folder)
    image, label = load_case(dataset, case, with_label=True)
    stored = nib.load(folder / "label.nii.gz")
    upright = nib.as_closest_canonical(stored)  # the image is RAS already
    np.testing.assert_array_equal(label.array[0], np.asarray(upright.dataobj))
    assert not np.array_equal(label.array[0], np.asarray(stored.dataobj))
    np.testing.assert_array_equal(label.affine, image.affine)
    for value in (1, 2):  # the same place in the patient
        centre = nib.affines.apply_affine(label.affine, np.argwhere(label.array[0] == value).mean(axis=0))
        there = nib.affines.apply_affine(stored.affine, np.argwhere(stored.get_fdata() == value).mean(axis=0))
        np.testing.assert_allclose(centre, there, atol=1e-4)


def test_a_volume_unlike_the_others_gets_a_warning_only(broken_folder, hippocampus_dataset):
    _, stranger = as_case(broken_folder / "c26_wrong_modality")
    cases = [*hippocampus_dataset.cases[:12], stranger]
    reports = check_dataset(hippocampus_dataset, cases, labels_needed=True)
    assert all(report.ok for report in reports)
    assert [report.case.name for report in reports if report.warnings] == [stranger.name]
    assert "far from the data set's median 1×1×1 mm" in reports[-1].warnings[0]


def test_the_error_for_many_bad_cases_names_the_first_and_the_others(broken_folder):
    cases = [as_case(broken_folder / name)[1] for name in ("c09_empty_file", "c16_tiny", "c11_corrupt_gz")]
    dataset = Dataset("bad", broken_folder, tuple(cases), ("MRI",), {1: "a", 2: "b"})
    with pytest.raises(BadDataError) as error:
        require_ok(check_dataset(dataset, cases, labels_needed=False))
    assert error.value.case == "c09_empty_file" and "c11_corrupt_gz" in str(error.value)
    assert "1 more of 3 cases" in str(error.value) and "c16" not in str(error.value)


# --- dataset.json and splits.json ------------------------------------------------------------------

BAD_DESCRIPTIONS = {
    "trailing_comma": ["not valid JSON", "line 32, column 12", "Remove the comma"],
    "missing_file": ["no_such_case", "does not exist"],
    "duplicate_case_wrong_numTraining": ["hippocampus_001", "2 times", "numTraining says 3", "4"],
    "no_labels": ['"labels" is missing'],
    "path_outside": ["hostname", "outside the folder"],
    "splits_overlap": ["2 cases stand in two lists", "hippocampus_006", '"train" and "test"'],
}


@pytest.fixture
def hippocampus_copy(data_folder, tmp_path) -> Path:
    """A copy of eight real cases with its own dataset.json."""
    source, target = data_folder / "hippocampus", tmp_path / "hippocampus"
    names = ["001", "003", "004", "006", "007", "008", "011", "014"]
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(source / folder / f"hippocampus_{name}.nii.gz", target / folder)
    description = json.loads((source / "dataset.json").read_text())
    kept = [e for e in description["training"] if e["image"].split("_")[-1][:3] in names]
    description |= {"training": kept, "numTraining": len(kept)}
    (target / "dataset.json").write_text(json.dumps(description))
    return target


@pytest.mark.parametrize("name", BAD_DESCRIPTIONS)
def test_a_wrong_description_is_refused_with_its_own_message(broken_folder, hippocampus_copy, name, is_clear):
    assert len(open_dataset(hippocampus_copy).cases) == 8
    target = "splits.json" if name == "splits_overlap" else "dataset.json"
    shutil.copy(broken_folder / "j01_dataset_json" / f"{name}.json", hippocampus_copy / target)
    with pytest.raises(BadDataError) as error:
        open_dataset(hippocampus_copy)
    assert is_clear(error.value) and all(word in str(error.value) for word in BAD_DESCRIPTIONS[name])


def edited(folder: Path, **changes) -> Path:
    """Change keys of dataset.json; None removes a key."""
    path = folder / "dataset.json"
    description = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in description.items() if value is not None}))
    return folder


TWICE = ["imagesTr/hippocampus_001.nii.gz"] * 2
WRONG_KEYS = [
    ({"labels": ["background", "a"]}, '"labels"'),
    ({"labels": {"0": "background", "1": "a", "2": "a"}}, "name of its own"),
    ({"labels": {"background": 0, "whole": [1, 2]}}, "'whole' is a region of several values"),
    ({"labels": {"background": 0, "a": 1, "b": 1}}, "same value 1"),
    ({"labels": {"background": 0, "a": 1, "ignore": 2}}, "ignore are not supported"),
    ({"labels": {"0": "background", "-1": "a"}}, "value -1 is negative"),
    ({"modality": {"0": "MR", "2": "CT"}}, "numbered 0, 1, 2"),
    ({"modality": ["T1", "T2", "PD"], "training": [{"image": TWICE}], "numTraining": 1}, "3 modalities"),
    ({"modality": ["T1", "T2"], "training": [{"image": TWICE}], "numTraining": 1}, "same image file"),
    ({"numTraining": 260}, "numTraining says 260 but 8"),
    ({"training": []}, "0"),
    ({"training": [], "numTraining": 0}, "lists no cases"),
    ({"training": {"a": 1}}, '"training"'),
    ({"training": [{"label": "x.nii.gz"}]}, 'no "image"'),
    ({"training": [{"image": 5}]}, '"training > 0 > image'),
    ({"training": [{"image": ""}], "numTraining": 1}, "not a path relative"),
    ({"training": [{"image": "/etc/hostname"}], "numTraining": 1}, "not a path relative"),
    ({"training": [{"image": "C:\\secret\\a.nii.gz"}], "numTraining": 1}, "not a path relative"),
    ({"training": [{"image": "..\\..\\a.nii.gz"}], "numTraining": 1}, "outside the folder"),
    ({"training": [{"image": "imagesTr/a\0.nii.gz"}], "numTraining": 1}, "not a path relative"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), WRONG_KEYS)
def test_a_wrong_key_of_dataset_json_is_named(hippocampus_copy, changes, words, is_clear):
    with pytest.raises(BadDataError) as error:
        open_dataset(edited(hippocampus_copy, **changes))
    assert is_clear(error.value) and words in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"[1, 2]", "holds a list"),
        (b'{"labels": {"1": "a", "1": "b"}}', "stands twice"),
        (b'{"name": "\xe9\xff"}', "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"training": [nul]}', "line 1, column 15"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(hippocampus_copy, content, words, is_clear):
    (hippocampus_copy / "dataset.json").write_bytes(content)
    with pytest.raises(BadDataError) as error:
        open_dataset(hippocampus_copy)
    assert is_clear(error.value) and words in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"train": ["hippocampus_001", "hippocampus_999"]}, "no case named hippocampus_999"),
        ({"train": ["hippocampus_001", "hippocampus_001"]}, 'more than once in "train"'),
        ({"train": ["hippocampus_001.nii.gz"]}, "no case named"),
        ({"val": []}, '"train"'),
        ([{"train": []}], "holds a list"),
        (
            {
                "train": ["hippocampus_003"],
                "val": ["hippocampus_004"],
                "subject_of": {"hippocampus_003": 2, "hippocampus_004": 2},
            },
            "of one subject (2)",
        ),
    ],
)
def test_a_wrong_split_is_refused(hippocampus_copy, content, words, is_clear):
    (hippocampus_copy / "splits.json").write_text(json.dumps(content))
    with pytest.raises(BadDataError) as error:
        open_dataset(hippocampus_copy)
    assert is_clear(error.value) and words in str(error.value), str(error.value)
    assert error.value.path.name == "splits.json"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_that_leave_the_data_folder_are_refused(tmp_path, a_grey_volume, is_clear):
    write_image(tmp_path / "elsewhere.nii.gz", a_grey_volume, np.eye(4))
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "images" / "a.nii.gz").symlink_to(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(BadDataError, match="outside the folder") as error:
        open_dataset(tmp_path / "data")
    assert is_clear(error.value) and error.value.case == "a"
    (tmp_path / "data" / "images" / "a.nii.gz").unlink()
    write_image(tmp_path / "data" / "real.nii.gz", a_grey_volume, np.eye(4))
    (tmp_path / "data" / "images" / "a.nii.gz").symlink_to(Path("..") / "real.nii.gz")  # inside: allowed
    (tmp_path / "link").symlink_to(tmp_path / "data")  # the data folder itself may be a link
    assert [case.name for case in open_dataset(tmp_path / "link").cases] == ["a"]
