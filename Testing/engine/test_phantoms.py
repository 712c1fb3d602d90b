"""Phantom data sets: exact labels of known topology, few of them, and images worth learning from."""

from __future__ import annotations

import json

import gudhi
import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from topomae.data.dataset import open_dataset
from topomae.data.phantom_shapes import ORGANS
from topomae.data.phantoms import draw_phantom, make_phantoms
from topomae.data.splits import split_dataset
from topomae.data.volume_io import read_image, read_labels
from topomae.errors import BadDataError, BadSettingError

SHAPE, SPACING = (48, 48, 32), (1.6, 1.6, 2.4)


def make_small_set(folder, **changes):
    return make_phantoms(folder, **{"cases": 8, "labelled": 2, "seed": 3, **changes})


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory):
    return make_small_set(tmp_path_factory.mktemp("phantoms") / "set")


@pytest.fixture(scope="module")
def a_dataset(a_folder):
    return open_dataset(a_folder)


@pytest.fixture(scope="module")
def many_phantoms():
    return [draw_phantom(seed=11, index=i, shape=SHAPE, spacing=SPACING) for i in range(16)]


def betti_by_gudhi(mask: np.ndarray, *, corners_connect: bool) -> tuple[int, int, int]:
    """Betti numbers of the closed voxels of a mask (or of the voxel centres), from persistent homology."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    values = np.pad(np.where(mask[box], 0.0, 1.0), 1, constant_values=1.0)
    kind = "top_dimensional_cells" if corners_connect else "vertices"
    complex_ = gudhi.CubicalComplex(**{kind: values})
    complex_.compute_persistence()
    return tuple(complex_.persistent_betti_numbers(0.0, 0.5)[:3])


def test_the_oracle_knows_a_hollow_box_with_a_tunnel_through_its_wall_from_one_without():
    box = np.zeros((9, 9, 9), bool)
    box[1:8, 1:8, 1:8] = True
    box[3:6, 3:6, 3:6] = False
    assert betti_by_gudhi(box, corners_connect=True) == (1, 0, 1)
    box[4, 4, :] = False
    assert betti_by_gudhi(box, corners_connect=False) == (1, 1, 0)


@pytest.mark.parametrize("corners_connect", [True, False])
def test_every_organ_of_every_phantom_has_its_betti_numbers(many_phantoms, corners_connect):
    for phantom in many_phantoms:
        found = [betti_by_gudhi(phantom.labels == v, corners_connect=corners_connect) for v in (1, 2, 3, 4)]
        assert found == [(1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 0, 0)]


def test_label_maps_on_disk_have_the_betti_numbers_that_dataset_json_promises(a_folder, a_dataset):
    promised = json.loads((a_folder / "dataset.json").read_text(encoding="utf-8"))["betti"]
    assert a_dataset.labelled
    for case in a_dataset.labelled:
        labels = read_labels(case.label).array[0]
        for value, betti in promised.items():
            assert betti_by_gudhi(labels == int(value), corners_connect=True) == tuple(betti)


def test_organs_lie_apart_and_inside_the_field_of_view(many_phantoms):
    for phantom in many_phantoms:
        labels = np.pad(phantom.labels, 1)
        assert sorted(np.unique(phantom.labels)) == [0, 1, 2, 3, 4]
        core = labels[1:-1, 1:-1, 1:-1]
        for shift in np.ndindex(3, 3, 3):
            moved = labels[tuple(slice(s, s + n) for s, n in zip(shift, core.shape, strict=True))]
            assert not np.any((core > 0) & (moved > 0) & (core != moved)), "two organs touch"
        for axis in range(3):
            assert not np.take(phantom.labels, [0, -1], axis=axis).any(), "an organ is cut off"


def test_most_training_images_have_no_label_and_all_others_do(a_dataset):
    split = split_dataset(a_dataset)
    assert (len(split.train), len(split.val), len(split.test)) == (5, 1, 2)
    labelled = {case.name for case in a_dataset.labelled}
    assert len(labelled & set(split.train)) == 2
    assert set(split.val) | set(split.test) <= labelled
    assert a_dataset.labels == {n: organ.name for n, organ in enumerate(ORGANS, start=1)}


def test_nothing_tells_unlabelled_cases_apart_but_the_missing_file(a_folder):
    images = {file.name for file in (a_folder / "imagesTr").iterdir()}
    labels = {file.name for file in (a_folder / "labelsTr").iterdir()}
    assert len(images) == 8 and len(labels) == 5 and labels < images


def test_cases_differ_in_shape_spacing_orientation_and_intensity(many_phantoms):
    affines = [phantom.affine for phantom in many_phantoms]
    spacings = np.array([sorted(nib.affines.voxel_sizes(affine)) for affine in affines])
    assert len({phantom.labels.shape for phantom in many_phantoms}) > 8
    assert {"".join(nib.aff2axcodes(affine)) for affine in affines} == {"RAS", "LPS", "LAS", "SPL"}
    assert np.all(spacings[:, 2] > 1.2 * spacings[:, 1]), "voxels are longest along the body"
    assert np.all(spacings.std(axis=0) > 0.01 * spacings.mean(axis=0))
    assert all(nib.affines.obliquity(affine).max() > 0.01 for affine in affines)
    brightest = [np.percentile(phantom.image, 99) for phantom in many_phantoms]
    assert max(brightest) > 4 * min(brightest)


def test_labels_lie_where_the_image_shows_the_organs(many_phantoms):
    """Each organ is brighter (the ring: darker) than what lies two to four voxels around it."""
    contrast = {1: (1.2, np.inf), 2: (1.3, np.inf), 3: (0.0, 0.8), 4: (1.4, np.inf)}
    for phantom in many_phantoms:
        for value, (low, high) in contrast.items():
            organ = phantom.labels == value
            near = ndimage.binary_dilation(organ, iterations=2)
            around = ndimage.binary_dilation(near, iterations=2) & ~near & (phantom.labels == 0)
            ratio = phantom.image[organ].mean() / phantom.image[around].mean()
            assert low < ratio < high


def test_equal_seeds_give_equal_files_and_other_seeds_others(a_folder, tmp_path):
    again = make_small_set(tmp_path / "again")
    other = make_small_set(tmp_path / "other", cases=3, labelled=1, seed=4)
    files = sorted(file.relative_to(a_folder) for file in a_folder.rglob("*") if file.is_file())
    assert len(files) == 8 + 5 + 2
    assert all((a_folder / file).read_bytes() == (again / file).read_bytes() for file in files)
    first = "imagesTr/phantom_001.nii.gz"
    assert (a_folder / first).read_bytes() != (other / first).read_bytes()


def test_numbers_are_the_same_on_every_machine():
    """The generator's stream is fixed by NumPy; this pins how it is used."""
    phantom = draw_phantom(seed=0, index=0, shape=SHAPE, spacing=SPACING)
    assert phantom.labels.shape == (48, 51, 32)
    counts = np.bincount(phantom.labels.ravel())[1:]
    np.testing.assert_allclose(counts, [891, 1284, 472, 456], atol=2)
    np.testing.assert_allclose(phantom.image.mean(), 150.579, rtol=1e-3)


def test_a_finished_folder_is_left_alone_and_an_interrupted_one_completed(tmp_path):
    folder = make_small_set(tmp_path / "set", cases=4, labelled=1)
    image = folder / "imagesTr" / "phantom_002.nii.gz"
    before = image.read_bytes()
    written = image.stat().st_mtime_ns
    make_small_set(folder, cases=4, labelled=1)
    assert image.stat().st_mtime_ns == written
    (folder / "dataset.json").unlink()
    image.write_bytes(before[:100])
    make_small_set(folder, cases=4, labelled=1)
    assert image.read_bytes() == before
    assert len(open_dataset(folder).cases) == 4


def test_a_folder_with_another_data_set_is_refused_untouched(tmp_path):
    (tmp_path / "dataset.json").write_text('{"name": "Mine"}', encoding="utf-8")
    with pytest.raises(BadDataError, match="another data set") as refusal:
        make_small_set(tmp_path)
    assert refusal.value.path == tmp_path
    assert [file.name for file in tmp_path.iterdir()] == ["dataset.json"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cases": 2, "labelled": 1}, "at least 3 cases"),
        ({"labelled": 6}, "there are 5 training cases"),
        ({"labelled": 0}, "0 labelled training cases"),
        ({"shape": (12, 12, 6)}, "12 x 12 x 6 voxels .* too coarse"),
        ({"spacing": (1.0, 1.0, 0.0)}, "spacing"),
        ({"shape": (0, 48, 48)}, "shape"),
    ],
)
def test_impossible_phantoms_are_refused_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(BadSettingError, match=words):
        make_small_set(tmp_path / "set", **changes)
    assert not (tmp_path / "set").exists()


def test_other_shapes_and_voxel_sizes_show_the_same_topology():
    for shape, spacing in [((64, 64, 64), (1.0, 1.0, 1.0)), ((72, 60, 30), (0.5, 0.6, 1.2))]:
        phantom = draw_phantom(seed=0, index=1, shape=shape, spacing=spacing)
        for value, organ in enumerate(ORGANS, start=1):
            assert betti_by_gudhi(phantom.labels == value, corners_connect=True) == organ.betti


def test_images_are_read_back_as_drawn(a_dataset):
    case = a_dataset.labelled[0]
    problems: list[str] = []
    image, labels = read_image(case.images[0], problems=problems), read_labels(case.label, problems=problems)
    index = int(case.name[-3:]) - 1
    drawn = draw_phantom(seed=3, index=index, shape=SHAPE, spacing=SPACING)
    assert problems == []
    np.testing.assert_array_equal(image.array[0], drawn.image)
    np.testing.assert_array_equal(labels.array[0], drawn.labels)
    np.testing.assert_allclose(image.affine, drawn.affine, atol=1e-4)
