"""The augmentations nnU-Net trains with, from MONAI's transforms.

Isensee et al., "nnU-Net", Nature Methods 2021, supplement 4: rotation and scaling, Gaussian noise and
blur, brightness, contrast, low resolution, gamma and mirroring, with its probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.transforms import (
    Compose,
    MapTransform,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    Randomizable,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    RandSimulateLowResolutiond,
    ToTensord,
)
from monai.utils import convert_to_tensor

MARGIN = 1.25  # the cut is this much larger than the crop, so that rotations bring in real voxels
_BOTH, _IMAGE = ("image", "label"), ("image",)


class Augmentation:
    """Turns a cut around a crop into a training sample; the same seed gives the same sample.

    Args:
        crop_size: (i, j, k) voxels of the sample.
        spacing: (i, j, k) mm. Axes much coarser than the others are not rotated into them.
        mirror_axes: axes that may be flipped.
        strength: scales the probability of every augmentation but mirroring; 1 as in nnU-Net, 0 only takes
            the central crop.
    """

    def __init__(
        self,
        crop_size: Sequence[int],
        spacing: Sequence[float],
        mirror_axes: Sequence[int],
        *,
        strength: float = 1.0,
    ):
        self.crop_size = tuple(crop_size)
        self.cut_size = tuple(int(np.ceil(c * MARGIN / 2)) * 2 for c in crop_size) if strength else self.crop_size
        steps = [ToTensord(_BOTH, track_meta=False)]
        if strength:
            steps += [_spatial(self.crop_size, spacing, strength), *_intensity(strength), *_mirroring(mirror_axes)]
        self._transform = Compose(steps)

    def __call__(self, image: np.ndarray, label: np.ndarray, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment one cut.

        Args:
            image: (C, *cut_size) float32.
            label: (*cut_size) class indices.
            seed: decides everything random.
        Returns:
            (C, *crop_size) float32 and (1, *crop_size) int64.
        """
        self._transform.set_random_state(seed=seed)
        sample = self._transform({"image": image, "label": label[None].astype(np.float32)})
        # MONAI's tensors that carry metadata would slow every operation of the network.
        image, label = (convert_to_tensor(sample[name], track_meta=False) for name in _BOTH)
        return image.float().contiguous(), label.round().long().contiguous()


def hide_modalities(available: np.ndarray, chance: float, random: np.random.Generator) -> np.ndarray:
    """Which modalities of a sample a network may look at, so that it learns to do without some of them.

    Args:
        available: (C,) bool, the modalities that there are; at least one.
        chance: of each of them to be hidden. One always stays.
        random: decides.
    Returns:
        (C,) bool.
    """
    kept = available & (random.random(len(available)) >= chance)
    if not kept.any():
        kept[random.choice(np.flatnonzero(available))] = True
    return kept


def _spatial(crop_size: Sequence[int], spacing: Sequence[float], strength: float) -> MapTransform:
    return RandAffined(
        _BOTH,
        prob=0.35 * strength,  # nnU-Net rotates and scales with 0.2 each
        rotate_range=_rotations(spacing),
        scale_range=[(-0.3, 0.4)] * 3,
        spatial_size=tuple(crop_size),
        mode=("bilinear", "nearest"),
        padding_mode="zeros",  # as crops are padded
        cache_grid=True,
    )


def _rotations(spacing: Sequence[float]) -> list[float]:
    """±30° about every axis; for strongly anisotropic voxels only about the coarse one."""
    full = np.deg2rad(30)
    coarse = int(np.argmax(spacing))
    if max(spacing) < 3 * min(spacing):
        return [full] * 3
    return [full if axis == coarse else 0.0 for axis in range(3)]


def _intensity(strength: float) -> list[MapTransform]:
    blur = {f"sigma_{axis}": (0.5, 1.0) for axis in "xyz"}
    gamma = {"gamma": (0.7, 1.5), "retain_stats": True}
    return [
        RandGaussianNoised(_IMAGE, prob=0.1 * strength, std=0.3),
        RandGaussianSmoothd(_IMAGE, prob=0.2 * strength, **blur),
        RandScaleIntensityd(_IMAGE, prob=0.15 * strength, factors=0.25),
        RandScaleIntensityFixedMeand(_IMAGE, prob=0.15 * strength, factors=0.25, preserve_range=True),
        RandSimulateLowResolutiond(_IMAGE, prob=0.25 * strength, zoom_range=(0.5, 1.0)),
        RandAdjustContrastd(_IMAGE, prob=0.1 * strength, invert_image=True, **gamma),
        RandAdjustContrastd(_IMAGE, prob=0.3 * strength, **gamma),
    ]


def _mirroring(axes: Sequence[int]) -> list[Randomizable]:
    return [RandFlipd(_BOTH, prob=0.5, spatial_axis=axis) for axis in axes]
