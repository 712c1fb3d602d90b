"""Scores of every class for a whole preprocessed volume, from a network that sees one crop at a time.

The windows, their overlap and their Gaussian weights are those of MONAI's `sliding_window_inference`, and so
is the result. The difference is memory: MONAI adds up the scores of the whole volume; here the windows are
walked plane by plane along the first axis, and planes that no further window touches are handed out.

Memory, for L classes, planes of J x K voxels and windows of W planes along the first axis, in float32:

    4 L W J K   bytes where window scores are added up (on the GPU, or on the CPU if that is too small)
    4 L H J K   bytes on the CPU for the H planes handed out and not yet used (`StreamedScores`)

A 512 x 512 x 400 volume with 9 classes and windows of 128 planes (J K = 512 x 400): 0.94 GB added up and at
most 1.1 GB handed out (H <= 78 planes compared at once by `restore_labels` + 64 of the last row of windows),
instead of 4.2 GB for all scores and weights at once. With the image (float32, 0.42 GB, about five times that
for a moment while it is read and resampled), the label map and torch itself, segmenting stays below 5 GB.
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

from topomae.data.plan import Plan
from topomae.errors import RunError

# Voxels of one batch of windows on a GPU; 4 windows of 64 x 128 x 128.
_BATCH_VOXELS = 4 * 64 * 128 * 128
_MAX_BATCH = 16
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
        fitting = 1 if device.type == "cpu" else min(_MAX_BATCH, max(1, _BATCH_VOXELS // voxels))
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

    Returns:
        (L, I, J, K) float32 logits on the CPU.
    """
    settings = WindowSettings.of(plan, device, mirror=mirror, overlap=overlap, batch=batch)
    scores: torch.Tensor | None = None
    with _evaluating(network):
        for planes, slab in score_slabs(network, image, settings):
            if scores is None:
                scores = torch.empty((slab.shape[0], *image.shape[1:]), dtype=torch.float32)
            scores[:, planes] = slab
    return scores


def score_slabs(
    network: nn.Module,
    image: torch.Tensor,
    settings: WindowSettings,
    *,
    on_windows: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Walk along the first axis and hand out the scores of planes as soon as they are final.

    Args:
        network: in evaluation mode; maps (B, C, *crop_size) to logits (B, L, *crop_size).
        image: (C, I, J, K) float32. Where it is smaller than the crop it is surrounded by zeros.
        settings: see there.
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
            logits = _logits(network, padded, some, settings)
            if adding is None:
                row_weight = _row_weight(weights, windows, padded.shape[1:])
                adding = _Adding(logits.shape[1], row_weight.to(settings.adding_device))
            for window, crop in zip(some, logits, strict=True):
                adding.add(crop * weights, window)
            on_windows(len(some))
        adding.row_done()
        slab = adding.take(end - start)
        first, last = max(start, before[0]), min(end, before[0] + image.shape[1])
        if first < last:
            slab = slab[:, first - start : last - start, inside[0], inside[1]].cpu()
            _check_finite(slab)
            yield slice(first - before[0], last - before[0]), slab


def count_windows(shape: Sequence[int], settings: WindowSettings) -> int:
    """Number of windows that cover a volume of (I, J, K) voxels."""
    padded = [max(n, c) for n, c in zip(shape, settings.crop_size, strict=True)]
    return len(_windows(padded, settings))


class StreamedScores:
    """Scores (L, I, J, K) which are computed while they are read, so that they never exist all at once.

    Behaves like an array to `restore_labels`: `scores[c, planes]` gives a class's planes. Planes must be
    asked for in rising order; those before the first plane asked for last are forgotten.

    Args:
        slabs: from `score_slabs`.
        shape: (L, I, J, K).
    """

    def __init__(self, slabs: Iterator[tuple[slice, torch.Tensor]], shape: tuple[int, int, int, int]):
        self.shape = shape
        self._slabs = slabs
        self._held: list[tuple[int, torch.Tensor]] = []  # first plane, (L, planes, J, K)
        self._known = 0  # planes computed so far
        self._forgotten = 0

    def __getitem__(self, index: tuple[int, slice]) -> torch.Tensor:
        channel, planes = index
        start, stop, _ = planes.indices(self.shape[1])
        if start < self._forgotten:
            raise ValueError(f"plane {start} was forgotten; the first one known is {self._forgotten}")
        self._forget(start)
        while self._known < stop:
            part, slab = next(self._slabs)
            if slab.shape[0] != self.shape[0]:
                raise ValueError(f"the network has {slab.shape[0]} outputs, not {self.shape[0]}")
            self._held.append((part.start, slab))
            self._known = part.stop
        pieces = [slab[channel, max(start - first, 0) : stop - first] for first, slab in self._held]
        return pieces[0] if len(pieces) == 1 else torch.cat([piece for piece in pieces if len(piece)])

    def _forget(self, before: int) -> None:
        kept = []
        for first, slab in self._held:
            if first + slab.shape[1] > before:
                # A copy of the rest, or the forgotten part would stay in memory with it.
                kept.append((first, slab) if first >= before else (before, slab[:, before - first :].clone()))
        self._held = kept
        self._forgotten = before


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

    def take(self, planes: int) -> torch.Tensor:
        """The finished scores (L, planes, J, K) of the first planes; the rest moves up."""
        finished = self._scores[:, :planes] / self._weight[:planes]
        for field in (*self._scores, self._weight):
            rest = len(field) - planes
            field[:rest] = field[planes:].clone()
            field[rest:] = 0
        return finished


def _pad(image: torch.Tensor, crop_size: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
    """Centre an image that is smaller than the crop in zeros; also the planes added before each axis."""
    missing = [max(c - n, 0) for n, c in zip(image.shape[1:], crop_size, strict=True)]
    before = [n // 2 for n in missing]
    sides = [(b, n - b) for b, n in zip(before, missing, strict=True)]
    return F.pad(image, [*chain.from_iterable(reversed(sides))]) if any(missing) else image, before


def _windows(shape: Sequence[int], settings: WindowSettings) -> list[tuple[slice, ...]]:
    """Windows over a volume no smaller than the crop, first axis slowest."""
    steps = [
        n if n == c else max(1, int(c * (1 - settings.overlap)))
        for n, c in zip(shape, settings.crop_size, strict=True)
    ]
    return list(dense_patch_slices(tuple(shape), settings.crop_size, steps))


def _gaussian(settings: WindowSettings) -> torch.Tensor:
    """(*crop_size) weights, highest in the middle, on the network's device."""
    weights = compute_importance_map(
        settings.crop_size, mode="gaussian", sigma_scale=_SIGMA, device=settings.device
    )
    return weights.to(torch.float32)


def _row_weight(
    weights: torch.Tensor, windows: Sequence[tuple[slice, ...]], shape: Sequence[int]
) -> torch.Tensor:
    """Sum of the weights of one row of windows: (crop planes, J, K)."""
    total = weights.new_zeros((weights.shape[0], *shape[1:]))
    for window in windows:
        total[(slice(None), *window[1:])] += weights
    return total


@torch.no_grad()
def _logits(
    network: nn.Module, image: torch.Tensor, windows: Sequence[tuple[slice, ...]], settings: WindowSettings
) -> torch.Tensor:
    """Float32 logits (B, L, *crop) of some windows, averaged over mirrored views."""
    crops = torch.stack([image[(slice(None), *window)] for window in windows]).to(settings.device)
    axes = [axis + 2 for axis in settings.mirror_axes]
    flips = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))
    total: torch.Tensor | None = None
    with _mixed_precision(settings.device):
        for flip in flips:
            answer = network(crops.flip(flip) if flip else crops).float()
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
