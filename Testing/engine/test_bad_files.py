"""Files that are damaged, mislabelled, absurd or gone are refused in one clear sentence."""

from __future__ import annotations

import gzip
import shutil
import warnings

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from topomae.data.dataset import check_dataset, open_dataset
from topomae.data.volume_io import read_image, read_labels, write_image, write_labels
from topomae.errors import BadDataError


@pytest.fixture
def refused(is_clear):
    """Read, expect a clear refusal that names case and file, and return the sentence."""

    def read(path, reader=read_image):
        with pytest.raises(BadDataError) as error:
            reader(path, case="patient 7")
        assert is_clear(error.value) and error.value.case == "patient 7" and str(path) in str(error.value)
        return str(error.value)

    return read


def test_headers_that_declare_absurd_sizes_are_refused_before_memory_is_taken(tmp_path, refused):
    header = nib.Nifti1Header()
    header.set_data_shape((10_000, 10_000, 10_000))
    header.set_data_dtype(np.float32)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    content = header.binaryblock + bytes(4) + bytes(1000)
    (tmp_path / "a.nii").write_bytes(content)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    header.set_data_shape((1500, 1500, 1500))  # possible, but not in so few bytes
    content = header.binaryblock + bytes(4) + bytes(1000)
    (tmp_path / "b.nii").write_bytes(content)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content))
    text = "NRRD0004\ntype: float\ndimension: 3\nsizes: {0} {0} {0}\nencoding: {1}\n\n"
    for name, size, encoding in (("a", 10_000, "raw"), ("b", 1500, "raw"), ("c", 1500, "gzip")):
        (tmp_path / f"{name}.nrrd").write_bytes(text.format(size, encoding).encode() + bytes(1000))
    for name in ("a.nii", "a.nii.gz", "a.nrrd"):
        assert "impossible size of 10000×10000×10000" in refused(tmp_path / name)
    for name in ("b.nii", "b.nii.gz", "b.nrrd", "c.nrrd"):
        assert "more than this file" in refused(tmp_path / name)


def test_images_that_are_no_volumes_are_refused(tmp_path, refused_label, refused):
    for name, shape in {"flat": (30, 40), "slice": (30, 40, 1), "five": (5, 6, 7, 2, 3)}.items():
        nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), tmp_path / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.complex64), np.eye(4)), tmp_path / "complex.nii.gz")
    sitk.WriteImage(sitk.Image(30, 40, sitk.sitkFloat32), str(tmp_path / "flat.nrrd"))
    header = "NRRD0004\ntype: uchar\ndimension: 4\nspace: LPS\nsizes: 3 4 5 6\nencoding: raw\n"
    axes = "kinds: RGB-color domain domain domain\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\n\n"
    (tmp_path / "colour.nrrd").write_bytes((header + axes).encode() + bytes(360))
    assert "30×40 pixels, not a volume" in refused(tmp_path / "flat.nii.gz")
    assert "30×40×1 pixels, not a volume" in refused(tmp_path / "slice.nii.gz")
    assert "30×40 pixels, not a volume" in refused(tmp_path / "flat.nrrd")
    assert "5 axes" in refused(tmp_path / "five.nii.gz")
    assert "complex" in refused(tmp_path / "complex.nii.gz")
    assert "RGB-color" in refused(tmp_path / "colour.nrrd")
    assert "2 channels" in refused_label(np.ones((4, 5, 6, 2), np.uint8))


@pytest.fixture
def refused_label(refused, tmp_path):
    """Store values as a label map, expect a clear refusal, and return the sentence."""

    def read(values):
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "label.nii.gz")
        return refused(tmp_path / "label.nii.gz", read_labels)

    return read


def test_label_values_that_are_no_labels_are_refused(tmp_path, refused_label):
    for value, words in ((-1, "value -1"), (70_000, "70000"), (np.nan, "nan"), (np.inf, "inf"), (1.5, "1.5")):
        values = np.zeros((4, 5, 6), np.float32)
        values[1, 2, 3] = value
        assert words in refused_label(values)


def test_a_wrong_or_missing_name_is_told(tmp_path, refused):
    for name in ("a.png", "a.dcm", "a.gz", "a"):
        (tmp_path / name).write_bytes(b"x")
    assert "not a volume file" in refused(tmp_path / "a.png")
    assert "folder that holds the series" in refused(tmp_path / "a.dcm")
    assert "does not exist" in refused(tmp_path / "gone.nii.gz")
    assert "no DICOM series" in refused(tmp_path)


def test_files_named_as_another_format_are_told_apart(tmp_path, a_grey_volume, refused):
    write_image(tmp_path / "a.nii", a_grey_volume, np.eye(4))
    write_image(tmp_path / "a.nrrd", a_grey_volume, np.eye(4))
    shutil.copy(tmp_path / "a.nii", tmp_path / "b.nii.gz")
    shutil.copy(tmp_path / "a.nrrd", tmp_path / "c.nii")
    shutil.copy(tmp_path / "a.nii", tmp_path / "d.nrrd")
    assert "uncompressed NIfTI" in refused(tmp_path / "b.nii.gz")
    assert "an NRRD file" in refused(tmp_path / "c.nii")
    assert "uncompressed NIfTI" in refused(tmp_path / "d.nrrd")


def test_zero_spacing_is_refused_however_the_header_places_the_volume(tmp_path, a_grey_volume, refused):
    for name, codes in {"none": (0, 0), "qform": (0, 1)}.items():
        nib.save(nib.Nifti1Image(a_grey_volume[0], np.eye(4)), tmp_path / f"{name}.nii")
        raw = bytearray((tmp_path / f"{name}.nii").read_bytes())
        raw[84:88] = np.float32(0).tobytes()  # pixdim[2]
        raw[252:256] = np.array([codes[1], codes[0]], "<i2").tobytes()  # qform_code, sform_code
        (tmp_path / f"{name}.nii").write_bytes(raw)
        assert "not positive" in refused(tmp_path / f"{name}.nii")


def test_a_damaged_nrrd_is_refused(tmp_path, a_grey_volume, refused):
    write_image(tmp_path / "a.nrrd", a_grey_volume, np.eye(4))
    good = (tmp_path / "a.nrrd").read_bytes()
    silent = 0
    for place in range(len(good) - 400, len(good) - 20, 19):
        (tmp_path / "a.nrrd").write_bytes(good[:place] + bytes([good[place] ^ 16]) + good[place + 1 :])
        assert "the compressed data are damaged" in refused(tmp_path / "a.nrrd")
        try:
            by_itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nrrd")))
            silent += not np.array_equal(by_itk.transpose(2, 1, 0), a_grey_volume[0])
        except RuntimeError:
            pass
    assert silent > 0  # the trap: ITK reads wrong voxels without a word, as it tests no checksum
    (tmp_path / "a.nrrd").write_bytes(good[:-300])
    assert "damaged" in refused(tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").write_bytes(good[:60])
    assert "truncated" in refused(tmp_path / "a.nrrd")


@pytest.mark.parametrize("named", ["../b.raw", "/etc/hostname", "LIST", "b%02d.raw 1 9 1", "missing.raw"])
def test_an_nrrd_header_may_not_fetch_its_data_from_elsewhere(tmp_path, named, is_clear):
    (tmp_path / "b.raw").write_bytes(bytes(1000))
    (tmp_path / "in").mkdir()
    text = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 10 10 10\nencoding: raw\ndata file: {named}\n"
    (tmp_path / "in" / "a.nhdr").write_text(text)
    with pytest.raises(BadDataError) as error:
        read_image(tmp_path / "in" / "a.nhdr")
    assert is_clear(error.value)


def test_a_file_that_vanishes_after_opening_is_reported_with_its_case(tmp_path, a_grey_volume, a_label_map):
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.nii.gz", a_grey_volume, np.eye(4))
        write_labels(tmp_path / "labels" / f"{name}.nii.gz", a_label_map, np.eye(4))
    dataset = open_dataset(tmp_path)
    (tmp_path / "images" / "b.nii.gz").unlink()
    (tmp_path / "labels" / "a.nii.gz").unlink()
    reports = check_dataset(dataset, dataset.cases, labels_needed=True)
    assert [report.ok for report in reports] == [False, False]
    for report, file in zip(reports, ("labels", "images"), strict=True):
        assert "does not exist" in str(report.errors[0]) and report.errors[0].path.parent.name == file
        assert report.errors[0].case == report.case.name


def test_no_damage_to_a_header_escapes_as_another_error(tmp_path, a_grey_volume, is_clear):
    """Change every header byte in turn: the file is read, or refused in a sentence; nothing else happens."""
    rng = np.random.default_rng(7)
    small = np.ascontiguousarray(a_grey_volume[:, :4, :5, :3])
    write_image(tmp_path / "good.nii", small, np.diag([1, 2, 3, 1.0]))
    write_image(tmp_path / "good.nrrd", small, np.diag([1, 2, 3, 1.0]))
    read = 0
    for suffix in (".nii", ".nrrd"):
        good = (tmp_path / f"good{suffix}").read_bytes()
        end = 352 if suffix == ".nii" else good.index(b"\n\n") + 2
        for place in range(end):
            changed = bytearray(good)
            changed[place] = rng.integers(256)
            (tmp_path / f"bad{suffix}").write_bytes(changed)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    array = read_image(tmp_path / f"bad{suffix}").array
                    assert np.isfinite(array).all() and array.ndim == 4
                    read += 1
                except BadDataError as error:
                    assert is_clear(error)
    assert read > 100  # most bytes of a header do not matter
