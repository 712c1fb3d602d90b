"""Endless, reproducible streams of crops for training.

Sample number n depends on the seed and on n alone: not on how many processes load, nor on where a run
was interrupted. A resumed run therefore sees exactly what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from topomae.data.augmentation import Augmentation
from topomae.data.cache import PreprocessedCases
from topomae.data.crops import cut_crop, offset_around, random_offset, token_grid
from topomae.data.key_points import informative_axes, key_points
from topomae.data.plan import Plan

_ORDER, _SAMPLE = 0, 1  # separate the random numbers of the epoch's order from those of a sample


class PretrainingCrops(Dataset):
    """Masked crops with their place in the volume, from images alone.

    A sample is a dictionary: `image` (C, *crop_size) float32, `mask` (*token grid) bool, True where
    hidden, `key_points` (9, 3) float32, `informative` (3,) bool, `case` int64.
    """

    def __init__(self, cases: PreprocessedCases, plan: Plan, *, mask_ratio: float, seed: int):
        self.cases = cases
        self.plan = plan
        self.mask_ratio = mask_ratio
        self.seed = seed

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        case = case_of_sample(index, len(self.cases), self.seed)
        random = np.random.default_rng([self.seed, _SAMPLE, index])
        image = self.cases[case].image
        size = self.plan.crop_size
        crop = cut_crop(image, None, random_offset(image.shape[1:], size, random), size)
        mask = random_mask(token_grid(size, self.plan.patch_size), self.mask_ratio, random)
        return {
            "image": torch.from_numpy(crop.image),
            "mask": torch.from_numpy(mask),
            "key_points": torch.from_numpy(key_points(crop.offset, size, crop.volume_shape)),
            "informative": torch.from_numpy(informative_axes(size, crop.volume_shape)),
            "case": torch.tensor(case),
        }


class FinetuningCrops(Dataset):
    """Augmented crops with labels.

    A sample is a dictionary: `image` (C, *crop_size) float32, `label` (1, *crop_size) int64.
    """

    def __init__(
        self,
        cases: PreprocessedCases,
        plan: Plan,
        *,
        seed: int,
        foreground_fraction: float,
        augmentation: float = 1.0,
    ):
        self.cases = cases
        self.plan = plan
        self.seed = seed
        self.foreground_fraction = foreground_fraction
        self.augmentation = Augmentation(plan.crop_size, plan.spacing, plan.mirror_axes, strength=augmentation)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        case = self.cases[case_of_sample(index, len(self.cases), self.seed)]
        random = np.random.default_rng([self.seed, _SAMPLE, index])
        offset = self._offset(case, random)
        cut_size = self.augmentation.cut_size
        margin = [(cut - crop) // 2 for cut, crop in zip(cut_size, self.plan.crop_size, strict=True)]
        start = [o - m for o, m in zip(offset, margin, strict=True)]
        cut = cut_crop(case.image, case.label, start, cut_size, padded_for=self.plan.crop_size)
        image, label = self.augmentation(cut.image, cut.label, int(random.integers(2**31)))
        return {"image": image, "label": label}

    def _offset(self, case, random: np.random.Generator) -> tuple[int, int, int]:  # noqa: ANN001
        shape, size = case.image.shape[1:], self.plan.crop_size
        classes = [voxels for _, voxels in sorted(case.foreground.items()) if len(voxels)]
        if not classes or random.random() >= self.foreground_fraction:
            return random_offset(shape, size, random)
        voxels = classes[random.integers(len(classes))]
        return offset_around(voxels[random.integers(len(voxels))], shape, size, random)


def case_of_sample(index: int, count: int, seed: int) -> int:
    """Which of `count` cases sample `index` comes from: every case once per epoch, in a new order each time."""
    epoch, position = divmod(index, count)
    return int(np.random.default_rng([seed, _ORDER, epoch]).permutation(count)[position])


def random_mask(grid: tuple[int, int, int], ratio: float, random: np.random.Generator) -> np.ndarray:
    """Mask of blocks, (*grid) bool, True where hidden: `ratio` of them, at least one hidden and one visible."""
    count = int(np.prod(grid))
    hidden = min(max(1, round(ratio * count)), max(1, count - 1))
    mask = np.zeros(count, bool)
    mask[random.permutation(count)[:hidden]] = True
    return mask.reshape(grid)


def batches(
    crops: Dataset, *, batch_size: int, first_step: int, last_step: int, workers: int, pin_memory: bool
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of the steps `first_step` … `last_step` - 1 of a stream of crops, in order."""
    samples = range(first_step * batch_size, last_step * batch_size)
    loader = DataLoader(
        crops,
        batch_size=batch_size,
        sampler=samples,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=False,
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # else the loader draws from the global one, and a resume is not the same
    )
    return iter(loader)
