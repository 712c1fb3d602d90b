"""A volume in memory: channels, voxels and their place in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Volume:
    """Voxels with their geometry.

    Attributes:
        array: (C, I, J, K). Images are float32 in the file's physical units (scaling applied);
            label maps have C = 1 and the smallest unsigned integer type that holds their values.
        affine: (4, 4) float64, voxel index (i, j, k, 1) to RAS position in mm.
        path: file or folder it was read from.
        available: which of the channels hold an image; the others, of modalities that are missing, are zero.
            None where nothing is missing.
    """

    array: np.ndarray
    affine: np.ndarray
    path: Path | None = None
    available: tuple[bool, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j and k."""
        return self.array.shape[1:]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along i, j and k."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))
