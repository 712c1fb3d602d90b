"""Data sets of every supported layout open as the right cases, split fairly, and load on one grid."""

from __future__ import annotations

import json
import unicodedata

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topomae.data.cases import Case, Dataset, Split
from topomae.data.dataset import check_dataset, discover_labels, load_case, open_dataset, split_dataset
from topomae.data.volume_io import write_image, write_labels
from topomae.errors import BadDataError, BadSettingError


def touch(folder, *names):
    """Make empty files: opening a data set reads no voxels, so they will do."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def described(folder, **content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def layout(dataset):
    """{case: (image names, label name)} of a data set."""
    return {
        case.name: (tuple(path.name for path in case.images), case.label.name if case.label else None)
        for case in dataset.cases
    }


# --- real data sets --------------------------------------------------------------------------------


def test_the_hippocampus_opens_with_its_split_and_subjects(hippocampus_dataset):
    dataset = hippocampus_dataset
    assert (dataset.name, len(dataset.cases), dataset.modalities) == ("HIPPOCAMPUS", 260, ("MRI",))
    assert dataset.labels == {1: "Anterior", 2: "Posterior"}
    split = dataset.fixed_split
    assert (len(split.train), len(split.val), len(split.test)) == (156, 39, 65)
    assert dataset.case("hippocampus_003").subject == dataset.case("hippocampus_004").subject == "2"
    assert len({case.subject for case in dataset.cases}) == 170
    assert split_dataset(dataset) == split
    with pytest.raises(BadSettingError, match="fixed split"):
        split_dataset(dataset, fold=1)


def test_other_real_data_sets_open(left_atrium_dataset, brats_dataset, ms_lesions_dataset, ct_dataset):
    assert len(left_atrium_dataset.cases) == 100 and left_atrium_dataset.labels == {1: "left atrium"}
    assert brats_dataset.modalities == ("FLAIR", "T1c")
    assert layout(brats_dataset)["brats15_pat0001"] == (
        ("brats15_pat0001_0000.nii.gz", "brats15_pat0001_0001.nii.gz"),
        "brats15_pat0001.nii.gz",
    )
    assert ms_lesions_dataset.modalities == ("FLAIR", "T1", "T1-post", "T2")
    assert all(len(case.images) == 1 for case in ms_lesions_dataset.cases)
    assert ct_dataset.modalities == ("CT",) and list(ct_dataset.labels) == [1, 2, 3, 4, 5]
    assert ct_dataset.fixed_split == Split(("ts_example",), (), ("msd_spleen2_crop",))


def test_modalities_in_several_files_and_in_one_load_as_channels(brats_dataset, ms_lesions_dataset):
    case = brats_dataset.cases[0]
    image, label = load_case(brats_dataset, case, with_label=True)
    assert image.array.shape == (2, 240, 240, 155) and label.array.shape == (1, 240, 240, 155)
    for channel, path in zip(image.array, case.images, strict=True):
        np.testing.assert_allclose(channel, nib.load(path).get_fdata(), atol=1e-5)
    case = ms_lesions_dataset.cases[0]
    image, label = load_case(ms_lesions_dataset, case, with_label=False)
    assert image.array.shape[0] == 4 and label is None


# --- layouts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "labels"), [("imagesTr", "labelsTr"), ("images", "labels")])
def test_folders_of_images_and_labels_are_matched_by_name(tmp_path, images, labels):
    touch(tmp_path, f"{images}/b.nii.gz", f"{images}/a.nrrd", f"{images}/c.nii", f"{images}/notes.txt")
    touch(tmp_path, f"{images}/.DS_Store", f"{images}/._a.nrrd", f"{labels}/a.seg.nrrd", f"{labels}/c.nii.gz")
    dataset = open_dataset(tmp_path)
    assert layout(dataset) == {
        "a": (("a.nrrd",), "a.seg.nrrd"),
        "b": (("b.nii.gz",), None),
        "c": (("c.nii",), "c.nii.gz"),
    }
    assert list(layout(dataset)) == ["a", "b", "c"]
    assert [case.name for case in dataset.labelled] == ["a", "c"]
    assert dataset.name == tmp_path.name and dataset.modalities == ("image",) and dataset.labels == {}
    assert open_dataset(tmp_path, modalities=["ct"]).modalities == ("CT",)
    with pytest.raises(BadSettingError, match="2 modalities are given"):
        open_dataset(tmp_path, modalities=["T1", "T2"])


def test_a_flat_folder_is_a_set_of_unlabelled_images(tmp_path):
    touch(tmp_path, *(f"scan_{n:04d}.nii.gz" for n in range(3)))
    dataset = open_dataset(tmp_path)
    assert list(layout(dataset)) == ["scan_0000", "scan_0001", "scan_0002"]  # numbered scans, not channels
    assert dataset.labelled == ()
    assert split_dataset(dataset) == Split(("scan_0000", "scan_0001", "scan_0002"), ())


def test_channel_numbers_are_told_from_numbered_names(tmp_path):
    channels = [f"{case}_{n:04d}.nii.gz" for case in ("p1", "p2") for n in range(2)]
    touch(tmp_path / "by_label", *(f"images/{name}" for name in channels), "labels/p1.nii.gz")
    touch(tmp_path / "by_number", *channels)
    touch(tmp_path / "nnunet", "imagesTr/p1_0000.nii.gz", "imagesTr/p1_0001.nii.gz")
    touch(tmp_path / "names", *(f"images/{name}" for name in channels), "labels/p1_0000.nii.gz")
    pair = {f"p{n}": (f"p{n}_0000.nii.gz", f"p{n}_0001.nii.gz") for n in (1, 2)}
    by_label = open_dataset(tmp_path / "by_label")
    assert layout(by_label) == {"p1": (pair["p1"], "p1.nii.gz"), "p2": (pair["p2"], None)}
    assert by_label.modalities == ("image 0", "image 1")
    by_number = layout(open_dataset(tmp_path / "by_number"))
    assert by_number == {name: (files, None) for name, files in pair.items()}
    assert layout(open_dataset(tmp_path / "nnunet")) == {"p1": (pair["p1"], None)}
    assert len(open_dataset(tmp_path / "names").cases) == 4


def test_a_missing_channel_is_named(tmp_path):
    touch(tmp_path / "first", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    touch(tmp_path / "last", *(f"imagesTr/{n}.nii.gz" for n in ("a_0000", "a_0001", "b_0000")))
    with pytest.raises(BadDataError, match=r"case a: .*channel 0 \(a_0000\)"):
        open_dataset(tmp_path / "first")
    with pytest.raises(BadDataError, match="case b: 1 image files where 2 belong"):
        open_dataset(tmp_path / "last")


def test_two_files_for_one_case_are_refused(tmp_path):
    touch(tmp_path / "suffix", "images/a.nii.gz", "images/a.nrrd")
    touch(tmp_path / "label", "images/a.nii.gz", "labels/a.nii.gz", "labels/a.nii")
    touch(tmp_path / "case", "images/Scan.nii.gz", "images/scan.nrrd")  # one file on Windows and macOS
    expected = {"suffix": "a.nii.gz and a.nrrd", "label": "a.nii and a.nii.gz", "case": "collides"}
    for name, words in expected.items():
        with pytest.raises(BadDataError) as error:
            open_dataset(tmp_path / name)
        assert words in str(error.value) and error.value.hint and error.value.case.lower() in ("a", "scan")


def test_names_match_whatever_way_their_accents_are_stored(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Müller 心") for form in ("NFC", "NFD"))
    touch(tmp_path, f"images/{decomposed}.nii.gz", f"labels/{composed}.nii.gz")
    (tmp_path / "splits.json").write_text(json.dumps({"train": [decomposed]}), encoding="utf-8")
    dataset = open_dataset(tmp_path)
    assert [case.name for case in dataset.labelled] == [composed]
    assert dataset.fixed_split.train == (composed,)


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    touch(tmp_path, "slices/1.dcm", "notes.txt")
    with pytest.raises(BadDataError, match=r"no images found.*NIfTI"):
        open_dataset(tmp_path)
    with pytest.raises(BadDataError, match="does not exist"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(BadDataError, match="not a folder"):
        open_dataset(tmp_path / "notes.txt")


def test_the_decathlon_list_takes_one_file_several_files_and_no_label(tmp_path):
    touch(tmp_path / "imagesTr", *(f"{name}.nii.gz" for name in ("a_0000", "a_0001", "b", "c", "d")))
    touch(tmp_path, "labelsTr/a.nii.gz", "imagesTs/t.nii.gz", "masks/b_seg.nii.gz")
    described(
        tmp_path,
        name="Tumours",
        modality={"1": "T2", "0": "T1"},
        labels={"2": "core", "0": "background", "1": "whole"},
        training=[
            {"image": ["./imagesTr/a_0000.nii.gz", "./imagesTr/a_0001.nii.gz"], "label": "labelsTr/a.nii.gz"},
            {"image": "imagesTr\\b.nii.gz", "label": "./masks/b_seg.nii.gz", "age": 61},
            {"image": "./imagesTr/c.nii.gz", "label": None},
        ],
        unlabelled=["./imagesTr/d.nii.gz"],
        test=["./imagesTs/t.nii.gz", "./imagesTs/not_downloaded.nii.gz"],
        numTraining=3,
        licence="CC-BY",
    )
    dataset = open_dataset(tmp_path)
    assert layout(dataset) == {
        "a": (("a_0000.nii.gz", "a_0001.nii.gz"), "a.nii.gz"),
        "b": (("b.nii.gz",), "b_seg.nii.gz"),
        "c": (("c.nii.gz",), None),
        "d": (("d.nii.gz",), None),
    }
    assert dataset.name == "Tumours" and dataset.modalities == ("T1", "T2")
    assert list(dataset.labels.items()) == [(1, "whole"), (2, "core")]


@pytest.mark.parametrize("listed", [False, True])
def test_a_data_set_of_nnunet_opens(tmp_path, listed):
    touch(tmp_path, *(f"imagesTr/{c}_{n:04d}.nrrd" for c in ("p1", "p2") for n in range(2)))
    touch(tmp_path, "labelsTr/p1.nrrd", "labelsTr/p2.nrrd", "imagesTr/other.nii.gz")
    files = {
        case: {
            "images": [f"imagesTr/{case}_0000.nrrd", f"imagesTr/{case}_0001.nrrd"],
            "label": f"labelsTr/{case}.nrrd",
        }
        for case in ("p1", "p2")
    }
    described(
        tmp_path,
        channel_names={"0": "CT", "1": "PET"},
        labels={"background": 0, "tumour": 2, "organ": 1},
        numTraining=2,
        file_ending=".nrrd",
        **({"dataset": files} if listed else {}),
    )
    dataset = open_dataset(tmp_path)
    assert layout(dataset) == {
        case: ((f"{case}_0000.nrrd", f"{case}_0001.nrrd"), f"{case}.nrrd") for case in ("p1", "p2")
    }
    assert dataset.modalities == ("CT", "PET") and dataset.labels == {1: "organ", 2: "tumour"}


def test_a_list_that_leaves_out_channel_numbers_finds_the_files(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    described(
        tmp_path,
        modality={"0": "T1", "1": "T2"},
        labels={"0": "background", "1": "x"},
        training=[{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    )
    assert layout(open_dataset(tmp_path)) == {"a": (("a_0000.nii.gz", "a_0001.nii.gz"), "a.nii.gz")}


# --- splits ----------------------------------------------------------------------------------------


def made_dataset(folder, scans_of, unlabelled=()):
    cases = tuple(
        Case(name, (folder / f"{name}.nii",), None if name in unlabelled else folder / "label.nii", subject)
        for subject, names in scans_of.items()
        for name in names
    )
    return Dataset("made", folder, tuple(sorted(cases, key=lambda c: c.name)), ("MR",), {1: "a"})


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=15),
    hidden=st.sets(st.integers(0, 40)),
    folds=st.integers(2, 6),
    seed=st.integers(0, 5),
)
def test_folds_keep_subjects_together_and_validate_every_labelled_case_once(
    tmp_path_factory, counts, hidden, folds, seed
):
    scans_of, number = {}, 0
    for subject, count in enumerate(counts):
        scans_of[f"s{subject}"] = [f"c{number + n:03d}" for n in range(count)]
        number += count
    dataset = made_dataset(tmp_path_factory.getbasetemp(), scans_of, {f"c{n:03d}" for n in hidden})
    subject_of = {case.name: case.subject for case in dataset.cases}
    labelled = {case.name for case in dataset.labelled}
    subjects = {subject_of[name] for name in labelled}
    validated = []
    for fold in range(min(folds, len(subjects)) if len(subjects) > 1 else 1):
        split = split_dataset(dataset, fold=fold, folds=folds, seed=seed)
        assert split == split_dataset(dataset, fold=fold, folds=folds, seed=seed) and split.test == ()
        assert not {subject_of[n] for n in split.train} & {subject_of[n] for n in split.val}
        assert set(split.val) <= labelled
        left_out = set(subject_of) - set(split.train) - set(split.val)
        assert not left_out & labelled
        assert {subject_of[name] for name in left_out} <= {subject_of[name] for name in split.val}
        validated += split.val
    assert sorted(validated) == (sorted(labelled) if len(subjects) > 1 else [])


def test_folds_are_even_stay_the_same_and_change_with_the_seed(tmp_path):
    dataset = made_dataset(tmp_path, {f"s{n}": [f"c{n:02d}"] for n in range(20)}, {"c19"})
    folds = [split_dataset(dataset, fold=fold).val for fold in range(5)]
    assert [len(val) for val in folds] == [4, 4, 4, 4, 3]
    # Written down once: the same on every machine, so that published results can be repeated.
    assert folds[0] == ("c03", "c10", "c14", "c16")
    assert split_dataset(dataset, seed=1).val != folds[0]
    assert "c19" in split_dataset(dataset).train


def test_folds_that_do_not_exist_are_refused(tmp_path):
    dataset = made_dataset(tmp_path, {f"s{n}": [f"c{n}"] for n in range(3)})
    for settings in ({"fold": 5}, {"fold": -1}, {"folds": 1}, {"fold": 3}):
        with pytest.raises(BadSettingError, match="no fold"):
            split_dataset(dataset, **settings)


# --- checking --------------------------------------------------------------------------------------


@pytest.fixture
def two_cases(tmp_path, a_grey_volume, a_label_map, an_oblique_affine):
    """A plain data set of two good cases; the second image has a constant border of -1."""
    bordered = np.full((1, 16, 17, 18), -1, np.float32)
    bordered[0, 2:14, 1:15, 6:16] = a_grey_volume[0]
    labels = np.zeros(bordered.shape[1:], np.uint8)
    labels[2:14, 1:15, 6:16] = a_label_map
    for name, image, label in (("a", a_grey_volume, a_label_map), ("b", bordered, labels)):
        write_image(tmp_path / "images" / f"{name}.nii.gz", image, an_oblique_affine)
        write_labels(tmp_path / "labels" / f"{name}.nii.gz", label, an_oblique_affine)
    return open_dataset(tmp_path)


def test_a_report_states_what_planning_needs(two_cases, a_grey_volume, a_label_map):
    calls = []
    reports = check_dataset(
        two_cases,
        two_cases.cases,
        labels_needed=True,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(0, 2), (1, 2), (2, 2)]
    counts = {value: int((a_label_map == value).sum()) for value in (1, 2)}
    values = a_grey_volume.astype(np.float64)
    for report, shape in zip(reports, ((12, 14, 10), (16, 17, 18)), strict=True):
        assert report.ok and report.warnings == () and report.label_voxels == counts
        assert report.shape == shape and report.foreground_shape == (12, 14, 10)
        np.testing.assert_allclose(report.spacing, (0.7, 0.9, 3.0), rtol=1e-5)
        (found,) = report.intensities
        np.testing.assert_allclose(
            (found.p0_5, found.p50, found.p99_5), np.percentile(values, (0.5, 50, 99.5)), rtol=1e-5
        )
        np.testing.assert_allclose((found.mean, found.sd), (values.mean(), values.std()), rtol=1e-5)
        assert (found.minimum, found.maximum) == (values.min(), values.max())


def test_shape_and_spacing_are_reported_in_patient_axes(tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -3.0], [0.5, 0, 0], [0, 0.8, 0]]  # i runs anterior, j superior, k left
    write_image(tmp_path / "a.nii.gz", np.random.default_rng(0).normal(size=(4, 5, 6)), affine)
    dataset = open_dataset(tmp_path)
    (report,) = check_dataset(dataset, dataset.cases, labels_needed=False)
    assert report.shape == (6, 4, 5)
    np.testing.assert_allclose(report.spacing, (3.0, 0.5, 0.8))


def test_labels_are_not_opened_where_they_are_not_needed(two_cases):
    for case in two_cases.cases:
        case.label.write_bytes(b"not a label map")
    assert all(report.ok for report in check_dataset(two_cases, two_cases.cases, labels_needed=False))
    assert load_case(two_cases, two_cases.cases[0], with_label=False)[1] is None
    assert not any(report.ok for report in check_dataset(two_cases, two_cases.cases, labels_needed=True))


def test_an_image_of_one_value_is_refused_and_a_modality_of_one_value_told(tmp_path, a_grey_volume):
    flat = np.full_like(a_grey_volume, 7)
    write_image(tmp_path / "a.nii.gz", np.concatenate([a_grey_volume, flat]), np.eye(4))
    write_image(tmp_path / "b.nii.gz", np.concatenate([flat, flat]), np.eye(4))
    dataset = open_dataset(tmp_path, modalities=["T1", "T2"])
    good, bad = check_dataset(dataset, dataset.cases, labels_needed=False)
    assert good.ok and "T2 is constant" in good.warnings[0]
    assert not bad.ok and "every voxel of the image has the same value (7)" in str(bad.errors[0])


def test_labels_without_names_are_discovered_from_files_or_reports(two_cases):
    named = {1: "label 1", 2: "label 2"}
    assert discover_labels(two_cases).labels == named
    reports = check_dataset(two_cases, two_cases.cases, labels_needed=True)
    for case in two_cases.cases:
        case.label.unlink()
    assert discover_labels(two_cases, reports).labels == named
    with pytest.raises(BadDataError, match="does not exist"):
        discover_labels(two_cases)


def test_an_image_among_the_labels_is_noticed(tmp_path, a_grey_volume):
    write_image(tmp_path / "images" / "a.nii.gz", a_grey_volume, np.eye(4))
    write_labels(tmp_path / "labels" / "a.nii.gz", np.arange(1680).reshape(12, 14, 10), np.eye(4))
    with pytest.raises(BadDataError, match="as an image would"):
        discover_labels(open_dataset(tmp_path))


def test_modalities_of_another_orientation_are_brought_onto_the_first(tmp_path, a_grey_volume, an_oblique_affine):
    write_image(tmp_path / "a_0000.nii.gz", a_grey_volume, an_oblique_affine)
    second = nib.Nifti1Image(a_grey_volume[0] * 2, an_oblique_affine)
    turned = second.as_reoriented([[2, -1], [0, 1], [1, -1]])
    nib.save(turned, tmp_path / "a_0001.nii.gz")
    case = Case("a", (tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"))
    dataset = Dataset("made", tmp_path, (case,), ("T1", "T2"), {})
    image, _ = load_case(dataset, case, with_label=False)
    np.testing.assert_array_equal(image.array, np.concatenate([a_grey_volume, a_grey_volume * 2]))
    moved = second.affine.copy()
    moved[:3, 3] += 5
    nib.save(nib.Nifti1Image(a_grey_volume[0], moved), tmp_path / "a_0001.nii.gz")
    with pytest.raises(BadDataError, match=r"case a: its modalities lie on different grids.*a_0001") as error:
        load_case(dataset, case, with_label=False)
    assert error.value.path.name == "a_0001.nii.gz"


def test_air_around_the_patient_does_not_decide_the_contrast_of_ct(ct_dataset):
    """Abdominal tissue lies within some hundred HU; with air counted the spread would be about 400."""
    (report,) = check_dataset(ct_dataset, [ct_dataset.case("ts_example")], labels_needed=False)
    (ct,) = report.intensities
    assert ct.minimum > -900
    assert -150 < ct.p50 < 100
    assert ct.sd < 300
