"""Volumes are read and written with the right values in the right place; oracles: nibabel, SimpleITK."""

from __future__ import annotations

import errno

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from topomae.data.file_names import image_suffix, is_image_file, stem_of
from topomae.data.grids import onto_grid, ras_axes
from topomae.data.volume import Volume
from topomae.data.volume_io import count_channels, read_image, read_labels, write_image, write_labels
from topomae.errors import BadSettingError, RunError

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def positions_by_nibabel(path, indices):
    """RAS position in mm of voxel indices (N, 3), by nibabel."""
    return nib.affines.apply_affine(nib.load(path).affine, indices)


def positions_by_itk(path, indices):
    """RAS position in mm of voxel indices (N, 3), by SimpleITK, which counts in LPS."""
    image = sitk.ReadImage(str(path))
    return np.array([image.TransformIndexToPhysicalPoint([int(n) for n in index]) for index in indices]) * [
        -1,
        -1,
        1,
    ]


def store_scaling(path, number, at, slope, inter):
    """Write scl_slope and scl_inter into a NIfTI header; nibabel would choose them itself."""
    raw = bytearray(path.read_bytes())
    values = np.array([slope, inter], number).tobytes()
    raw[at : at + len(values)] = values
    path.write_bytes(raw)


def some_voxels(shape):
    return np.array([[0, 0, 0], [shape[0] - 1, 0, 0], [0, shape[1] - 1, 0], [1, 2, shape[2] - 1]])


def affines(oblique):
    """Identity, anisotropic with negative and with positive determinant, axes permuted, oblique."""
    permuted = np.eye(4)[[2, 0, 1, 3]] @ np.diag([2.0, -0.5, 1.5, 1.0])
    return {
        "identity": np.eye(4),
        "left-handed": np.diag([-0.75, 0.5, 5.0, 1.0]),
        "permuted": permuted,
        "oblique": oblique,
    }


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
@pytest.mark.parametrize("which", ["identity", "left-handed", "permuted", "oblique"])
def test_written_volumes_lie_where_they_were_in_other_programs(
    tmp_path, an_oblique_affine, a_grey_volume, a_label_map, suffix, which
):
    affine = affines(an_oblique_affine)[which]
    write_image(tmp_path / f"image{suffix}", a_grey_volume, affine)
    write_labels(tmp_path / f"label{suffix}", a_label_map, affine)
    voxels = some_voxels(a_label_map.shape)
    wanted = nib.affines.apply_affine(affine, voxels)
    for name in ("image", "label"):
        np.testing.assert_allclose(positions_by_itk(tmp_path / f"{name}{suffix}", voxels), wanted, atol=1e-4)
        if suffix != ".nrrd":
            np.testing.assert_allclose(positions_by_nibabel(tmp_path / f"{name}{suffix}", voxels), wanted, atol=1e-4)
    by_itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"image{suffix}"))).transpose(2, 1, 0)
    np.testing.assert_array_equal(by_itk, a_grey_volume[0])
    image, label = read_image(tmp_path / f"image{suffix}"), read_labels(tmp_path / f"label{suffix}")
    np.testing.assert_array_equal(image.array, a_grey_volume)
    np.testing.assert_array_equal(label.array[0], a_label_map)
    assert image.array.dtype == np.float32 and image.array.flags.c_contiguous and label.array.dtype == np.uint8
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)


def test_a_nifti_header_of_ours_states_both_forms_and_millimetres(tmp_path, an_oblique_affine, a_label_map):
    write_labels(tmp_path / "label.nii.gz", a_label_map, an_oblique_affine)
    header = nib.load(tmp_path / "label.nii.gz").header
    assert int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    np.testing.assert_allclose(header.get_zooms(), [0.7, 0.9, 3.0], atol=1e-5)


def test_a_sheared_affine_survives_writing_and_reading(tmp_path, a_grey_volume):
    sheared = np.eye(4)
    sheared[:3, 2] = [0.0, -0.75, 2.5]  # a CT gantry tilted by 17 degrees
    write_image(tmp_path / "tilted.nii.gz", a_grey_volume, sheared)
    np.testing.assert_array_equal(read_image(tmp_path / "tilted.nii.gz").affine, sheared)
    np.testing.assert_array_equal(nib.load(tmp_path / "tilted.nii.gz").affine, sheared)


def test_an_affine_read_and_written_again_is_bit_for_bit_the_same(tmp_path, an_oblique_affine, a_label_map):
    stored = an_oblique_affine.astype(np.float32)  # what a NIfTI header can hold
    write_labels(tmp_path / "a.nii.gz", a_label_map, stored)
    once = read_labels(tmp_path / "a.nii.gz").affine
    write_labels(tmp_path / "b.nii.gz", a_label_map, once)
    np.testing.assert_array_equal(once, stored)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("highest", "expected"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)]
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_labels_take_the_smallest_type_that_holds_them(tmp_path, highest, expected, suffix):
    labels = np.zeros((4, 5, 6), np.int64)
    labels[1, 2, 3] = highest
    write_labels(tmp_path / f"a{suffix}", labels, np.eye(4))
    back = read_labels(tmp_path / f"a{suffix}")
    stored = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    assert back.array.dtype == expected
    assert sitk.GetArrayViewFromImage(stored).dtype == expected and stored[1, 2, 3] == highest
    np.testing.assert_array_equal(back.array[0], labels)


def test_label_maps_stored_as_floats_or_scaled_integers_are_whole_numbers_again(tmp_path):
    values = np.array([0, 1, 2, 300], np.float64).repeat(6).reshape(4, 3, 2)
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), tmp_path / "float.nii.gz")
    codes = (values * 10).astype(np.int16)
    nib.save(nib.Nifti1Image(codes, np.eye(4)), tmp_path / "scaled.nii")
    store_scaling(tmp_path / "scaled.nii", "<f4", 112, 0.1, 0)
    for name in ("float.nii.gz", "scaled.nii"):
        label = read_labels(tmp_path / name)
        assert label.array.dtype == np.uint16
        np.testing.assert_array_equal(label.array[0], values)


def test_writing_refuses_what_is_no_label_map(tmp_path):
    half, negative, nothing = (np.full((3, 3, 3), value) for value in (0.5, -1, np.nan))
    for bad in (half, negative, nothing, np.zeros((2, 3, 3, 3), int)):
        with pytest.raises(ValueError):
            write_labels(tmp_path / "a.nii.gz", bad, np.eye(4))
    with pytest.raises(BadSettingError, match=r"\.nii\.gz"):
        write_labels(tmp_path / "a.png", np.zeros((3, 3, 3), np.uint8), np.eye(4))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, a_label_map):
    target = tmp_path / "a.nii.gz"
    write_labels(target, a_label_map, np.eye(4))
    before = target.read_bytes()

    def full_disk(self, path):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", full_disk)
    with pytest.raises(RunError, match="No space left"):
        write_labels(target, a_label_map * 2, np.eye(4))
    assert target.read_bytes() == before and list(tmp_path.iterdir()) == [target]


def test_channels_are_the_fourth_axis_and_axes_of_length_one_do_not_count(tmp_path):
    data = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5, 2)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "four.nii.gz")
    nib.save(nib.Nifti1Image(data[..., 0, None, None], np.eye(4)), tmp_path / "trailing.nii.gz")
    vector = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0, 3)), isVector=True)
    sitk.WriteImage(vector, str(tmp_path / "five.nii.gz"))  # ITK stores (I, J, K, 1, C)
    sitk.WriteImage(vector, str(tmp_path / "vector.nrrd"))
    write_image(tmp_path / "ours.nrrd", np.moveaxis(data, 3, 0), np.eye(4))
    write_image(tmp_path / "ours.nii", np.moveaxis(data, 3, 0), np.eye(4))
    for name in ("four.nii.gz", "five.nii.gz", "vector.nrrd", "ours.nrrd", "ours.nii"):
        volume = read_image(tmp_path / name)
        assert volume.array.shape == (2, 3, 4, 5), name
        np.testing.assert_array_equal(volume.array, np.moveaxis(data, 3, 0))
        assert count_channels(tmp_path / name) == 2
    np.testing.assert_array_equal(read_image(tmp_path / "trailing.nii.gz").array[0], data[..., 0])
    assert count_channels(tmp_path / "trailing.nii.gz") == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_every_number_type_and_byte_order_is_read_with_its_scaling(tmp_path, dtype, order, kind):
    stored = np.arange(60).reshape(3, 4, 5).astype(dtype)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    image = kind(stored, np.diag([2, 2, 2, 1.0]), header)
    image.to_filename(tmp_path / "a.nii")
    number, at = ("f4", 112) if kind is nib.Nifti1Image else ("f8", 176)
    store_scaling(tmp_path / "a.nii", order + number, at, 0.25, -7)
    array = read_image(tmp_path / "a.nii").array[0]
    np.testing.assert_array_equal(array, nib.load(tmp_path / "a.nii").get_fdata())
    np.testing.assert_array_equal(array, stored * 0.25 - 7.0)


def test_real_scaled_volumes_match_nibabel_and_simpleitk(left_atrium_dataset, ms_lesions_dataset):
    path = left_atrium_dataset.cases[0].images[0]
    image = nib.load(path)
    assert image.dataobj.slope != 1  # the trap: these files store 8-bit codes
    np.testing.assert_allclose(read_image(path).array[0], image.get_fdata(), atol=1e-6)
    path = ms_lesions_dataset.cases[0].images[0]
    volume = read_image(path)
    by_itk = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))  # (C, K, J, I)
    np.testing.assert_allclose(volume.array, by_itk.transpose(0, 3, 2, 1), atol=1e-4)


def test_units_of_length_are_converted_to_millimetres_as_simpleitk_does(tmp_path):
    for unit in ("meter", "micron", "mm", "unknown"):
        image = nib.Nifti1Image(np.ones((3, 4, 5), np.float32), np.diag([0.5, 2, 3, 1.0]))
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "a.nii")
        by_itk = sitk.ReadImage(str(tmp_path / "a.nii")).GetSpacing()
        np.testing.assert_allclose(read_image(tmp_path / "a.nii").spacing, by_itk, rtol=1e-6)


def test_a_header_without_orientation_is_placed_as_3d_slicer_does_with_a_note(tmp_path):
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.float32), None)
    image.header.set_zooms((1, 2, 3))
    nib.save(image, tmp_path / "a.nii")
    problems = []
    volume = read_image(tmp_path / "a.nii", problems=problems)
    voxels = some_voxels(volume.shape)
    np.testing.assert_allclose(
        nib.affines.apply_affine(volume.affine, voxels), positions_by_itk(tmp_path / "a.nii", voxels)
    )
    assert len(problems) == 1 and "no orientation" in problems[0] and "a.nii" in problems[0]


def test_numbers_that_are_not_finite_are_replaced_and_counted(tmp_path):
    data = np.arange(60, dtype=np.float32).reshape(3, 4, 5) + 10
    data[0, 0, :3], data[1, 1, 1], data[2, 2, 2] = np.nan, np.inf, -np.inf
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    problems = []
    array = read_image(tmp_path / "a.nii.gz", problems=problems).array[0]
    finite = np.isfinite(data)
    np.testing.assert_array_equal(array[finite], data[finite])
    assert (array[0, 0, :3] == 13).all() and array[1, 1, 1] == 69 and array[2, 2, 2] == 13
    assert len(problems) == 1 and "3 NaN and 2 infinite" in problems[0]


@pytest.mark.parametrize(
    ("space", "flips"), [("left-posterior-superior", (-1, -1, 1)), ("right-anterior-superior", (1, 1, 1))]
)
@pytest.mark.parametrize("list_first", [True, False])
def test_nrrd_spaces_and_lists_written_by_hand_are_understood(tmp_path, space, flips, list_first):
    values = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)  # (C, I, J, K)
    sizes, kinds, none = "3 4 5", "domain domain domain", "(0,2,0) (0.5,0,0) (0,0,3)"
    stored = values.transpose(3, 2, 1, 0) if list_first else values.transpose(0, 3, 2, 1)
    header = (
        f"NRRD0004\ntype: short\ndimension: 4\nspace: {space}\n"
        f"sizes: {'2 ' + sizes if list_first else sizes + ' 2'}\n"
        f"space directions: {'none ' + none if list_first else none + ' none'}\n"
        f"kinds: {'list ' + kinds if list_first else kinds + ' list'}\n"
        "endian: little\nencoding: raw\nspace origin: (1,2,3)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + np.ascontiguousarray(stored).tobytes())
    volume = read_image(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.array, values)
    stated = np.array([[0, 0.5, 0, 1], [2, 0, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, np.diag([*flips, 1]) @ stated)
    assert count_channels(tmp_path / "a.nrrd") == 2


def test_an_nrrd_header_finds_the_data_file_beside_it(tmp_path, a_grey_volume, an_oblique_affine):
    write_image(tmp_path / "a.nrrd", a_grey_volume, an_oblique_affine)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.nrrd")), str(tmp_path / "b.nhdr"), True)
    assert {p.name for p in tmp_path.iterdir()} == {"a.nrrd", "b.nhdr", "b.raw.gz"}
    volume = read_image(tmp_path / "b.nhdr")
    np.testing.assert_array_equal(volume.array, a_grey_volume)
    np.testing.assert_allclose(volume.affine, an_oblique_affine, atol=1e-6)


def test_names_with_spaces_dots_and_other_scripts_work(tmp_path, a_grey_volume, a_label_map):
    folder = tmp_path / "Größe 1.5 T – 日本"
    for suffix in (".nii.gz", ".nii", ".nrrd"):
        write_image(folder / f"Müller Ünal v1.2{suffix}", a_grey_volume, np.eye(4))
        write_labels(folder / f"étiquette 心{suffix}", a_label_map, np.eye(4))
        np.testing.assert_array_equal(read_image(folder / f"Müller Ünal v1.2{suffix}").array, a_grey_volume)
        np.testing.assert_array_equal(read_labels(folder / f"étiquette 心{suffix}").array[0], a_label_map)


def test_file_names_are_taken_apart():
    assert [image_suffix(n) for n in ("a.nii.gz", "A.NII.GZ", "a.b.nii", "a.seg.nrrd", "a.nhdr")] == [
        ".nii.gz",
        ".nii.gz",
        ".nii",
        ".seg.nrrd",
        ".nhdr",
    ]
    assert [stem_of(n) for n in ("x/a.nii.gz", "A.NII.GZ", "a.b.nii", "a.seg.nrrd")] == ["a", "A", "a.b", "a"]
    assert stem_of("u\u0308.nii.gz") == "\u00fc"  # macOS hands out decomposed names
    for name in ("a.gz", "a.png", "a", ".nii.gz", "._a.nii.gz", ".DS_Store"):
        assert not is_image_file(name)


def test_a_reordered_volume_matches_nibabel_and_keeps_every_voxel_in_place(a_grey_volume, an_oblique_affine):
    target = Volume(a_grey_volume, an_oblique_affine)
    image = nib.Nifti1Image(a_grey_volume[0], an_oblique_affine)
    for codes in ("RAS", "LPS", "SPL", "AIR", "IRP"):
        orientation = nib.orientations.ornt_transform(
            nib.io_orientation(an_oblique_affine), nib.orientations.axcodes2ornt(codes)
        )
        other = image.as_reoriented(orientation)
        source = Volume(np.asarray(other.dataobj)[None], other.affine)
        back = onto_grid(source, target)
        np.testing.assert_array_equal(back.array, target.array)
        names = nib.aff2axcodes(other.affine)
        towards = [names[axis] for axis in ras_axes(other.affine)]
        assert all(name in pair for name, pair in zip(towards, ("LR", "PA", "IS"), strict=True))


def test_grids_that_differ_by_more_than_rounding_are_not_the_same(a_grey_volume, an_oblique_affine):
    target = Volume(a_grey_volume, an_oblique_affine)
    rounded = an_oblique_affine.astype(np.float32).astype(float)
    assert onto_grid(Volume(a_grey_volume, rounded), target) is not None
    for change in ([0.35, 0, 0], [0, 0, 3.0]):  # half a voxel, and a whole one
        moved = an_oblique_affine.copy()
        moved[:3, 3] += change
        assert onto_grid(Volume(a_grey_volume, moved), target) is None
    stretched = an_oblique_affine.copy()
    stretched[:3, 1] *= 1.02  # a quarter of a voxel at the far end
    assert onto_grid(Volume(a_grey_volume, stretched), target) is None
    assert onto_grid(Volume(a_grey_volume[:, :-1], an_oblique_affine), target) is None
