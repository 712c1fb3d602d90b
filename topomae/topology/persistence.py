"""Exact sublevel persistence of a volume."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from topomae.errors import BadDataError, BadSettingError
from topomae.topology import compiled
from topomae.topology.diagram import DIMENSIONS, Diagram, diagram_from_voxels
from topomae.topology.reduction import LARGEST_SIZE, reduce_volume

BACKENDS = ("auto", "numba", "gudhi")


def persistence(
    volume: np.ndarray, dims: Iterable[int] = DIMENSIONS, backend: str = "auto", threads: int = 1
) -> Diagram:
    """Components, loops and voids of all sublevel sets of a volume, with the voxels of birth and death.

    Voxels are the vertices of the cubical complex and a cell has the intensity of its brightest voxel
    (V-construction), so that dark structures connect through the 6 face neighbours and bright ones, around
    them, through all 26. Homology has coefficients modulo 2. Equal intensities are ordered by voxel index
    (C order), which makes the result, voxels included, the same on every run and with every backend.
    For bright structures ask for the diagrams of the negated volume (see `reading.superlevel_persistence`).

    Args:
        volume: (D, H, W) array or CPU tensor, finite; computed on as float32.
        dims: the dimensions wanted among 0 (components), 1 (loops) and 2 (voids).
        backend: "numba" (compiled here), "gudhi" (reference, about 30 times slower) or "auto": numba if
            installed.
        threads: threads for this one volume. Several volumes are better computed in a thread each.

    Returns:
        The diagram; dimensions not asked for are empty.

    Raises:
        BadDataError: the volume is not three-dimensional, is empty or has NaN or infinite voxels.
        BadSettingError: unknown dimension or backend.
    """
    dims = checked_dimensions(dims)
    volume = checked_volume(volume)
    if backend not in BACKENDS:
        raise BadSettingError(f"unknown persistence backend '{backend}'", hint=f"Use one of {', '.join(BACKENDS)}.")
    if backend == "auto":
        backend = "numba" if compiled.HAVE_NUMBA else "gudhi"
    if backend == "gudhi":
        from topomae.topology.reference import gudhi_voxel_pairs

        if not compiled.HAVE_NUMBA:
            compiled.say_numba_is_missing()
        births, deaths = gudhi_voxel_pairs(volume)
    else:
        if not compiled.HAVE_NUMBA:
            raise BadSettingError("numba is not installed", hint="Install numba or use the backend gudhi.")
        births, deaths = reduce_volume(volume, threads=max(1, threads)).voxel_pairs(with_loops=1 in dims)
    nothing = np.empty(0, np.int64)
    births = [births[dim] if dim in dims else nothing for dim in DIMENSIONS]
    deaths = [deaths[dim] if dim in dims else nothing for dim in DIMENSIONS]
    return diagram_from_voxels(volume, births, deaths)


def checked_dimensions(dims: Iterable[int]) -> tuple[int, ...]:
    """The dimensions as a sorted tuple.

    Raises:
        BadSettingError: one of them is not 0, 1 or 2.
    """
    dims = tuple(sorted(set(dims)))
    if not set(dims) <= set(DIMENSIONS):
        raise BadSettingError(f"dimensions {dims} are not all among 0, 1 and 2", hint="Volumes have no others.")
    return dims


def checked_volume(volume: np.ndarray, name: str = "the volume") -> np.ndarray:
    """The volume as a C-contiguous float32 array.

    Args:
        volume: (D, H, W).
        name: what to call it in a message.

    Raises:
        BadDataError: not three-dimensional, empty, or not finite.
    """
    volume = np.ascontiguousarray(volume, dtype=np.float32)
    if volume.ndim != 3 or volume.size == 0:
        raise BadDataError(f"{name} of shape {volume.shape} is not three-dimensional", hint="Give (D, H, W).")
    if np.prod([size + 2 for size in volume.shape]) >= LARGEST_SIZE:
        raise BadDataError(f"{name} of shape {volume.shape} is too large", hint="Crop or downsample it.")
    if not np.isfinite(volume).all():
        broken = int(volume.size - np.isfinite(volume).sum())
        raise BadDataError(
            f"{name} has {broken} NaN or infinite voxels, which have no topology",
            hint="A reconstruction like this means that training diverged: lower the learning rate.",
        )
    return volume
