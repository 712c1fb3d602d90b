"""What a pre-trained network makes of a crop whose blocks are mostly hidden, and how far topology is off."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from topomae.errors import BadSettingError
from topomae.networks.co_pretrainer import BRANCHES, voxel_mask
from topomae.topology.diagram import DIMENSIONS
from topomae.topology.wasserstein import Distance, wasserstein
from topomae.worker.arrays import save_arrays
from topomae.worker.crops import PretrainedCrops, crop_size_mm
from topomae.worker.diagrams import Diagrams, KeptDiagram, compute
from topomae.worker.requests import Reconstruct
from topomae.worker.tasks import Task

_SHOWN = 2000  # features of each diagram
_BUDGET = 500_000_000  # points that one matching may look at: some seconds


class ReconstructionService:
    """Does `reconstruct`.

    Args:
        crops: shared with the other services of pre-trained networks.
        diagrams: remembers the diagrams made here.
    """

    def __init__(self, crops: PretrainedCrops, diagrams: Diagrams):
        self._crops = crops
        self._diagrams = diagrams

    def __call__(self, request: Reconstruct, task: Task) -> dict[str, Any]:
        """Reconstruct a crop and compare the diagrams.

        Of several modalities the one numbered `channel` is shown and compared; the network sees all.

        Raises:
            TopoMAEError: the network or the volumes cannot be used.
            Cancelled: nothing was written.
        """
        if request.channel >= len(request.images):
            raise BadSettingError(
                f"there is no channel {request.channel} among {len(request.images)} images", hint="Count from 0."
            )
        preview, seen = self._crops.look(request, task, request.mask_ratio, request.seed)
        images = {name: volume[request.channel] for name, volume in seen.volumes.items()}
        hidden = voxel_mask(preview.batch["mask"], preview.patch_size, images["input"].shape)[0, 0].numpy()
        kept, distances = {}, {}
        if request.diagrams:
            kept, distances = self._compare(images, preview.affine, task)
        task.check()
        files = {request.output / f"{name}.npy": image for name, image in images.items()}
        save_arrays(files)
        described = {name: self._diagrams.add(one, DIMENSIONS, _SHOWN, request.output) for name, one in kept.items()}
        return {
            **{path.stem: path for path in files},
            "affine": preview.affine,
            "size_mm": crop_size_mm(preview),
            "mse": {b: float(np.mean((images[b] - images["input"])[hidden] ** 2)) for b in BRANCHES},
            "diagrams": described,
            "wasserstein": distances,
        }

    @staticmethod
    def _compare(
        images: dict[str, np.ndarray], affine: np.ndarray, task: Task
    ) -> tuple[dict[str, KeptDiagram], dict[str, dict[str, float]]]:
        """The diagrams of input and reconstructions, and the distances between them."""
        advance = task.steps("topology", 1 + 2 * len(BRANCHES))
        kept = {}
        for name in ("input", *BRANCHES):
            kept[name] = KeptDiagram(task.apart(partial(compute, images[name])), images[name], affine)
            advance(1)
        distances = {}
        for branch in BRANCHES:
            pair = kept["input"].diagram, kept[branch].diagram
            distance = task.apart(partial(wasserstein, *pair, budget=_BUDGET))
            if not distance.complete:
                off = float(distance) - max(0.0, distance.squared - distance.gap) ** 0.5
                task.warning(
                    f"the distance of {branch} is not exact, which takes long: it is up to {off:.3g} too large"
                )
            distances[branch] = distances_by_dimension(distance)
            advance(1)
        return kept, distances


def distances_by_dimension(distance: Distance) -> dict[str, float]:
    """W2 of each dimension, the essential component counted in dimension 0, and their total.

    The squares of the three add up to that of the total.
    """
    squared = {dim: matching.squared_distance for dim, matching in distance.matchings.items()}
    squared[0] += distance.essential
    return {**{str(dim): value**0.5 for dim, value in squared.items()}, "total": float(distance)}
