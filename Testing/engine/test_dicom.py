"""DICOM series folders are read by position, with the geometry that pydicom found in the same files."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from topomae.data.volume_io import read_image
from topomae.errors import BadDataError

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_dicom(folder, array, affine, *, uid="1.2.3.4", order=None, slope="1", intercept="0"):
    """Write int16 (I, J, K) as one file per slice; file names are numbered in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :2] / spacing[:2]
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, k in enumerate(order if order is not None else range(array.shape[2])):
        image = sitk.GetImageFromArray(array[:, :, k].T.copy())
        image.SetSpacing(spacing[:2].tolist())
        tags = {
            "0008|0060": "MR",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{number + 1}",
            "0020|000d": "1.2.3",
            "0020|0032": "\\".join(f"{x:.6f}" for x in (lps @ [0, 0, k, 1])[:3]),
            "0020|0037": "\\".join(f"{x:.8f}" for x in directions.T.ravel()),
            "0028|1053": slope,
            "0028|1052": intercept,
            "0020|0013": str(number + 1),
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number:03d}.dcm"))
        writer.Execute(image)


@pytest.fixture
def a_stack():
    """int16 (8, 6, 5) without symmetry, and a right-handed oblique affine in LPS terms."""
    array = np.arange(240, dtype=np.int16).reshape(8, 6, 5) % 97
    a = np.deg2rad(15)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.8, -0.9, 4.0])
    affine[:3, 3] = [12, -34, 56]
    return array, affine


@pytest.mark.parametrize("series", ["T1post", "T1pre", "FLAIR", "T2", "HippoCrop"])
def test_real_dicom_series_match_what_pydicom_found(data_folder, series):
    expected = json.loads((data_folder / "dicom_ok" / "expected.json").read_text())[series]
    volume = read_image(data_folder / "dicom_ok" / "study3" / series)
    assert list(volume.shape) == expected["shape_xyz"]
    np.testing.assert_allclose(volume.spacing, expected["spacing"], atol=1e-5)
    np.testing.assert_allclose(volume.affine, expected["affine_ras"], atol=1e-4)
    assert nib.aff2axcodes(volume.affine) == tuple(expected["axcodes"])
    assert (volume.array.min(), volume.array.max()) == (expected["min"], expected["max"])
    assert volume.array.mean(dtype=np.float64) == pytest.approx(expected["mean"], abs=1e-3)
    assert volume.array.dtype == np.float32


def test_slices_are_stacked_by_position_whatever_their_names_and_rescaled(tmp_path, a_stack):
    array, affine = a_stack
    values = array * 2 - 1000  # stored as they were, through slope and intercept
    write_dicom(tmp_path / "s", values, affine, order=[3, 0, 4, 1, 2], slope="2", intercept="-1000")
    assert array[:, :, 3].T.tobytes() in (tmp_path / "s" / "000.dcm").read_bytes()
    (tmp_path / "s" / "README.txt").write_text("not a slice")
    (tmp_path / "s" / ".DS_Store").write_bytes(b"\0")
    problems = []
    volume = read_image(tmp_path / "s", problems=problems)
    np.testing.assert_array_equal(volume.array[0], values)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    assert problems == []


def test_a_tilted_gantry_is_read_with_its_shear_and_a_note(tmp_path, a_stack):
    array, affine = a_stack
    affine[:3, 2] += affine[:3, 1] * 1.2
    write_dicom(tmp_path / "s", array, affine)
    problems = []
    volume = read_image(tmp_path / "s", problems=problems)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    assert len(problems) == 1 and "15.1 degrees" in problems[0]


def test_stacks_that_are_no_single_volume_are_refused(tmp_path, a_stack):
    array, affine = a_stack
    write_dicom(tmp_path / "one", array[:, :, :1], affine)
    write_dicom(tmp_path / "twice", array, affine, order=[0, 1, 2, 2, 3, 4])
    write_dicom(tmp_path / "study" / "a", array, affine)
    write_dicom(tmp_path / "study" / "b", array, affine)
    write_dicom(tmp_path / "cut", array, affine)
    last = tmp_path / "cut" / "004.dcm"  # at the end of the stack: no gap would tell
    last.write_bytes(last.read_bytes()[:-60])
    (tmp_path / "none").mkdir()
    for name, words in {
        "one": ["single slice"],
        "twice": ["more than one slice", "002.dcm", "003.dcm"],
        "study": ["sub-folders a, b"],
        "cut": ["004.dcm"],
        "none": ["no DICOM series"],
    }.items():
        with pytest.raises(BadDataError) as error:
            read_image(tmp_path / name, case="patient")
        assert all(word in str(error.value) for word in words), str(error.value)
        assert str(tmp_path / name) in str(error.value) and error.value.hint and "case patient" in str(error.value)
    assert read_image(tmp_path / "study" / "b").shape == array.shape
