"""Features of diagrams as people see them: positions in the patient, voxels to colour."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from topomae.errors import BadDataError, BadSettingError
from topomae.topology.betti import betti_numbers
from topomae.topology.persistence import persistence
from topomae.topology.reading import feature_voxels, features, superlevel_persistence


@pytest.fixture(scope="module")
def smooth_volume():
    noise = np.random.default_rng(80).standard_normal((22, 20, 18))
    return ndimage.gaussian_filter(noise, 1.3).astype(np.float32)


def test_positions_are_the_affines_of_the_voxels(smooth_volume, an_oblique_affine):
    diagram = persistence(smooth_volume)
    found = features(diagram, an_oblique_affine)
    assert len(found) == len(diagram)
    for feature in found[:20]:
        assert smooth_volume[feature.birth_voxel] == np.float32(feature.birth)
        assert smooth_volume[feature.death_voxel] == np.float32(feature.death)
        expected = an_oblique_affine @ [*feature.death_voxel, 1]
        np.testing.assert_allclose(feature.death_position, expected[:3])
    assert [f.persistence for f in found] == sorted((f.persistence for f in found), reverse=True)
    few = features(diagram, dims=(1, 2), least=found[30].persistence, count=5)
    assert few == [f for f in features(diagram) if f.dim > 0][:5]


def test_components_loops_and_voids_are_undone_by_their_own_voxels(smooth_volume):
    diagram = persistence(smooth_volume)
    for dim in (0, 1, 2):
        for feature in features(diagram, dims=(dim,), count=6):
            voxels = feature_voxels(smooth_volume, diagram, dim, feature.index)
            dark = smooth_volume <= (feature.birth + feature.death) / 2
            before = betti_numbers(dark, connectivity=6)
            # A component is taken away; the surface of a loop or the inside of a void is filled.
            after = betti_numbers(dark & ~voxels if dim == 0 else dark | voxels, connectivity=6)
            assert before[dim] - after[dim] == 1
            assert voxels[feature.birth_voxel if dim == 0 else feature.death_voxel]
            assert not (voxels & dark).any() if dim else (voxels <= dark).all()


def test_the_hole_of_a_ring_is_a_disc_across_it():
    z, y, x = np.mgrid[:24, :24, :24] - 11.5
    distance = np.sqrt((np.sqrt(x * x + y * y) - 7) ** 2 + z * z)
    volume = (distance + 0.01 * np.random.default_rng(81).standard_normal(distance.shape)).astype(np.float32)
    diagram = persistence(volume)
    (hole,) = features(diagram, dims=(1,), count=1)
    disc = feature_voxels(volume, diagram, 1, hole.index)
    assert np.ptp(np.argwhere(disc), axis=0)[0] <= 1
    assert 20 < disc.sum() < 60
    assert betti_numbers(disc, connectivity=26) == (1, 0, 0)


def test_bright_structures_of_a_probability_map_are_read_in_its_own_values():
    probability = np.zeros((12, 12, 12), np.float32)
    probability[2:5, 2:5, 2:5] = 0.9
    probability[7:10, 7:10, 7:10] = 0.6
    diagram = superlevel_persistence(probability)
    (second,) = features(diagram, superlevel=True)
    assert (second.dim, second.birth, second.death) == (0, np.float32(0.6), 0)
    np.testing.assert_array_equal(
        feature_voxels(-probability, diagram, 0, second.index), probability == np.float32(0.6)
    )


def test_features_that_do_not_exist_and_other_volumes_are_refused(smooth_volume):
    diagram = persistence(smooth_volume)
    with pytest.raises(BadSettingError, match="no feature"):
        feature_voxels(smooth_volume, diagram, 2, len(diagram.values[2]))
    with pytest.raises(BadDataError, match="another volume"):
        feature_voxels(smooth_volume + 1, diagram, 0, 0)
    with pytest.raises(BadSettingError, match="level"):
        feature_voxels(smooth_volume, diagram, 0, 0, level=float(smooth_volume.max()))
    assert features(persistence(np.zeros((3, 3, 3)))) == []
