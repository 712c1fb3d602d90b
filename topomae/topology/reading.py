"""Diagrams for people: features as points in the patient, and the voxels that a feature is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from topomae.errors import BadDataError, BadSettingError
from topomae.topology import compiled
from topomae.topology.diagram import DIMENSIONS, Diagram
from topomae.topology.membrane import loop_membrane
from topomae.topology.persistence import checked_dimensions, checked_volume, persistence
from topomae.topology.reduction import reduce_volume
from topomae.topology.voxel_order import intensity_keys, voxel_of


@dataclass(frozen=True)
class Feature:
    """One component, loop or void.

    Attributes:
        dim: 0, 1 or 2.
        index: its row in the diagram's arrays of that dimension.
        birth, death: intensities at which it appears and disappears.
        birth_voxel, death_voxel: (i, j, k) voxel indices where this happens.
        birth_position, death_position: RAS positions of these voxels' centres in mm; voxel indices if no
            affine was given.
    """

    dim: int
    index: int
    birth: float
    death: float
    birth_voxel: tuple[int, int, int]
    death_voxel: tuple[int, int, int]
    birth_position: tuple[float, float, float]
    death_position: tuple[float, float, float]

    @property
    def persistence(self) -> float:
        """How long it lasts, in intensity."""
        return abs(self.death - self.birth)


def superlevel_persistence(volume: np.ndarray, dims: Iterable[int] = DIMENSIONS) -> Diagram:
    """Diagram of bright structures, for instance of a probability map.

    Args:
        volume: (I, J, K).
        dims: dimensions wanted.

    Returns:
        The diagram of the negated volume: values are negated too, so that birth < death holds. `features`
        with `superlevel=True` gives the intensities back.
    """
    return persistence(-checked_volume(volume), dims)


def features(
    diagram: Diagram,
    affine: np.ndarray | None = None,
    *,
    dims: Iterable[int] = DIMENSIONS,
    least: float = 0.0,
    count: int | None = None,
    superlevel: bool = False,
) -> list[Feature]:
    """The features of a diagram, longest lasting first (the essential component is not among them).

    Args:
        diagram: the diagram.
        affine: (4, 4), voxel index to RAS position in mm.
        dims: dimensions wanted.
        least: smallest persistence wanted.
        count: how many at most.
        superlevel: the diagram is one of `superlevel_persistence`; intensities are those of the volume
            itself.

    Returns:
        The features; ties in diagram order.
    """
    affine = np.eye(4) if affine is None else np.asarray(affine, np.float64)
    sign = -1.0 if superlevel else 1.0
    dims = checked_dimensions(dims)
    counts = [len(diagram.values[dim]) for dim in dims]
    lasting = np.concatenate([np.empty(0), *(np.diff(diagram.values[dim])[:, 0] for dim in dims)])
    dim_of = np.repeat(np.asarray(dims, np.int64), counts)
    index_of = np.concatenate([np.empty(0, np.int64), *map(np.arange, counts)])
    longest = np.argsort(-lasting, kind="stable")
    found = []
    for row in longest[lasting[longest] >= least][:count]:
        dim, index = int(dim_of[row]), int(index_of[row])
        voxels = np.stack(np.unravel_index(diagram.voxels[dim][index], diagram.shape), axis=1)
        positions = voxels @ affine[:3, :3].T + affine[:3, 3]
        birth, death = (float(sign * value) for value in diagram.values[dim][index])
        birth_voxel, death_voxel = (tuple(int(v) for v in voxel) for voxel in voxels)
        birth_position, death_position = (tuple(float(p) for p in position) for position in positions)
        found.append(Feature(dim, index, birth, death, birth_voxel, death_voxel, birth_position, death_position))
    return found


def feature_voxels(
    volume: np.ndarray, diagram: Diagram, dim: int, index: int, *, level: float | None = None
) -> np.ndarray:
    """The voxels of a feature as a mask: what to colour in a viewer.

    A component: the dark voxels around its birth that hang together (6 neighbours) at the level. A void: the
    bright voxels around its death that are enclosed (26 neighbours) at the level. A loop: the bright voxels of the
    surface that it spans at the level, one voxel thin, which closes the hole. Give the negated volume for a
    diagram of `superlevel_persistence`.

    Args:
        volume: (I, J, K), the one the diagram was made of.
        diagram: its diagram.
        dim: 0, 1 or 2.
        index: row of the feature in the diagram's arrays of that dimension.
        level: intensity between birth (included) and death; halfway if not given.

    Returns:
        (I, J, K) bool.

    Raises:
        BadDataError: the volume is not the one of the diagram.
        BadSettingError: there is no such feature, the level is not one at which it lives, or a loop is asked
            for and numba is missing.
    """
    volume = checked_volume(volume)
    if dim not in DIMENSIONS or not 0 <= index < len(diagram.values[dim]):
        raise BadSettingError(f"the diagram has no feature {index} of dimension {dim}")
    voxels, (birth, death) = diagram.voxels[dim][index], diagram.values[dim][index]
    if volume.shape != diagram.shape or not np.array_equal(volume.reshape(-1)[voxels], (birth, death)):
        raise BadDataError("the diagram is of another volume", hint="Compute it again.")
    level = (birth + death) / 2 if level is None else float(level)
    if not birth <= level < death:
        raise BadSettingError(f"level {level} is not between birth {birth} and death {death}")
    if dim == 0:
        return _piece(volume <= level, voxels[0], neighbours=1)
    if dim == 2:
        return _piece(volume > level, voxels[1], neighbours=3)
    return _loop_surface(volume, voxels, level)


def _piece(mask: np.ndarray, voxel: int, neighbours: int) -> np.ndarray:
    """The connected piece of a mask that holds a voxel; neighbours share a face (1) or a corner (3)."""
    labels, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, neighbours))
    return labels == labels.reshape(-1)[voxel]


def _loop_surface(volume: np.ndarray, voxels: np.ndarray, level: float) -> np.ndarray:
    if not compiled.HAVE_NUMBA:
        raise BadSettingError("the surface of a loop needs numba", hint="Install numba.")
    reduced = reduce_volume(volume)
    edges, squares = reduced.loops
    births, deaths = (reduced.unpadded(voxel_of(codes)) for codes in (edges, squares))
    (which,) = np.nonzero((births == voxels[0]) & (deaths == voxels[1]))
    mask = np.zeros(volume.size, bool)
    mask[loop_membrane(reduced, int(squares[which[0]]), int(intensity_keys(np.float32(level))))] = True
    return mask.reshape(volume.shape)
