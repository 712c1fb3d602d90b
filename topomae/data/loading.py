"""Endless, reproducible streams of crops for training.

Sample number n depends on the seed and on n alone: not on how many processes load, nor on where a run
was interrupted. A resumed run therefore sees exactly what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from topomae.data.augmentation import Augmentation, hide_modalities
from topomae.data.cache import PreprocessedCases
from topomae.data.crops import cut_crop, offset_around, random_offset, token_grid
from topomae.data.intensity_views import two_views
from topomae.data.key_points import informative_axes, key_points
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed
from topomae.errors import TopoMAEError

_ORDER, _SAMPLE, _VIEWS = 0, 1, 2  # separate random numbers: of an epoch's order, a sample, its two views


class PretrainingCrops(Dataset):
    """Masked crops with their place in the volume, from images alone.

    A sample is a dictionary: `image` (C, *crop_size) float32, `mask` (*token grid) bool, True where
    hidden, `key_points` (9, 3) float32, `informative` (3,) bool, `case` int64; of several modalities also
    `available` (C,) bool, those that may be looked at, and where cases lack some `there` (C,) bool, those that the
    case has. With `views` also two ways of looking at the crop: `view`,
    the image as the second one has it, `seen` (2, C) bool, the modalities that each shows, and the numbers `subject`,
    equal for crops of one subject, and `sample`, int64.
    """

    def __init__(
        self,
        cases: PreprocessedCases,
        plan: Plan,
        *,
        mask_ratio: float,
        seed: int,
        modality_dropout: float = 0.0,
        views: bool = False,
    ):
        self.cases = cases
        self.plan = plan
        self.mask_ratio = mask_ratio
        self.seed = seed
        self.modality_dropout = modality_dropout
        self.subjects = _subject_numbers(cases) if views else None
        self.some_lack = any(case.missing for case in cases.cases)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        case = case_of_sample(index, len(self.cases), self.seed)
        random = np.random.default_rng([self.seed, _SAMPLE, index])
        prepared = self.cases[case]
        image = prepared.image
        size = self.plan.crop_size
        crop = cut_crop(image, None, random_offset(image.shape[1:], size, random), size)
        mask = random_mask(token_grid(size, self.plan.patch_size), self.mask_ratio, random)
        return {
            "image": torch.from_numpy(crop.image),
            "mask": torch.from_numpy(mask),
            "key_points": torch.from_numpy(key_points(crop.offset, size, crop.volume_shape)),
            "informative": torch.from_numpy(informative_axes(size, crop.volume_shape)),
            "case": torch.tensor(case),
            **shown_modalities(prepared, self.modality_dropout, random),
            **({"there": torch.from_numpy(_there(prepared))} if self.some_lack else {}),
            **self._views(index, case, prepared, crop.image),
        }

    def _views(self, index: int, case: int, prepared: Preprocessed, crop: np.ndarray) -> dict[str, torch.Tensor]:
        """What alignment needs; random numbers of its own leave the rest of the sample as it is without."""
        if self.subjects is None:
            return {}
        random = np.random.default_rng([self.seed, _VIEWS, index])
        view, seen = two_views(crop, _there(prepared), random)
        numbers = {"subject": torch.tensor(self.subjects[case]), "sample": torch.tensor(index)}
        return {"view": view, "seen": seen, **numbers}


class FinetuningCrops(Dataset):
    """Augmented crops with labels.

    A sample is a dictionary: `image` (C, *crop_size) float32, `label` (1, *crop_size) int64; of several
    modalities also `available` (C,) bool, those that may be looked at.
    """

    def __init__(
        self,
        cases: PreprocessedCases,
        plan: Plan,
        *,
        seed: int,
        foreground_fraction: float,
        augmentation: float = 1.0,
        modality_dropout: float = 0.0,
    ):
        self.cases = cases
        self.plan = plan
        self.seed = seed
        self.foreground_fraction = foreground_fraction
        self.modality_dropout = modality_dropout
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
        return {"image": image, "label": label, **shown_modalities(case, self.modality_dropout, random)}

    def _offset(self, case, random: np.random.Generator) -> tuple[int, int, int]:  # noqa: ANN001
        shape, size = case.image.shape[1:], self.plan.crop_size
        classes = [voxels for _, voxels in sorted(case.foreground.items()) if len(voxels)]
        if not classes or random.random() >= self.foreground_fraction:
            return random_offset(shape, size, random)
        voxels = classes[random.integers(len(classes))]
        return offset_around(voxels[random.integers(len(voxels))], shape, size, random)


def shown_modalities(case: Preprocessed, dropout: float, random: np.random.Generator) -> dict[str, torch.Tensor]:
    """Which modalities of a case a sample shows; nothing to say where there is but one."""
    if len(case.image) == 1:
        return {}
    return {"available": torch.from_numpy(hide_modalities(_there(case), dropout, random))}


def _there(case: Preprocessed) -> np.ndarray:
    """(C,) bool, the modalities that a case has."""
    return np.ones(len(case.image), bool) if case.available is None else np.array(case.available)


def _subject_numbers(cases: PreprocessedCases) -> list[int]:
    """A number for the subject of each case."""
    names = [case.subject or case.name for case in cases.cases]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return [numbers[name] for name in names]


def case_of_sample(index: int, count: int, seed: int) -> int:
    """Which of `count` cases sample `index` comes from: every case once per epoch, in a new order each time."""
    epoch, position = divmod(index, count)
    return int(_order_of_epoch(epoch, count, seed)[position])


def order_of_use(count: int, seed: int, samples: int) -> list[int]:
    """Places of the cases that the first `samples` samples come from, in the order of their first use."""
    return [case_of_sample(index, count, seed) for index in range(min(count, samples))]


@lru_cache(maxsize=4)  # a batch may lie across two epochs, of two groups of cases
def _order_of_epoch(epoch: int, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def random_mask(grid: tuple[int, int, int], ratio: float, random: np.random.Generator) -> np.ndarray:
    """Mask of blocks, (*grid) bool, True where hidden: `ratio` of them, at least one hidden and one visible."""
    count = int(np.prod(grid))
    hidden = min(max(1, round(ratio * count)), max(1, count - 1))
    mask = np.zeros(count, bool)
    mask[random.permutation(count)[:hidden]] = True
    return mask.reshape(grid)


def batches(
    crops: Dataset,
    *,
    batch_size: int,
    first_step: int,
    last_step: int,
    workers: int,
    pin_memory: bool,
    rows: range | None = None,
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of the steps `first_step` … `last_step` - 1 of a stream of crops, in order.

    Of each batch only `rows` are loaded, where given: the others are another process's.

    Raises:
        TopoMAEError: while iterating, where a case cannot be loaded.
    """
    rows = range(batch_size) if rows is None else rows
    own = (step * batch_size + row for step in range(first_step, last_step) for row in rows)
    loader = DataLoader(
        _Careful(crops),
        batch_size=len(rows),
        sampler=own,
        collate_fn=_collated,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=False,
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # else the loader draws from the global one, and a resume is not the same
    )
    return map(_raised, iter(loader))


class _Careful(Dataset):
    """Samples, or the error in place of one: the loader would bury it under a traceback of its process."""

    def __init__(self, samples: Dataset):
        self._samples = samples

    def __getitem__(self, index: int) -> dict[str, torch.Tensor] | TopoMAEError:
        try:
            return self._samples[index]
        except TopoMAEError as error:
            return error


def _collated(samples: list[dict[str, torch.Tensor] | TopoMAEError]) -> dict[str, torch.Tensor] | TopoMAEError:
    return next((one for one in samples if isinstance(one, TopoMAEError)), None) or default_collate(samples)


def _raised(batch: dict[str, torch.Tensor] | TopoMAEError) -> dict[str, torch.Tensor]:
    if isinstance(batch, TopoMAEError):
        raise batch
    return batch
