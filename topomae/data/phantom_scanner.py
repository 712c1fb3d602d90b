"""The scanner that phantoms lie in: oblique grids, blur, uneven coil sensitivity, noise, any scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from topomae.data.phantom_shapes import BODY_WIDTH

# World direction of the array axes, as columns. Slices are always stacked along the body's long axis (S).
_DIRECTIONS = {
    "RAS": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "LPS": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "LAS": ((-1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "SPL": ((0, 0, -1), (0, -1, 0), (1, 0, 0)),
}
WIDER = 1.4  # how much wider than the field of view the anatomy is first drawn


def draw_grid(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    wider: float = WIDER,
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Affine and shape of an oblique grid around the body, `wider` times as wide as `shape` along each side."""
    directions = np.array(_DIRECTIONS[rng.choice(list(_DIRECTIONS))], dtype=float)
    to_array_axes = np.abs(directions).T.argmax(axis=1)
    oblique = Rotation.from_euler("xyz", rng.uniform(-12.0, 12.0, 3), degrees=True).as_matrix()
    voxel = np.array(spacing) * (1.0 + rng.uniform(-0.07, 0.07, 3))
    affine = np.eye(4)
    affine[:3, :3] = oblique @ directions * voxel[to_array_axes]
    wide = np.ceil(np.array(shape) * wider).astype(int)[to_array_axes]
    affine[:3, 3] = -affine[:3, :3] @ ((wide - 1) / 2.0)
    return affine, tuple(int(n) for n in wide)


def scan(rng: np.random.Generator, signal: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """What the scanner makes of a signal.

    Args:
        rng: source of everything random.
        signal: (I, J, K) of the tissues, 1 for the brightest.
        positions: (I, J, K, 3) mm from the middle of the body.
    Returns:
        (I, J, K) float32 magnitude image of any scale.
    """
    signal = ndimage.gaussian_filter(signal, 0.5)  # voxels at a border hold both tissues
    signal = signal * _coil_sensitivity(rng, positions)
    noise = rng.uniform(0.02, 0.045) * rng.standard_normal((2, *signal.shape))
    magnitude = np.hypot(signal + noise[0], noise[1])  # Rician, as in magnitude MR images
    scale = 10.0 ** rng.uniform(2.0, 3.3)
    return np.round(magnitude * scale, 1).astype(np.float32)


def texture(rng: np.random.Generator, shape: tuple[int, ...], strength: float) -> np.ndarray:
    """A smooth random field of mean 0 and standard deviation `strength`."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    return strength * (field - field.mean()) / field.std()


def _coil_sensitivity(rng: np.random.Generator, positions: np.ndarray) -> np.ndarray:
    """A smooth factor around 1 (bias field), about 0.75 to 1.3 from one end of the body to the other."""
    scaled = positions / (BODY_WIDTH / 2.0)
    slope = rng.uniform(-0.18, 0.18, 3)
    bend = rng.uniform(-0.10, 0.10, 3)
    return np.exp(scaled @ slope + scaled**2 @ bend)


def voxel_positions(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """RAS position (I, J, K, 3) in mm of every voxel centre."""
    indices = np.moveaxis(np.indices(shape, dtype=float), 0, -1)
    return indices @ affine[:3, :3].T + affine[:3, 3]


def translation(offset: Any) -> np.ndarray:
    """Affine that moves by `offset`."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix
