"""Scores of every class for a whole preprocessed volume, from a network that sees one crop at a time.

The windows, their overlap and their Gaussian weights are those of MONAI's `sliding_window_inference`, and so
is the result. The difference is memory: MONAI adds up the scores of the whole volume; here the windows are
walked plane by plane along the first axis, and planes that no further window touches are handed out.

Memory, for L classes, planes of J x K voxels and windows of W planes along the first axis, in float32:

    4 L W J K   bytes where window scores are added up (on the GPU, or on the CPU if that is too small)
    4 L H J K   bytes on the CPU for the H planes handed out and not yet used (`streamed_scores.py`)

A 512 x 512 x 400 volume with 9 classes and windows of 128^3 (J K = 512 x 400): 0.94 GB added up and at most
0.7 GB handed out (78 planes that `restore_labels` compares at once, and 16), instead of 4.2 GB for all scores
and weights at once. Measured with a network that needs no memory, CPU: 3.4 GB at the peak of the whole
process, of which 0.5 GB are libraries; 2.2 GB at the peak of reading and resampling, before. A file of
probabilities needs all scores on both grids, 4 L (I J K + input voxels) bytes: 7.6 GB more here (measured for
200 slices: 4.9 GB at the peak, where this gives 3.8 GB and 1.1 GB for the rest).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain, combinations, groupby

import torch
import torch.nn.functional as F
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import nn

from topomae.data.crops import PADDING, padded_shape, padding_before
from topomae.data.plan import Plan
from topomae.errors import RunError

# Voxels of one batch of windows: on a GPU 4 windows of 64 x 128 x 128. On a CPU a few small windows at once take a
# fifth to a half of the time that they take one by one (32 x 32 x 32 and 40 x 56 x 40, PyTorch 2.13 on one core).
_BATCH_VOXELS = {"cuda": 4 * 64 * 128 * 128, "cpu": 2 * 48**3}
_MAX_BATCH = {"cuda": 16, "cpu": 4}
_PLANES = 16  # handed out at once
_SIGMA = 0.125  # of the Gaussian weights, in crop sizes: MONAI's and nnU-Net's value


@dataclass(frozen=True)
class WindowSettings:
    """How a network is moved over a volume.

    Attributes:
        crop_size: (i, j, k) voxels of a window.
        overlap: part of a window that its neighbour covers too, 0 <= overlap < 1.
        mirror_axes: spatial axes (0, 1, 2) to mirror in every combination, averaging the scores; () for none.
        batch: windows per forward pass.
        device: where the network is.
        adding_device: where scores are added up.
    """

    crop_size: tuple[int, int, int]
    overlap: float
    mirror_axes: tuple[int, ...]
    batch: int
    device: torch.device
    adding_device: torch.device

    @classmethod
    def of(
        cls,
        plan: Plan,
        device: torch.device | str,
        *,
        mirror: bool = False,
        overlap: float = 0.5,
        batch: int | None = None,
    ) -> WindowSettings:
        """Settings for a plan; `batch` None chooses by device."""
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap must be at least 0 and less than 1, not {overlap}")
        device = torch.device(device)
        voxels = plan.crop_size[0] * plan.crop_size[1] * plan.crop_size[2]
        kind = "cpu" if device.type == "cpu" else "cuda"
        fitting = min(_MAX_BATCH[kind], max(1, _BATCH_VOXELS[kind] // voxels))
        axes = plan.mirror_axes if mirror else ()
        return cls(plan.crop_size, overlap, tuple(axes), batch or fitting, device, device)


def predict_scores(
    network: nn.Module,
    image: torch.Tensor,
    plan: Plan,
    *,
    device: torch.device | str,
    mirror: bool = False,
    overlap: float = 0.5,
    batch: int | None = None,
    available: Sequence[bool] | None = None,
) -> torch.Tensor:
    """Compute the class scores of a whole preprocessed volume.

    Args:
        network: on `device`; run in evaluation mode, and left in the mode it was in.
        image: (C, I, J, K) float32, preprocessed, any size, any device.
        plan: for crop size and mirror axes.
        device: where the network is. Mixed precision on a GPU, float32 on a CPU.
        mirror: average the scores over the plan's mirror axes (2, 4 or 8 times the work).
        overlap: part of a window that its neighbour covers too.
        batch: windows per forward pass; None chooses by device.
        available: which of the C modalities may be looked at; None for all.

    Returns:
        (L, I, J, K) float32 logits on the CPU.
    """
    settings = WindowSettings.of(plan, device, mirror=mirror, overlap=overlap, batch=batch)
    scores: torch.Tensor | None = None
    with _evaluating(network):
        for planes, slab in score_slabs(network, image, settings, available=available):
            if scores is None:
                scores = torch.empty((slab.shape[0], *image.shape[1:]), dtype=torch.float32)
            scores[:, planes] = slab
    return scores


def score_slabs(
    network: nn.Module,
    image: torch.Tensor,
    settings: WindowSettings,
    *,
    available: Sequence[bool] | None = None,
    on_windows: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Walk along the first axis and hand out the scores of planes as soon as they are final.

    Args:
        network: in evaluation mode; maps (B, C, *crop_size) and, where modalities are missing, (B, C) bool to
            logits (B, L, *crop_size).
        image: (C, I, J, K) float32. Where it is smaller than the crop it is padded, as for training.
        settings: see there.
        available: which of the C modalities may be looked at; None for all.
        on_windows: called with the number of windows finished since the last call.

    Yields:
        planes: slice of the first axis, in order and without gaps.
        scores: (L, planes, J, K) float32 on the CPU.

    Raises:
        RunError: the network answers with numbers that are not finite.
        torch.OutOfMemoryError: the GPU is too small for these settings.
    """
    padded, before = _pad(image, settings.crop_size)
    inside = tuple(slice(b, b + n) for b, n in zip(before[1:], image.shape[2:], strict=True))
    weights = _gaussian(settings)
    adding: _Adding | None = None
    rows = [
        (start, list(windows))
        for start, windows in groupby(_windows(padded.shape[1:], settings), key=lambda w: w[0].start)
    ]
    ends = [start for start, _ in rows[1:]] + [padded.shape[1]]
    for (start, windows), end in zip(rows, ends, strict=True):
        for at in range(0, len(windows), settings.batch):
            some = windows[at : at + settings.batch]
            logits = _logits(network, padded, some, settings, available)
            if adding is None:
                row_weight = _row_weight(weights, windows, padded.shape[1:])
                adding = _Adding(logits.shape[1], row_weight.to(settings.adding_device))
            for window, crop in zip(some, logits, strict=True):
                adding.add(crop * weights, window)
            on_windows(len(some))
        adding.row_done()
        first, last = max(start, before[0]), min(end, before[0] + image.shape[1])
        for at in range(first, last, _PLANES):
            planes = slice(at - start, min(at + _PLANES, last) - start)
            slab = adding.finished(planes)[:, :, inside[0], inside[1]].cpu()
            _check_finite(slab)
            shift = start - before[0]
            yield slice(planes.start + shift, planes.stop + shift), slab
        adding.drop(end - start)


def count_windows(shape: Sequence[int], settings: WindowSettings) -> int:
    """Number of windows that cover a volume of (I, J, K) voxels."""
    return len(_windows(padded_shape(shape, settings.crop_size), settings))


class _Adding:
    """Weighted scores of the windows around the current row, and the sum of their weights."""

    def __init__(self, channels: int, row_weight: torch.Tensor):
        self._row_weight = row_weight
        self._scores = row_weight.new_zeros((channels, *row_weight.shape))
        self._weight = torch.zeros_like(row_weight)

    def add(self, weighted: torch.Tensor, window: tuple[slice, ...]) -> None:
        """Add one window's weighted scores (L, *crop) at its place in the row."""
        self._scores[(slice(None), slice(None), *window[1:])] += weighted.to(self._scores.device)

    def row_done(self) -> None:
        """Count the row's weights; every row has the same."""
        self._weight += self._row_weight

    def finished(self, planes: slice) -> torch.Tensor:
        """Scores (L, planes, J, K) that no further window touches."""
        return self._scores[:, planes] / self._weight[planes]

    def drop(self, planes: int) -> None:
        """Forget the first planes; the rest moves up, to meet the next row of windows."""
        for field in (*self._scores, self._weight):
            rest = len(field) - planes
            field[:rest] = field[planes:].clone()
            field[rest:] = 0


def _pad(image: torch.Tensor, crop_size: Sequence[int]) -> tuple[torch.Tensor, Sequence[int]]:
    """Pad an image that is smaller than the crop as for training; also the voxels put before each axis."""
    shape = image.shape[1:]
    before = padding_before(shape, crop_size)
    missing = [max(c - n, 0) for n, c in zip(shape, crop_size, strict=True)]
    if not any(missing):
        return image, before
    sides = [(b, m - b) for b, m in zip(before, missing, strict=True)]
    return F.pad(image, [*chain.from_iterable(reversed(sides))], value=PADDING), before


def _windows(shape: Sequence[int], settings: WindowSettings) -> list[tuple[slice, ...]]:
    """Windows over a volume no smaller than the crop, first axis slowest."""
    steps = [
        n if n == c else max(1, int(c * (1 - settings.overlap)))
        for n, c in zip(shape, settings.crop_size, strict=True)
    ]
    return list(dense_patch_slices(tuple(shape), settings.crop_size, steps))


def _gaussian(settings: WindowSettings) -> torch.Tensor:
    """(*crop_size) weights, highest in the middle, on the network's device."""
    weights = compute_importance_map(settings.crop_size, mode="gaussian", sigma_scale=_SIGMA, device=settings.device)
    return weights.to(torch.float32)


def _row_weight(weights: torch.Tensor, windows: Sequence[tuple[slice, ...]], shape: Sequence[int]) -> torch.Tensor:
    """Sum of the weights of one row of windows: (crop planes, J, K)."""
    total = weights.new_zeros((weights.shape[0], *shape[1:]))
    for window in windows:
        total[(slice(None), *window[1:])] += weights
    return total


@torch.no_grad()
def _logits(
    network: nn.Module,
    image: torch.Tensor,
    windows: Sequence[tuple[slice, ...]],
    settings: WindowSettings,
    available: Sequence[bool] | None,
) -> torch.Tensor:
    """Float32 logits (B, L, *crop) of some windows, averaged over mirrored views."""
    crops = torch.stack([image[(slice(None), *window)] for window in windows]).to(settings.device)
    axes = [axis + 2 for axis in settings.mirror_axes]
    flips = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))
    which = () if available is None else (torch.tensor([available], device=crops.device).expand(len(crops), -1),)
    total: torch.Tensor | None = None
    with _mixed_precision(settings.device):
        for flip in flips:
            answer = network(crops.flip(flip) if flip else crops, *which).float()
            answer = answer.flip(flip) if flip else answer
            total = answer if total is None else total.add_(answer)
    return total.div_(len(flips)) if len(flips) > 1 else total


def _mixed_precision(device: torch.device) -> torch.autocast | nullcontext:
    if device.type != "cuda":
        return nullcontext()
    return torch.autocast("cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of a block."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _check_finite(slab: torch.Tensor) -> None:
    if not torch.isfinite(slab.sum(dtype=torch.float64)):
        raise RunError(
            "the network's scores are not finite numbers",
            hint="Its training diverged: train again with a lower learning rate.",
        )
