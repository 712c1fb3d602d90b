"""Betti numbers of masks against cubical homology and known shapes."""

from __future__ import annotations

import numpy as np
import pytest

from topomae.errors import BadDataError, BadSettingError
from topomae.topology.betti import betti_numbers, label_betti_numbers


def cubical_betti_numbers(mask, connectivity):
    """By gudhi: voxels as points (6 neighbours) or as closed cubes (26 neighbours)."""
    gudhi = pytest.importorskip("gudhi")
    values = np.where(np.pad(mask, 1), 0.0, 1.0)
    kind = "vertices" if connectivity == 6 else "top_dimensional_cells"
    cubes = gudhi.CubicalComplex(**{kind: values})
    cubes.compute_persistence()
    return tuple([*cubes.persistent_betti_numbers(0.0, 0.5), 0, 0, 0][:3])


@pytest.mark.parametrize("connectivity", [6, 26])
def test_betti_numbers_equal_cubical_homology_on_random_masks(connectivity):
    rng = np.random.default_rng(70)
    totals = np.zeros(3)
    for _ in range(150):
        mask = rng.random(tuple(rng.integers(1, 10, 3))) < rng.uniform(0.05, 0.99)
        found = betti_numbers(mask, connectivity)
        assert found == cubical_betti_numbers(mask, connectivity)
        totals += found
    assert (totals > 5).all()


def test_a_solid_ring_has_one_tunnel_and_a_shell_one_cavity():
    z, y, x = np.mgrid[:24, :24, :24] - 11.5
    ring = (np.sqrt(x * x + y * y) - 7) ** 2 + z * z < 9
    shell = (x * x + y * y + z * z < 81) & (x * x + y * y + z * z > 25)
    assert betti_numbers(ring) == betti_numbers(ring, 6) == (1, 1, 0)
    assert betti_numbers(shell) == betti_numbers(shell, 6) == (1, 0, 1)
    assert betti_numbers(~shell) == (2, 0, 1)  # the outside reaches the border: its complement is the shell


def test_voxels_that_touch_at_a_corner_are_one_component_only_for_26_neighbours():
    mask = np.zeros((4, 4, 4), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    assert betti_numbers(mask) == (1, 0, 0)
    assert betti_numbers(mask, 6) == (2, 0, 0)


def test_labels_are_counted_one_by_one_and_nothing_has_no_topology():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[1:4, 1:4, 1:4] = 3
    labels[2, 2, 2] = 7
    assert label_betti_numbers(labels) == {3: (1, 0, 1), 7: (1, 0, 0)}
    assert betti_numbers(np.zeros((3, 3, 3), bool)) == (0, 0, 0)


def test_other_connectivities_and_flat_masks_are_refused():
    with pytest.raises(BadSettingError, match="18"):
        betti_numbers(np.ones((3, 3, 3), bool), 18)
    with pytest.raises(BadDataError, match="three-dimensional"):
        betti_numbers(np.ones((3, 3), bool))
