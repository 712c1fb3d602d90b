"""Persistence diagrams of images, and the voxels of their features."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from topomae.errors import BadSettingError
from topomae.topology.diagram import DIMENSIONS, Diagram
from topomae.topology.persistence import checked_volume, persistence
from topomae.topology.reading import feature_voxels, features
from topomae.topology.wasserstein import wasserstein
from topomae.worker.arrays import read_image, save_arrays
from topomae.worker.requests import Feature, Persistence
from topomae.worker.tasks import Task

_KEPT = 12


@dataclass(frozen=True, eq=False)
class KeptDiagram:
    """A diagram and what is needed to look into it.

    Attributes:
        diagram: of `volume`.
        volume: (I, J, K) float32; negated if bright structures were asked for.
        affine: (4, 4), voxel index to RAS mm.
    """

    diagram: Diagram
    volume: np.ndarray
    affine: np.ndarray


class Diagrams:
    """Does `persistence` and `feature`, and remembers the last diagrams in between."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, KeptDiagram] = OrderedDict()
        self._made = 0

    def persistence(self, request: Persistence, task: Task) -> dict[str, Any]:
        """Compute the diagram of an image and write its longest lasting features.

        Raises:
            BadDataError: the image cannot be used.
            Cancelled: nothing was written.
        """
        task.progress("load")
        image = read_image(request.image, "the image", task.warning)
        task.progress("persistence")
        diagram = task.apart(partial(compute, image.array[0], request.dims, superlevel=request.superlevel))
        volume = -image.array[0] if request.superlevel else image.array[0]
        kept = KeptDiagram(diagram, volume, image.affine)
        return self.add(kept, request.dims, request.count, request.output, superlevel=request.superlevel)

    def feature(self, request: Feature, task: Task) -> dict[str, Any]:
        """Write the mask of a feature's voxels.

        Raises:
            BadSettingError: the diagram is forgotten, or has no such feature.
            Cancelled: nothing was written.
        """
        kept = self._kept.get(request.handle)
        if kept is None:
            raise BadSettingError(
                f"the diagram {request.handle!r} is not known (any more)",
                hint=f"Compute it again: the last {_KEPT} diagrams are kept.",
            )
        self._kept.move_to_end(request.handle)
        task.progress("feature")
        mask = task.apart(partial(feature_voxels, kept.volume, kept.diagram, request.dim, request.index))
        path = request.output / f"feature-{request.handle}-{request.dim}-{request.index}.npy"
        save_arrays({path: mask.astype(np.uint8)})
        return {"mask": path, "affine": kept.affine, "voxels": int(mask.sum())}

    def add(
        self, kept: KeptDiagram, dims: tuple[int, ...], count: int, folder: Path, *, superlevel: bool = False
    ) -> dict[str, Any]:
        """Remember a diagram, write it and describe it as answers do.

        Args:
            kept: the diagram.
            dims: dimensions that it holds.
            count: number of features written, the longest lasting.
            folder: receives the file.
            superlevel: its volume is the negated image.
        """
        handle = f"d{self._made + 1}"
        diagram, affine = kept.diagram, kept.affine
        listed = features(diagram, affine, dims=dims, count=count, superlevel=superlevel)
        path = folder / f"diagram-{handle}.npz"
        save_arrays({path: _columns(listed)})
        self._made += 1
        self._kept[handle] = kept
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        lowest = np.array(np.unravel_index(diagram.essential_voxel, diagram.shape))
        return {
            "diagram": path,
            "handle": handle,
            "features": {str(dim): len(diagram.values[dim]) for dim in sorted(set(dims))},
            "shown": len(listed),
            "essential": {
                "value": -diagram.essential_value if superlevel else diagram.essential_value,
                "voxel": lowest,
                "position": affine[:3, :3] @ lowest + affine[:3, 3],
            },
            "superlevel": superlevel,
        }

    @staticmethod
    def warm_up() -> None:
        """Load compiled functions, so that the first diagram does not wait for them."""
        volume = np.random.default_rng(0).random((8, 8, 8), np.float32)
        one, other = compute(volume), compute(volume[::-1], superlevel=True)
        wasserstein(one, other)
        for dim in DIMENSIONS:
            if len(one.values[dim]):
                feature_voxels(volume, one, dim, 0)


def compute(volume: np.ndarray, dims: tuple[int, ...] = DIMENSIONS, *, superlevel: bool = False) -> Diagram:
    """Diagram of a volume, or of its negative for bright structures, on all cores.

    Args:
        volume: (I, J, K).
        dims: dimensions wanted.
        superlevel: look at bright structures.
    """
    volume = checked_volume(volume)
    return persistence(-volume if superlevel else volume, dims, threads=min(8, os.cpu_count() or 1))


def _columns(listed: list) -> dict[str, np.ndarray]:
    """One array per field, one row per feature."""

    def column(name: str, dtype: type, *width: int) -> np.ndarray:
        return np.array([getattr(one, name) for one in listed], dtype).reshape(len(listed), *width)

    return {
        "dim": column("dim", np.int8),
        "index": column("index", np.int32),
        "birth": column("birth", np.float64),
        "death": column("death", np.float64),
        "birth_voxel": column("birth_voxel", np.int32, 3),
        "death_voxel": column("death_voxel", np.int32, 3),
        "birth_position": column("birth_position", np.float64, 3),
        "death_position": column("death_position", np.float64, 3),
    }
