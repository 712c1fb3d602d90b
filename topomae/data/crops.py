"""Cutting crops out of preprocessed volumes, with padding where a volume is smaller than the crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PADDING = 0.0  # the mean intensity after normalization


@dataclass(frozen=True)
class Crop:
    """A crop and where it came from.

    Attributes:
        image: (C, *crop_size) float32.
        label: (*crop_size) class indices, or None.
        offset: (i, j, k) voxel of the padded volume at which the crop begins.
        volume_shape: (i, j, k) voxels of the padded volume.
    """

    image: np.ndarray
    label: np.ndarray | None
    offset: tuple[int, int, int]
    volume_shape: tuple[int, int, int]


def padding_before(shape: Sequence[int], crop_size: Sequence[int]) -> tuple[int, int, int]:
    """Voxels put before a volume along each axis so that it lies centred in at least `crop_size`."""
    return tuple(max(0, c - n) // 2 for n, c in zip(shape, crop_size, strict=True))


def padded_shape(shape: Sequence[int], crop_size: Sequence[int]) -> tuple[int, int, int]:
    """Shape of the volume after padding."""
    return tuple(max(n, c) for n, c in zip(shape, crop_size, strict=True))


def cut_crop(
    image: np.ndarray,
    label: np.ndarray | None,
    offset: Sequence[int],
    crop_size: Sequence[int],
    *,
    padded_for: Sequence[int] | None = None,
) -> Crop:
    """Cut a crop at `offset` of the padded volume.

    Args:
        image: (C, I, J, K) preprocessed volume, may be memory-mapped.
        label: (I, J, K) class indices, or None.
        offset: (i, j, k) voxel of the padded volume; what lies outside of it is padding, too.
        crop_size: (i, j, k) voxels.
        padded_for: crop size that the volume is padded to, if not `crop_size`.
    """
    shape = image.shape[1:]
    padded_for = crop_size if padded_for is None else padded_for
    before = padding_before(shape, padded_for)
    start = [o - b for o, b in zip(offset, before, strict=True)]
    inside = tuple(slice(max(0, s), min(n, s + c)) for s, n, c in zip(start, shape, crop_size, strict=True))
    missing = [(part.start - s, s + c - part.stop) for part, s, c in zip(inside, start, crop_size, strict=True)]
    cropped = np.pad(image[(slice(None), *inside)], [(0, 0), *missing], constant_values=PADDING)
    cropped_label = None if label is None else np.pad(label[inside], missing)
    return Crop(
        np.ascontiguousarray(cropped, np.float32),
        cropped_label,
        tuple(offset),
        padded_shape(shape, padded_for),
    )


def token_grid(shape: Sequence[int], patch_size: Sequence[int]) -> tuple[int, int, int]:
    """Number of ViT tokens (which are also the blocks of a mask) along each axis, the last one padded if need be."""
    return tuple(-(-n // p) for n, p in zip(shape, patch_size, strict=True))


def random_offset(shape: Sequence[int], crop_size: Sequence[int], random: np.random.Generator) -> tuple[int, int, int]:
    """A crop position, uniform over all that fit into the padded volume."""
    return tuple(int(random.integers(0, max(n, c) - c + 1)) for n, c in zip(shape, crop_size, strict=True))


def offset_around(
    voxel: Sequence[int], shape: Sequence[int], crop_size: Sequence[int], random: np.random.Generator
) -> tuple[int, int, int]:
    """A crop position, uniform over those that contain `voxel` of the unpadded volume."""
    before = padding_before(shape, crop_size)
    offset = []
    for v, b, n, c in zip(voxel, before, shape, crop_size, strict=True):
        room = max(n, c) - c
        lowest, highest = max(0, v + b - c + 1), min(room, v + b)
        offset.append(int(random.integers(lowest, highest + 1)))
    return tuple(offset)
