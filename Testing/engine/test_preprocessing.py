"""To the preprocessed grid and back: positions, labels and intensities keep their meaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plans import a_plan
from scipy import ndimage
from skimage.transform import resize

from topomae.data import resampling
from topomae.data.case_loading import load_case
from topomae.data.checks import check_dataset
from topomae.data.geometry import Geometry
from topomae.data.plan import Normalization
from topomae.data.planning import make_plan
from topomae.data.preprocessing import preprocess, restore_labels, restore_scores
from topomae.data.volume import Volume
from topomae.errors import BadDataError


def a_placement(random: np.random.Generator, spacing) -> np.ndarray:
    """Affine of a scan placed at random: any axis order and direction, oblique by up to 25°, any offset."""
    axes = np.eye(3)[:, random.permutation(3)] * random.choice([-1, 1], 3)
    tilt, _ = np.linalg.qr(np.eye(3) + random.uniform(-0.2, 0.2, (3, 3)))
    tilt *= np.sign(np.diag(tilt))
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes @ np.diag(spacing)
    affine[:3, 3] = random.uniform(-200, 200, 3)
    return affine


def ras_spacing(affine):
    volume = Volume(np.zeros((1, 2, 2, 2), np.float32), affine)
    return Geometry.of(volume).ras_spacing


def positions(shape, affine):
    """RAS mm of every voxel centre, (I, J, K, 3)."""
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def organs(shape, affine):
    """Label map in patient space: a ball (1) beside a ring (2), the same whatever the voxels."""
    x, y, z = np.moveaxis(positions(shape, affine) - centre_of(shape, affine), -1, 0)
    label = np.zeros(shape, np.uint8)
    label[(x + 9) ** 2 + y**2 + z**2 < 8**2] = 1
    label[(np.hypot(x - 8, y) - 7) ** 2 + z**2 < 4**2] = 2
    return label


def centre_of(shape, affine):
    return affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]


def one_hot(label, classes):
    return (label[None] == np.arange(classes)[:, None, None, None]).astype(np.float32)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_thick_axis_is_interpolated_linearly_and_the_others_cubically():
    image = np.random.default_rng(0).normal(size=(1, 12, 12, 6)).astype(np.float32)
    volume = Volume(image, np.diag([1.0, 1, 5, 1]))
    upsampled = preprocess(volume, None, a_plan(spacing=(1, 0.75, 2.5))).image[0]
    cubic = resize(image[0], (12, 16, 6), order=3, mode="edge", clip=False)
    expected = resize(cubic, (12, 16, 12), order=1, mode="edge", clip=False).clip(image.min(), image.max())
    slope, offset = np.polyfit(expected.ravel(), upsampled.ravel(), 1)
    np.testing.assert_allclose(upsampled, expected * slope + offset, atol=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_labels_return_exactly_whatever_the_orientation(seed):
    random = np.random.default_rng(seed)
    affine = a_placement(random, random.uniform(0.5, 3, 3))
    shape = tuple(random.integers(9, 20, 3))
    label = random.integers(0, 3, shape).astype(np.uint8)
    image = random.normal(size=(1, *shape)).astype(np.float32)
    image[:, :2], label[:2] = -7, 0  # a constant border on one side, which is cut and comes back
    image[:, :, 0], image[..., -1], label[:, 0], label[..., -1] = -7, -7, 0, 0
    made = preprocess(Volume(image, affine), Volume(label[None], affine), a_plan(ras_spacing(affine)))
    assert made.image[0].size == (shape[0] - 2) * (shape[1] - 1) * (shape[2] - 1)
    restored = restore_labels(one_hot(made.label, 3), made.geometry, (0, 1, 2))
    np.testing.assert_array_equal(restored, label)
    np.testing.assert_array_equal(made.geometry.affine, affine)
    probability = restore_scores(one_hot(made.label, 3)[2], made.geometry)
    np.testing.assert_array_equal(probability, label == 2)


@pytest.mark.parametrize("seed", range(6))
def test_labels_return_nearly_whole_from_another_spacing(seed):
    random = np.random.default_rng(seed)
    spacing = random.permutation([0.8, 1.1, 3.0])
    affine = a_placement(random, spacing)
    shape = tuple(np.round(48 / spacing).astype(int))
    label = organs(shape, affine)
    image = (label + random.normal(size=shape) * 0.1)[None].astype(np.float32)
    plan = a_plan(random.uniform(0.7, 1.3, 3))
    made = preprocess(Volume(image, affine), Volume(label[None], affine), plan)
    restored = restore_labels(one_hot(made.label, 3), made.geometry, (0, 1, 2))
    assert restored.shape == shape
    assert all(dice(restored == c, label == c) > 0.95 for c in (1, 2))
    drawn = organs(made.label.shape, made.affine)  # the phantom drawn on the preprocessed grid itself
    assert all(dice(made.label == c, drawn == c) > 0.85 for c in (1, 2))


@pytest.mark.parametrize("seed", range(6))
def test_intensities_stay_at_their_position_in_the_patient(seed):
    random = np.random.default_rng(seed)
    spacing = random.permutation([0.8, 1.0, 2.0])
    affine = a_placement(random, spacing)
    waves = random.normal(size=(3, 3)) / 12

    def brightness(shape, affine):
        return np.sin(positions(shape, affine) @ waves.T).sum(axis=-1)

    shape = (26, 28, 24)
    image = brightness(shape, affine)[None].astype(np.float32)
    image[:, :4], image[:, :, -2:], image[..., :1] = -9, -9, -9  # a border, which is cut off
    made = preprocess(Volume(image, affine), None, a_plan((1.1, 0.9, 1.3)))
    expected = brightness(made.image.shape[1:], made.affine)
    inside = tuple(slice(3, -3) for _ in range(3))
    slope, offset = np.polyfit(made.image[0][inside].ravel(), expected[inside].ravel(), 1)
    np.testing.assert_allclose(made.image[0][inside] * slope + offset, expected[inside], atol=0.04)
    corners = np.array([[-0.5] * 3, [n - 0.5 for n in made.image.shape[1:]]])
    outer = np.array(made.geometry.box).T - 0.5
    np.testing.assert_allclose(  # the outer edges of what was kept have not moved
        corners @ made.affine[:3, :3].T + made.affine[:3, 3],
        outer @ made.geometry.ras_affine[:3, :3].T + made.geometry.ras_affine[:3, 3],
        atol=1e-9,
    )


def test_axes_are_right_anterior_superior():
    random = np.random.default_rng(3)
    image = random.normal(size=(1, 8, 9, 10)).astype(np.float32)
    affine = np.array([[0, -2.0, 0, 9], [0, 0, 3.0, 5], [-1.0, 0, 0, 7], [0, 0, 0, 1]])  # axes are I, L, A
    made = preprocess(Volume(image, affine), None, a_plan((2, 3, 1)))
    assert made.image.shape == (1, 9, 10, 8)
    np.testing.assert_allclose(made.affine[:3, :3], np.diag([2, 3, 1]))
    flipped = image[0].transpose(1, 2, 0)[::-1, :, ::-1]
    np.testing.assert_allclose(np.corrcoef(flipped.ravel(), made.image.ravel())[0, 1], 1, atol=1e-6)


@pytest.mark.parametrize("noise", [-1e-9, 0.0, 1e-9])
def test_noise_in_an_affine_does_not_change_the_grid(noise):
    affine = np.diag([0.9 + noise, 0.9 - noise, 0.9, 1.0])  # 35 voxels are 31.5 mm: exactly between two grids
    image = Volume(np.random.default_rng(0).random((1, 35, 35, 35), np.float32), affine)
    assert preprocess(image, None, a_plan(spacing=(1.0, 1.0, 1.0))).image.shape == (1, 32, 32, 32)


def test_scores_are_taken_slab_by_slab_and_class_by_class(monkeypatch):
    shape, native, classes = (30, 20, 12), (41, 27, 13), 5
    random = np.random.default_rng(0)
    scores = ndimage.gaussian_filter(random.normal(size=(classes, *shape)), (0, 2, 2, 2)).astype(np.float32)
    affine = np.diag([-1.0, 1, 1, 1])
    geometry = Geometry(native, affine, ((0, -1), (1, 1), (2, 1)), tuple((0, n) for n in native), shape)
    full = F.interpolate(torch.from_numpy(scores)[None], size=native, mode="trilinear")[0]
    expected = full.argmax(0).numpy()[::-1]

    class Watched:
        def __init__(self, array):
            self.array, self.shape, self.largest = array, array.shape, 0

        def __getitem__(self, index):
            part = self.array[index]
            self.largest = max(self.largest, part.size)
            return part

    watched = Watched(scores)
    monkeypatch.setattr(resampling, "SLAB_VOXELS", 4 * 27 * 20)
    values = (0, 3, 4, 7, 300)
    restored = restore_labels(watched, geometry, values)
    np.testing.assert_array_equal(restored, np.array(values)[expected])
    assert restored.dtype == np.uint16
    assert watched.largest <= 7 * 20 * 12  # of 30 planes
    for tensor in (torch.from_numpy(scores), torch.from_numpy(scores).to(torch.float64)):
        np.testing.assert_array_equal(restore_labels(tensor, geometry, values), restored)


def test_of_equal_scores_the_lowest_class_wins():
    volume = Volume(np.random.default_rng(0).normal(size=(1, 6, 7, 8)).astype(np.float32), np.eye(4))
    geometry = preprocess(volume, None, a_plan((1.5, 1, 1))).geometry
    scores = np.ones((4, *geometry.preprocessed_shape), np.float16)
    scores[0] = 0
    assert (restore_labels(scores, geometry, (0, 5, 6, 7)) == 5).all()


def test_scores_of_another_grid_are_a_programming_error():
    volume = Volume(np.random.default_rng(0).normal(size=(1, 6, 7, 8)).astype(np.float32), np.eye(4))
    geometry = preprocess(volume, None, a_plan()).geometry
    with pytest.raises(ValueError, match="shape"):
        restore_labels(np.zeros((3, 6, 8, 7)), geometry, (0, 1, 2))


def test_what_surrounds_the_brain_is_cut_and_its_value_does_not_matter():
    random = np.random.default_rng(5)
    brain = ndimage.gaussian_filter(random.normal(size=(20, 20, 20)), 1.5)
    ball = sum((np.indices(brain.shape)[a] - 9.5) ** 2 for a in range(3)) < 64
    one, other = (np.where(ball, brain, value).astype(np.float32)[None] for value in (-2.7, -6.2))
    first, second = (preprocess(Volume(image, np.eye(4)), None, a_plan()) for image in (one, other))
    assert first.image.shape == (1, 16, 16, 16)
    np.testing.assert_array_equal(first.image, second.image)
    inside = first.image[0][ball[2:18, 2:18, 2:18]]
    assert abs(inside.mean()) < 0.05
    assert 0.9 < inside.std() < 1.1
    assert first.image.min() >= inside.min() - 1e-6


def test_a_volume_is_only_cut_where_every_modality_is_constant():
    random = np.random.default_rng(5)
    image = np.full((2, 16, 16, 16), -1000, np.float32)
    image[1] = 3.25
    image[0, 4:12, 4:12, 4:12] = random.normal(size=(8, 8, 8))
    image[1, 6:14, 4:12, 4:12] = random.normal(size=(8, 8, 8))
    made = preprocess(Volume(image, np.eye(4)), None, a_plan(channels=2))
    assert made.geometry.box == ((4, 14), (4, 12), (4, 12))
    noise = random.normal(size=(1, 16, 16, 16)).astype(np.float32)
    assert preprocess(Volume(noise, np.eye(4)), None, a_plan()).geometry.box == ((0, 16),) * 3


def test_robust_normalization_forgets_the_scanners_scale_and_clips_nothing():
    image = np.random.default_rng(2).gamma(3, size=(1, 15, 16, 17)).astype(np.float32)
    bright = image.copy()
    bright[0, 3, 3, 3] = 1e5
    normal, scaled, outlier = (
        preprocess(Volume(i, np.eye(4)), None, a_plan()).image for i in (image, image * 700 + 3e4, bright)
    )
    np.testing.assert_allclose(normal, scaled, atol=1e-3)
    assert len(np.unique(normal)) == len(np.unique(image))  # clipping would make values equal
    others = np.arange(image.size) != outlier.argmax()
    np.testing.assert_allclose(outlier.ravel()[others], normal.ravel()[others], atol=0.05)
    assert outlier.max() == 10
    low, high = np.percentile(image, (0.5, 99.5))
    core = image[(image >= low) & (image <= high)]
    np.testing.assert_allclose(normal, (image - core.mean()) / core.std(), atol=1e-5)


def test_ct_is_clipped_to_the_window_and_scaled_alike_in_every_case():
    window = Normalization(kind="ct", lower=-100, upper=300, mean=50, sd=80)
    image = np.linspace(-1000, 1000, 4 * 5 * 6, dtype=np.float32).reshape(1, 4, 5, 6)
    made = preprocess(Volume(image, np.eye(4)), None, a_plan(kind=window))
    np.testing.assert_allclose(made.image, (np.clip(image, -100, 300) - 50) / 80, rtol=1e-6)


@pytest.mark.parametrize("image", ["mask", "one bright voxel", "blank second modality"])
def test_images_of_few_values_give_finite_intensities_that_keep_them_apart(image):
    array = np.zeros((1, 10, 10, 10), np.float32)
    if image == "mask":
        array[0, 3:7, 3:7, 3:7] = 1
    else:
        array[0, 5, 5, 5] = 40
        array[0, 5, 5, 6] = 20
    if image == "blank second modality":
        array = np.concatenate([array, np.zeros_like(array)])
    made = preprocess(Volume(array, np.eye(4)), None, a_plan(channels=len(array)))
    assert np.isfinite(made.image).all()
    cut = made.geometry.cut(made.geometry.to_ras(array))
    assert len(np.unique(made.image[0])) == len(np.unique(cut[0]))
    assert len(array) == 1 or not made.image[1].any()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda i, m: (replace(i, array=np.full_like(i.array, 7)), m), "constant: every voxel is 7"),
        (lambda i, m: (replace(i, array=i.array * np.nan), m), "NaN"),
        (lambda i, m: (replace(i, array=np.repeat(i.array, 2, axis=0)), m), "2 channels, the plan 1"),
        (lambda i, m: (replace(i, affine=np.diag([1.0, 0, 1, 1])), m), "affine"),
        (lambda i, m: (i, replace(m, array=np.where(m.array == 2, 255, m.array))), "holds 255"),
        (lambda i, m: (i, replace(m, affine=np.diag([1.0, 2, 1, 1]))), "different grids"),
    ],
)
def test_a_case_that_does_not_fit_the_plan_is_refused(change, sentence, a_grey_volume, a_label_map):
    image, label = change(Volume(a_grey_volume, np.eye(4)), Volume(a_label_map[None], np.eye(4)))
    with pytest.raises(BadDataError, match=sentence):
        preprocess(image, label, a_plan())


def test_label_values_become_indices_in_the_plans_order_and_return(a_grey_volume, a_label_map):
    values = np.array([0, 7, 200], np.uint8)
    label = Volume(values[a_label_map][None], np.diag([1.0, 1, 1.4, 1]))
    for spacing in ((1, 1, 1.4), (1, 1, 0.7)):
        plan = a_plan(spacing, labels=(3, 7, 200))
        made = preprocess(Volume(a_grey_volume, label.affine), label, plan)
        assert made.label.dtype == np.uint8
        assert set(np.unique(made.label)) == {0, 2, 3}
        restored = restore_labels(one_hot(made.label, 4), made.geometry, plan.class_values)
        np.testing.assert_array_equal(restored, label.array[0])
        assert restored.dtype == np.uint8


def test_foreground_positions_lie_in_their_class_and_every_voxel_has_a_chance():
    label = np.zeros((1, 30, 30, 30), np.uint8)
    label[0, 2:22, 2:22, 2:22] = 1
    label[0, 25:27, 25:27, 25:27] = 2
    image = np.random.default_rng(0).normal(size=label.shape).astype(np.float32)
    made, again = (preprocess(Volume(image, np.eye(4)), Volume(label, np.eye(4)), a_plan()) for _ in range(2))
    assert {c: len(p) for c, p in made.foreground.items()} == {1: 1000, 2: 8}
    for c, where in made.foreground.items():
        assert (made.label[tuple(where.T)] == c).all()
        assert len(np.unique(where, axis=0)) == len(where)
        np.testing.assert_array_equal(where, again.foreground[c])
    np.testing.assert_allclose(made.foreground[1].mean(axis=0), 11.5, atol=0.7)


def cropped(image: Volume, label: Volume, start, size) -> tuple[Volume, Volume]:
    """A part of a case, in its place: enough to test geometry, and quick."""
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    part = (slice(None), *(slice(a, a + n) for a, n in zip(start, size, strict=True)))
    return replace(image, array=image.array[part], affine=affine), replace(
        label, array=label.array[part], affine=affine
    )


@pytest.mark.parametrize(
    ("fixture", "case", "start", "size", "spacing", "least"),
    [
        ("hippocampus_dataset", 5, None, None, None, 1.0),
        ("hippocampus_dataset", 5, None, None, (0.8, 1.3, 1.1), 0.93),
        ("left_atrium_dataset", 0, (40, 30, 10), (90, 80, 60), (0.8, 0.8, 0.8), 0.97),
        ("ct_dataset", 0, (20, 20, 0), (120, 120, 26), (1.0, 1.0, 3.0), 0.95),
        ("ct_dataset", 1, None, None, (3.2, 2.7, 3.0), 0.93),
        ("brats_dataset", 0, (60, 60, 40), (100, 110, 70), None, 1.0),
        ("ms_lesions_dataset", 0, (10, 10, 40), (110, 120, 40), None, 1.0),
    ],
)
def test_real_labels_come_back_from_preprocessing(fixture, case, start, size, spacing, least, request):
    dataset = request.getfixturevalue(fixture)
    image, label = load_case(dataset, dataset.cases[case], with_label=True)
    if start is not None:
        image, label = cropped(image, label, start, size)
    overrides = {"spacing": spacing} if spacing else {}
    reports = check_dataset(dataset, dataset.cases[case : case + 1], labels_needed=False)
    plan = make_plan(dataset, reports, overrides=overrides)
    made = preprocess(image, label, plan)
    scores = one_hot(made.label, plan.classes)
    restored = restore_labels(scores, made.geometry, plan.class_values)
    assert restored.shape == image.shape
    present = [v for v in np.unique(label.array) if v and (label.array == v).sum() > 200]
    assert present
    assert min(dice(restored == v, label.array[0] == v) for v in present) >= least
    # an independent way: where a preprocessed voxel lies in the file, the file has the same brightness
    random = np.random.default_rng(0)
    at = np.stack([random.integers(2, n - 2, 2000) for n in made.image.shape[1:]])
    to_file = np.linalg.inv(image.affine) @ made.affine
    in_file = to_file[:3, :3] @ at + to_file[:3, 3:]
    for channel in range(len(image.array)):
        expected = ndimage.map_coordinates(image.array[channel], in_file, order=1, mode="nearest")
        assert np.corrcoef(expected, made.image[channel][tuple(at)])[0, 1] > 0.9


def test_a_label_stored_mirrored_lands_on_its_image(broken_folder):
    from topomae.data.volume_io import read_image, read_labels

    folder = broken_folder / "c19_left_right_flip"
    image, label = read_image(folder / "image.nii.gz"), read_labels(folder / "label.nii.gz")
    made = preprocess(image, label, a_plan())
    np.testing.assert_array_equal(made.label, label.array[0][::-1])
    np.testing.assert_array_equal(
        restore_labels(one_hot(made.label, 3), made.geometry, (0, 1, 2)), label.array[0][::-1]
    )


def test_a_tiny_volume_and_a_single_slice_go_there_and_back():
    for shape in ((6, 6, 6), (30, 20, 1), (1, 5, 2)):
        random = np.random.default_rng(0)
        image = random.normal(size=(1, *shape)).astype(np.float32)
        label = random.integers(0, 3, (1, *shape)).astype(np.uint8)
        affine = np.diag([1.0, 1, 5, 1])
        made = preprocess(Volume(image, affine), Volume(label, affine), a_plan((1, 1, 5)))
        restored = restore_labels(one_hot(made.label, 3), made.geometry, (0, 1, 2))
        np.testing.assert_array_equal(restored, label[0])
        coarse = preprocess(Volume(image, affine), Volume(label, affine), a_plan((2, 2, 20)))
        assert restore_labels(one_hot(coarse.label, 3), coarse.geometry, (0, 1, 2)).shape == shape
