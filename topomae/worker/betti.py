"""Components, tunnels and cavities of labels, and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from scipy import ndimage

from topomae.data.volume import Volume
from topomae.topology import compiled
from topomae.topology.betti import betti_numbers
from topomae.topology.persistence import persistence
from topomae.worker.arrays import read_labels
from topomae.worker.requests import Betti
from topomae.worker.tasks import Task

_MOST = 50  # features described
_MOST_VOXELS = 2**24  # of a box in which tunnels are looked for: about half a minute
_ALL_NEIGHBOURS = ndimage.generate_binary_structure(3, 3)  # of the label; the background has 6
_COUNTED = ("components", "tunnels", "cavities")
_MARGIN = 2  # background around a label, enough to go around it


@dataclass(frozen=True)
class Found:
    """An island, tunnel or cavity.

    Attributes:
        kind: "island" (a component other than the largest), "tunnel" or "cavity".
        voxels: how many; None for a tunnel, which has none.
        voxel: (i, j, k) of a voxel of it; for a tunnel of the background, where the hole is narrowest.
        size: voxels, or about the area of a tunnel's hole in voxels.
    """

    kind: str
    voxels: int | None
    voxel: tuple[int, int, int]
    size: float


def betti(request: Betti, task: Task) -> dict[str, Any]:
    """Count and find the features of every label of a label map.

    Raises:
        BadDataError: it is no label map.
        Cancelled: see there.
    """
    task.progress("load")
    labels = read_labels(request.labels, "the label map")
    boxes = ndimage.find_objects(labels.array[0])
    present = [(value, box) for value, box in enumerate(boxes, 1) if box is not None]
    advance = task.steps("count", max(1, len(present)))
    answer = {}
    for value, box in present:
        mask = labels.array[0][box] == value
        numbers, found, complete = task.apart(partial(_look_at, mask))
        if not complete:
            task.warning(f"label {value}: its tunnels were counted, but it is too large to say where they are")
        corner = np.array([part.start for part in box])
        features = [_described(one, corner, labels) for one in found]
        answer[str(value)] = {**dict(zip(_COUNTED, numbers, strict=True)), "features": features}
        advance(1)
    return {"labels": answer}


def _look_at(mask: np.ndarray) -> tuple[tuple[int, int, int], list[Found], bool]:
    """Betti numbers and features of a mask, and whether tunnels could be found, if there are any."""
    numbers = betti_numbers(mask)
    findable = np.prod([n + 2 * _MARGIN for n in mask.shape]) <= _MOST_VOXELS and compiled.HAVE_NUMBA
    found = find_features(mask, tunnels=numbers[1] > 0 and findable)
    return numbers, found, numbers[1] == 0 or findable


def find_features(mask: np.ndarray, *, tunnels: bool = True) -> list[Found]:
    """Find the islands, tunnels and cavities of a mask, largest first.

    Args:
        mask: (I, J, K) bool, not empty; outside of it is background. Its voxels touch at corners.
        tunnels: look for tunnels, too, which takes much longer than the rest.
    Returns:
        At most 50; if there are more, the largest of each kind.
    """
    padded = np.pad(mask, _MARGIN)
    pieces, count = ndimage.label(padded, _ALL_NEIGHBOURS)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[[0, sizes[1:].argmax() + 1]] = 0
    islands = _pieces("island", pieces, sizes)
    holes, count = ndimage.label(~padded)
    sizes = np.bincount(holes.ravel(), minlength=count + 1)
    sizes[[0, holes[0, 0, 0]]] = 0
    cavities = _pieces("cavity", holes, sizes)
    turns = zip_longest(islands, _tunnels(padded) if tunnels else (), cavities)
    chosen = [found for found in chain.from_iterable(turns) if found is not None][:_MOST]
    return sorted(chosen, key=lambda found: -found.size)


def _pieces(kind: str, pieces: np.ndarray, sizes: np.ndarray) -> Iterator[Found]:
    """The pieces whose size is not 0, largest first, each with the voxel of it nearest to its centre."""
    boxes = ndimage.find_objects(pieces)
    for label in np.argsort(-sizes, kind="stable")[: min(_MOST, np.count_nonzero(sizes))]:
        box = boxes[label - 1]
        voxels = np.argwhere(pieces[box] == label)
        nearest = voxels[((voxels - voxels.mean(0)) ** 2).sum(1).argmin()]
        place = nearest + [part.start for part in box]
        yield Found(kind, int(sizes[label]), _unpadded(place), float(sizes[label]))


def _tunnels(padded: np.ndarray) -> Iterator[Found]:
    """The places of tunnels, widest first.

    A tunnel of the mask is a loop in the background around a part of the mask: a feature of dimension 1 of
    the distance to the mask's surface, negative outside, which is born before and dies after 0. It is born
    at the voxel of that loop nearest to the mask, which is the middle of the hole where it is narrowest.
    Around the mask there is room for every loop, however narrow the margin is.
    """
    depth = ndimage.distance_transform_edt(padded) - ndimage.distance_transform_edt(~padded)
    outermost = np.ones(padded.shape, bool)
    outermost[1:-1, 1:-1, 1:-1] = False
    depth[outermost] = -sum(padded.shape)
    diagram = persistence(depth, dims=(1,))
    births, deaths = diagram.values[1].T
    through = np.flatnonzero((births < 0) & (deaths > 0))
    for index in through[np.argsort(births[through], kind="stable")][:_MOST]:
        place = np.unravel_index(diagram.voxels[1][index, 0], padded.shape)
        yield Found("tunnel", None, _unpadded(np.array(place)), float(np.pi * births[index] ** 2))


def _unpadded(place: np.ndarray) -> tuple[int, int, int]:
    """A voxel of the padded mask in the mask itself; of the background it may lie outside."""
    return tuple(int(p) - _MARGIN for p in place)


def _described(found: Found, corner: np.ndarray, labels: Volume) -> dict[str, Any]:
    voxel = np.clip(corner + found.voxel, 0, np.array(labels.shape) - 1)
    position = labels.affine[:3, :3] @ voxel + labels.affine[:3, 3]
    return {"kind": found.kind, "voxels": found.voxels, "voxel": voxel, "position": position}
