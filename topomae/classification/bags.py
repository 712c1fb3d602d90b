"""Windows that cover a volume, as one sample: what a network looks at to say the volume's class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from topomae.data.augmentation import Augmentation
from topomae.data.cache import PreprocessedCases
from topomae.data.crops import cut_crop, padded_shape
from topomae.data.loading import case_of_sample, shown_modalities
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed

_BAG = 2  # separates these random numbers from others of the same seed
# Part of the crop size. Eight windows would cover a volume that is larger than the crop by a few voxels, and all show
# nearly the same. In training one is enough then.
SPARE = 1 / 8
_SHIFT = 1 / 8  # of the crop size: how far a training window may lie from its place


class TrainingBags(Dataset):
    """Augmented windows of whole volumes with their class; sample n depends on the seed and n alone.

    A sample is a dictionary: `windows` (W, C, *crop_size) float32, `present` (W,) bool, False where the volume has
    fewer windows, `class` int64; of several modalities also `available` (C,) bool, those that may be looked at.

    Args:
        cases: preprocessed images.
        classes: index of the class of each of them.
        plan: for crop size, spacing and mirror axes.
        seed: of everything random.
        most: windows of a sample, at most.
        augmentation: strength, see `Augmentation`.
        modality_dropout: chance that a modality is hidden.
    """

    def __init__(
        self,
        cases: PreprocessedCases,
        classes: Sequence[int],
        plan: Plan,
        *,
        seed: int,
        most: int,
        augmentation: float,
        modality_dropout: float,
    ):
        self.cases, self.classes, self.plan, self.seed = cases, tuple(classes), plan, seed
        self.modality_dropout = modality_dropout
        self.augmentation = Augmentation(plan.crop_size, plan.spacing, plan.mirror_axes, strength=augmentation)
        self.most = most
        size = plan.crop_size
        self.shift = [round(c * _SHIFT) if augmentation else 0 for c in size]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        place = case_of_sample(index, len(self.cases), self.seed)
        case = self.cases[place]
        random = np.random.default_rng([self.seed, _BAG, index])
        offsets = covering_offsets(case.image.shape[1:], self.plan.crop_size, SPARE)
        if len(offsets) > self.most:
            offsets = [offsets[n] for n in sorted(random.choice(len(offsets), self.most, replace=False))]
        moved = random.integers([-s for s in self.shift], [s + 1 for s in self.shift])
        seed = int(random.integers(2**31))  # the same for all windows: a mirrored volume is mirrored everywhere
        windows = [self._window(case, np.add(offset, moved), seed) for offset in offsets]
        missing = self.most - len(windows)
        return {
            "windows": torch.stack(windows + [torch.zeros_like(windows[0])] * missing),
            "present": torch.tensor([True] * len(windows) + [False] * missing),
            "class": torch.tensor(self.classes[place]),
            **shown_modalities(case, self.modality_dropout, random),
        }

    def _window(self, case: Preprocessed, offset: Sequence[int], seed: int) -> torch.Tensor:
        size, cut_size = self.plan.crop_size, self.augmentation.cut_size
        start = [int(o) - (cut - crop) // 2 for o, cut, crop in zip(offset, cut_size, size, strict=True)]
        cut = cut_crop(case.image, None, start, cut_size, padded_for=size)
        return self.augmentation(cut.image, np.zeros(cut_size, np.uint8), seed)[0]


def bags(image: np.ndarray, plan: Plan, most: int) -> list[torch.Tensor]:
    """All windows that cover a volume, in groups like those of training: spread over the volume, `most` at most.

    Args:
        image: (C, I, J, K) preprocessed.
        plan: for the crop size.
        most: windows of a group.
    Returns:
        Groups of (W, C, *crop_size) float32.
    """
    offsets = covering_offsets(image.shape[1:], plan.crop_size)
    groups = -(-len(offsets) // most)
    windows = [torch.from_numpy(cut_crop(image, None, offset, plan.crop_size).image) for offset in offsets]
    return [torch.stack(windows[first::groups]) for first in range(groups)]


def covering_offsets(shape: Sequence[int], crop_size: Sequence[int], spare: float = 0.0) -> list[tuple[int, int, int]]:
    """Where the fewest windows begin that cover a volume, evenly spread, in the volume padded to the crop size.

    Args:
        shape: (i, j, k) voxels of the volume.
        crop_size: (i, j, k) voxels of a window.
        spare: how much of a volume may lie in no window along each axis, as a part of the crop size.
    """
    axes = []
    for n, c in zip(padded_shape(shape, crop_size), crop_size, strict=True):
        count = max(1, math.ceil(n / c - spare))
        if count * c < n:
            axes.append([round((at + 0.5) * n / count - c / 2) for at in range(count)])
        else:
            axes.append([round(at * (n - c) / max(1, count - 1)) for at in range(count)])
    return list(itertools.product(*axes))
