"""The left atrium's metrics as its literature computes them: in voxels, by medpy's definitions.

Dice and Jaccard of the masks; 95HD, the 95th percentile of the distances of both surfaces' voxels pooled; ASD, the
mean distance from the surface of the *prediction* to that of the label, not the other way. A surface voxel is one
whose six neighbours are not all in the mask. Of an empty prediction all four are 0, as UA-MT's evaluation has it,
which flatters the distances: such cases are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from protocol import scores_in_mm
from scipy import ndimage

from topomae.data.volume_io import read_labels


@dataclass(frozen=True)
class VoxelScores:
    """Agreement of a mask with its label; distances in voxels, whatever their size in mm."""

    dice: float
    jaccard: float
    hd95: float
    asd: float


def compare_in_voxels(prediction: np.ndarray, label: np.ndarray) -> VoxelScores:
    """Compare a mask with its label.

    Args:
        prediction: (I, J, K) bool. label: (I, J, K) bool, not empty.
    Raises:
        ValueError: the label is empty.
    """
    if not label.any():
        raise ValueError("the label is empty, and nothing is defined")
    if not prediction.any():
        return VoxelScores(0.0, 0.0, 0.0, 0.0)
    common = np.count_nonzero(prediction & label)
    sizes = np.count_nonzero(prediction), np.count_nonzero(label)
    there, back = surface_distances(prediction, label), surface_distances(label, prediction)
    return VoxelScores(
        dice=2 * common / sum(sizes),
        jaccard=common / (sum(sizes) - common),
        hd95=float(np.percentile(np.concatenate([there, back]), 95)),
        asd=float(there.mean()),
    )


def surface_distances(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance of every surface voxel of `mask` to the nearest one of `other`, in voxels."""
    return ndimage.distance_transform_edt(~_surface(other))[_surface(mask)]


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, 1))


def scores_in_voxels_and_mm(predictions: Path, labels: Path, output: Path) -> dict[str, Any]:
    """Means over the cases by the literature's definitions, beside those of `topomae.evaluate`; of one label."""
    found = scores_in_mm(predictions, labels, output)
    rows = []
    for file in sorted(predictions.glob("*.nii.gz")):
        prediction, label = read_labels(file).array[0] > 0, read_labels(labels / file.name).array[0] > 0
        rows.append(compare_in_voxels(prediction, label))
    return {
        **found,
        "dice_voxels": float(np.mean([row.dice for row in rows])),
        "jaccard": float(np.mean([row.jaccard for row in rows])),
        "hd95_voxels": float(np.mean([row.hd95 for row in rows])),
        "asd_voxels": float(np.mean([row.asd for row in rows])),
        "empty_predictions": sum(bool(row.dice == 0 and row.asd == 0) for row in rows),
    }
