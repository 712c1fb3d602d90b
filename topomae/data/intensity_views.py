"""A second view of a crop: the same voxels, in another modality or in changed intensities."""

from __future__ import annotations

import numpy as np
import torch
from monai.transforms import RandAdjustContrast, RandBiasField
from monai.utils import convert_to_tensor

_BIAS, _GAMMA = (-0.2, 0.2), (0.5, 2.0)
_INVERTED = 0.5  # chance that bright becomes dark


def two_views(
    image: np.ndarray, available: np.ndarray, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of a crop that show the same voxels.

    Of several modalities each view shows another one. Of a single one both show it, the second with a smooth change
    of brightness across the crop, another contrast and, half the time, with bright and dark exchanged.

    Args:
        image: (C, D, H, W) float32, normalized; what the first view has.
        available: (C,) bool, the modalities that there are; at least one.
        random: decides.
    Returns:
        The (C, D, H, W) float32 image of the second view, and (2, C) bool, the modalities that the views show.
    """
    seen = np.zeros((2, len(image)), bool)
    there = np.flatnonzero(available)
    chosen = random.choice(there, 2, replace=False) if len(there) > 1 else there.repeat(2)
    seen[range(2), chosen] = True
    second = np.array(image, np.float32)
    if len(there) == 1:
        second[there[0]] = changed_intensities(image[there[0]], random)
    return torch.from_numpy(second), torch.from_numpy(seen)


def changed_intensities(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A volume (D, H, W) with other intensities; mean and standard deviation stay, as the network expects them."""
    seeds = random.integers(2**31, size=2)
    lowest = image.min()  # a bias field multiplies a signal, which is nothing where it is lowest
    bias = RandBiasField(prob=1, coeff_range=_BIAS).set_random_state(seed=int(seeds[0]))
    contrast = RandAdjustContrast(prob=1, gamma=_GAMMA, retain_stats=True).set_random_state(seed=int(seeds[1]))
    changed = convert_to_tensor(contrast(bias(image[None] - lowest)), track_meta=False).numpy()[0]
    deviation = changed.std()
    changed = (changed - changed.mean()) * (image.std() / deviation if deviation > 1e-6 else 0)
    if random.random() < _INVERTED:
        changed = -changed
    return (changed + image.mean()).astype(np.float32)
