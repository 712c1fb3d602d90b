"""Persistence diagrams against gudhi, closed forms and known shapes."""

from __future__ import annotations

import subprocess
import sys

import nibabel
import numpy as np
import pytest

from topomae.errors import BadDataError, BadSettingError
from topomae.topology.diagram import DIMENSIONS
from topomae.topology.persistence import persistence


def gudhi_intervals(volume, dim):
    """Sorted finite intervals of gudhi's own V-construction, computed on the intensities themselves."""
    gudhi = pytest.importorskip("gudhi")
    thick = volume.reshape([size for size in volume.shape if size > 1] or [1])
    if thick.size == 1:
        return np.empty((0, 2))
    cubes = gudhi.CubicalComplex(vertices=thick.astype(float))
    cubes.compute_persistence(homology_coeff_field=2)
    intervals = np.asarray(cubes.persistence_intervals_in_dimension(dim)).reshape(-1, 2)
    return in_order(intervals[np.isfinite(intervals[:, 1])])


def in_order(intervals):
    return intervals[np.lexsort(intervals.T[::-1])]


def random_volume(rng):
    """One of many kinds: continuous, tied, constant, negative zeros, thin, any shape."""
    shape = rng.integers(1, 10, 3)
    thin = rng.random(3) < 0.1
    shape = tuple(np.where(thin, 1, shape))
    kind = rng.integers(6)
    if kind == 0:
        return rng.standard_normal(shape).astype(np.float32)
    if kind == 1:
        return -rng.integers(0, rng.integers(2, 6), shape).astype(np.float32)
    if kind == 2:
        return np.full(shape, rng.standard_normal(), np.float32)
    if kind == 3:
        return np.where(rng.random(shape) < 0.5, np.float32(-0.0), np.float32(0.0)) * rng.integers(0, 2, shape)
    if kind == 4:
        return (1e4 * rng.standard_normal(shape)).round(-3).astype(np.float32)
    return np.cumsum(rng.standard_normal(shape), axis=rng.integers(3)).astype(np.float32)


def test_diagrams_equal_gudhi_on_a_thousand_random_volumes():
    rng = np.random.default_rng(20)
    points = 0
    for _ in range(1000):
        volume = random_volume(rng).astype(np.float32)
        diagram = persistence(volume, backend="numba")
        for dim in DIMENSIONS:
            np.testing.assert_array_equal(in_order(diagram.values[dim]), gudhi_intervals(volume, dim))
            points += len(diagram.values[dim])
    assert points > 10_000


def test_both_backends_find_the_same_voxels_even_with_ties():
    rng = np.random.default_rng(21)
    for _ in range(150):
        volume = random_volume(rng)
        ours, reference = persistence(volume, backend="numba"), persistence(volume, backend="gudhi")
        for dim in DIMENSIONS:
            np.testing.assert_array_equal(ours.voxels[dim], reference.voxels[dim])
            np.testing.assert_array_equal(ours.values[dim], reference.values[dim])
        assert ours.essential_voxel == reference.essential_voxel == np.argmin(volume)


def test_real_scans_equal_gudhi(data_folder):
    for path in sorted((data_folder / "hippocampus" / "imagesTr").glob("*.nii.gz"))[:2]:
        volume = nibabel.load(path).get_fdata(dtype=np.float32)
        diagram = persistence(volume)
        for dim in DIMENSIONS:
            np.testing.assert_array_equal(in_order(diagram.values[dim]), gudhi_intervals(volume, dim))
        assert len(diagram) > 1000


def test_values_are_those_of_the_voxels_and_thread_count_changes_nothing():
    volume = np.random.default_rng(22).standard_normal((13, 10, 7)).astype(np.float32)
    alone, together = persistence(volume), persistence(volume, threads=3)
    for dim in DIMENSIONS:
        np.testing.assert_array_equal(volume.ravel()[alone.voxels[dim]], alone.values[dim])
        np.testing.assert_array_equal(alone.voxels[dim], together.voxels[dim])


def radial_grid(size=24):
    z, y, x = np.mgrid[:size, :size, :size] - (size - 1) / 2
    return x, y, z


def shapes():
    """Masks with their numbers of components beyond the first, loops and voids."""
    x, y, z = radial_grid()
    radius = np.sqrt(x * x + y * y + z * z)
    torus = (np.sqrt(x * x + y * y) - 7) ** 2 + z * z
    left = (np.sqrt((x - 4.5) ** 2 + y * y) - 3.6) ** 2 + z * z
    right = (np.sqrt((x + 4.5) ** 2 + y * y) - 3.6) ** 2 + z * z
    outer = np.maximum(np.maximum(abs(x), abs(y)), abs(z)) < 9
    frame = outer & (((abs(x) > 6).astype(int) + (abs(y) > 6) + (abs(z) > 6)) >= 2)
    balls = ((x - 5) ** 2 + y * y + z * z < 16) | ((x + 5.5) ** 2 + y * y + z * z < 16)
    return {
        "ball": (radius < 8, (0, 0, 0)),
        "two balls": (balls, (1, 0, 0)),
        "hollow sphere": ((radius < 9) & (radius > 5), (0, 0, 1)),
        "torus": (torus < 9, (0, 1, 0)),
        "double torus": ((left < 3) | (right < 3), (0, 2, 0)),
        "hollow torus": ((torus < 16) & (torus > 4), (0, 2, 1)),
        "frame of a cube": (frame, (0, 5, 0)),
    }


@pytest.mark.parametrize("name", shapes())
def test_a_dark_shape_shows_its_known_topology(name):
    mask, expected = shapes()[name]
    diagram = persistence(np.where(mask, -2.0, 3.0))
    assert tuple(len(values) for values in diagram.values) == expected
    assert all((values == (-2.0, 3.0)).all() for values in diagram.values)
    assert diagram.total_persistence() == sum(expected) * 25 / 2


def test_dimensions_not_asked_for_are_empty_and_others_unchanged():
    volume = np.random.default_rng(23).standard_normal((8, 8, 8))
    everything, some = persistence(volume), persistence(volume, dims=(0, 2))
    np.testing.assert_array_equal(some.voxels[0], everything.voxels[0])
    np.testing.assert_array_equal(some.voxels[2], everything.voxels[2])
    assert len(some.voxels[1]) == 0 < len(everything.voxels[1])


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_not_finite_is_refused(broken):
    volume = np.zeros((4, 4, 4))
    volume[1, 2, 3] = broken
    with pytest.raises(BadDataError, match="1 NaN or infinite"):
        persistence(volume)


def test_wrong_shapes_dimensions_and_backends_are_refused():
    with pytest.raises(BadDataError, match="three-dimensional"):
        persistence(np.zeros((4, 4)))
    with pytest.raises(BadDataError, match="three-dimensional"):
        persistence(np.zeros((4, 0, 4)))
    with pytest.raises(BadSettingError, match="dimensions"):
        persistence(np.zeros((4, 4, 4)), dims=(0, 3))
    with pytest.raises(BadSettingError, match="backend"):
        persistence(np.zeros((4, 4, 4)), backend="magic")


def test_without_numba_the_loss_is_the_same_and_a_notice_appears_once():
    code = """
import sys
if {hidden}: sys.modules["numba"] = None
import logging, torch
logging.basicConfig(format="%(message)s")
from topomae.topology.loss import TopologicalLoss
torch.manual_seed(0)
x, y = torch.randn(2, 2, 9, 8, 7)
y.requires_grad_()
for _ in range(2):
    y.grad = None
    value = TopologicalLoss(reduction="sum")(y[None], x[None])
    value.backward()
print(float(value), float(y.grad.norm()), int((y.grad != 0).sum()))
"""
    runs = {}
    for hidden in (True, False):
        runs[hidden] = subprocess.run(
            [sys.executable, "-c", code.format(hidden=hidden)], capture_output=True, text=True, check=True
        )
    assert runs[True].stderr.count("numba is not installed") == 1
    assert "numba" not in runs[False].stderr
    np.testing.assert_allclose(
        [float(number) for number in runs[True].stdout.split()],
        [float(number) for number in runs[False].stdout.split()],
        rtol=1e-6,
    )
