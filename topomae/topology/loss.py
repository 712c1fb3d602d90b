"""The topological loss: squared 2-Wasserstein distance between the diagrams of reconstruction and input."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from topomae.errors import BadDataError, BadSettingError
from topomae.topology.background import HostCopy, PendingDiagrams, PendingLoss, available_cores, pool
from topomae.topology.diagram import DIMENSIONS, Diagram
from topomae.topology.matching import match
from topomae.topology.persistence import checked_dimensions, checked_volume, persistence

REDUCTIONS = ("relative", "sum")
_LEAST_PERSISTENCE_PER_VOXEL = 1e-5
"""Floor of the relative loss's divisor, for crops of constant intensity; real crops have 1e-4 or more."""


@dataclass(frozen=True)
class LossReport:
    """What the last evaluation found, means over samples and channels.

    Attributes:
        squared: dimension to squared 2-Wasserstein distance, unweighted, intensity units.
        essential: squared difference of the global minima.
        value: the loss, before the factor `every_k`.
        largest: the largest value of a single sample and channel.
        gap: certified bound of what `squared` overstates in total; about 0 unless a budget ended a matching.
        incomplete: number of matchings that a budget ended.
        seconds: from the arrival of the reconstruction in main memory until the result was ready.
        ready_at: when that was, in `time.perf_counter`'s seconds (as `seconds`, not reproducible).
    """

    squared: dict[int, float]
    essential: float
    value: float
    largest: float
    gap: float
    incomplete: int
    seconds: float
    ready_at: float


class TopologicalLoss(nn.Module):
    """Half the squared 2-Wasserstein distance of persistence diagrams, summed over dimensions.

    The topological loss of "Self Pre-training with Topology- and Spatiality-aware Masked Autoencoders for 3D
    Medical Image Segmentation" (arXiv 2406.10519),

        L = 1/2 sum_i w_i W2(D_i(x), D_i(x_hat))^2  +  1/2 w_0 (min x - min x_hat)^2

    averaged over samples and channels. The second term is the essential component, which no diagram point
    holds. The gradient is exact: it sits at the voxels where features of x_hat are born and die (1 to 3 % of
    them). It flows to x_hat only. Nothing depends on the number of threads: the same input gives the same
    bits.

    Scale. `reduction="relative"` divides the loss of each sample by that of a constant reconstruction, 1/2
    sum_i w_i sum_p h_p^2 over the points of the input's diagrams (h: distance to the diagonal). Thus 0 is a
    perfect topology and 1 is none at all, whatever the crop size, intensity unit or organ, and a weight of
    0.5 stands in a sane proportion to a mean squared error of normalised intensities. An untrained decoder
    gives noise, which has far more features than the image: values of 10 to 20 are normal in the first
    steps. The value is reported as it is, but where it exceeds `clip` the sample's gradient is scaled by
    clip / value, so that topology cannot drown the reconstruction before there is one; training ends far
    below 1, where the gradient is exactly that of the reported value. `reduction="sum"` is the bare formula,
    20 to 5000 for a 96^3 crop of unit variance, never clipped.

    Intensities should be normalised with the input's statistics for both volumes. Under mixed precision the
    reconstruction should leave the network as float32: rounding to bfloat16 turns the gradient by 25 to 45
    degrees.

    Args:
        dims: dimensions compared, among 0 (components), 1 (loops) and 2 (voids).
        weights: w_i, one per dimension of `dims`, or a mapping; 1 if not given.
        essential: include the second term.
        reduction: "relative" or "sum", see above.
        clip: largest relative value with full gradient; None never clips.
        every_k: evaluate at every k-th call only, k times as strong; other calls return 0. Calls are counted
            in the buffer `calls`, so that a run resumed from `state_dict` goes on in step, unless they are
            numbered by the caller.
        budget: work allowed per matching, see `matching.match`; None for exact always.
        threads: worker threads; by default one per available core, at most 8.
        backend: see `persistence`.

    Raises:
        BadSettingError: a setting is not valid.
    """

    def __init__(
        self,
        dims: Sequence[int] = DIMENSIONS,
        weights: Sequence[float] | Mapping[int, float] | None = None,
        *,
        essential: bool = True,
        reduction: str = "relative",
        clip: float | None = 1.0,
        every_k: int = 1,
        budget: int | None = None,
        threads: int | None = None,
        backend: str = "auto",
    ):
        super().__init__()
        self.dims = checked_dimensions(dims)
        self.weights = _checked_weights(dims, weights)
        if reduction not in REDUCTIONS:
            raise BadSettingError(f"unknown reduction '{reduction}'", hint=f"Use one of {', '.join(REDUCTIONS)}.")
        if every_k < 1:
            raise BadSettingError(f"every_k is {every_k}", hint="Use 1 (every call) or more.")
        if clip is not None and clip <= 0:
            raise BadSettingError(f"clip is {clip}", hint="Use a positive number or None.")
        self.essential = essential
        self.reduction = reduction
        self.clip = clip
        self.every_k = every_k
        self.budget = budget
        self.threads = threads or available_cores()
        self.backend = backend
        self.last: LossReport | None = None
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x_hat: torch.Tensor, x: torch.Tensor | Sequence[Sequence[Diagram]]) -> torch.Tensor:
        """The loss of a batch.

        Args:
            x_hat: (B, C, D, H, W) reconstruction, any floating type and device; computed on as float32.
            x: (B, C, D, H, W) input, or its diagrams, B sequences of C (see `diagrams`).

        Returns:
            Scalar float32 tensor on x_hat's device; differentiable (once) with respect to x_hat.

        Raises:
            BadDataError: shapes do not fit, or a voxel is NaN or infinite.
        """
        return self.submit(x_hat, x).result()

    def due(self, call: int) -> bool:
        """Whether the call of that number, from 0, is one that is evaluated."""
        return call % self.every_k == 0

    def submit(
        self,
        x_hat: torch.Tensor,
        x: torch.Tensor | PendingDiagrams | Sequence[Sequence[Diagram]],
        call: int | None = None,
    ) -> PendingLoss:
        """Start computing in the background, and return at once.

        Other work, such as the other branch of a network on the GPU, may run until `result()` is called.

        Args:
            x_hat: as for `forward`. x: as for `forward`, or what `begin_diagrams` gave.
            call: number of this call, from 0, where the caller counts (say, the step of a training).
        """
        if x_hat.ndim != 5:
            raise BadDataError(
                f"a reconstruction of shape {tuple(x_hat.shape)} is not a batch of volumes",
                hint="Give (B, C, D, H, W).",
            )
        if call is None:
            call = int(self.calls)
            self.calls += 1
        if not self.due(call):
            return PendingLoss(x_hat)
        reconstruction = HostCopy(x_hat)
        if isinstance(x, torch.Tensor):
            if x.shape != x_hat.shape:
                raise BadDataError(f"input {tuple(x.shape)} and reconstruction {tuple(x_hat.shape)} differ in shape")
            targets = HostCopy(x)
        elif isinstance(x, PendingDiagrams):
            targets = x
        else:
            targets = _checked_diagrams(x, x_hat.shape)
        future = pool("submitted", 4).submit(self._compute, reconstruction, targets)
        return PendingLoss(x_hat, future, self.every_k, self._reported)

    def diagrams(self, x: torch.Tensor) -> list[list[Diagram]]:
        """Diagrams of a batch, to be given to `forward` in place of the batch (from a data loader, or once
        for all).

        Args:
            x: (B, C, D, H, W).

        Returns:
            B lists of C diagrams.
        """
        return self.begin_diagrams(x).result()

    def begin_diagrams(self, x: torch.Tensor) -> PendingDiagrams:
        """Start on the diagrams of a batch in the background, say while a network reconstructs it.

        Args:
            x: (B, C, D, H, W).
        """
        batch = HostCopy(x)

        def diagram(sample: int, channel: int) -> Diagram:
            return self._diagram(batch.volumes()[sample, channel], "the input")

        samples, channels = x.shape[:2]
        return PendingDiagrams(
            [[self._workers().submit(diagram, b, c) for c in range(channels)] for b in range(samples)]
        )

    def _workers(self) -> ThreadPoolExecutor:
        return pool("topology", self.threads)

    def _diagram(self, volume: np.ndarray, name: str = "the volume", threads: int = 1) -> Diagram:
        return persistence(checked_volume(volume, name), self.dims, self.backend, threads)

    def _compute(
        self, reconstruction: HostCopy, targets: HostCopy | PendingDiagrams | list[Diagram]
    ) -> tuple[LossReport, np.ndarray]:
        """Report and gradient (B, C, D, H, W) float32; runs in a thread of its own."""
        predicted = reconstruction.volumes()
        arrived = time.perf_counter()
        shape = predicted.shape
        predicted = predicted.reshape(-1, *shape[2:])
        wanted = targets.volumes().reshape(-1, *shape[2:]) if isinstance(targets, HostCopy) else []
        workers = self._workers()
        share = max(1, self.threads // (len(predicted) + len(wanted)))
        predicted_diagrams = [workers.submit(self._diagram, v, "the reconstruction", share) for v in predicted]
        wanted_diagrams = [workers.submit(self._diagram, v, "the input", share) for v in wanted]
        predicted_diagrams = [future.result() for future in predicted_diagrams]
        if isinstance(targets, PendingDiagrams):
            targets = _checked_diagrams(targets.result(), shape)
        wanted_diagrams = [future.result() for future in wanted_diagrams] or targets

        pairs = list(zip(wanted_diagrams, predicted_diagrams, strict=True))
        matchings = {
            (sample, dim): workers.submit(
                match, pairs[sample][0].values[dim], pairs[sample][1].values[dim], self.budget
            )
            for dim in sorted(self.dims, key=lambda dim: dim != 1)  # loops take longest
            for sample in range(len(pairs))
        }
        matchings = {key: future.result() for key, future in matchings.items()}

        gradient = np.empty((len(pairs), int(np.prod(shape[2:]))), np.float32)
        values = []
        for sample, (target, found) in enumerate(pairs):
            value, row = self._value_and_gradient(target, found, {d: matchings[sample, d] for d in self.dims})
            values.append(value)
            gradient[sample] = row / len(pairs)
        essential = [(found.essential_value - target.essential_value) ** 2 for target, found in pairs]
        report = LossReport(
            squared={
                dim: float(np.mean([matchings[s, dim].squared_distance for s in range(len(pairs))]))
                for dim in self.dims
            },
            essential=float(np.mean(essential)) if self.essential else 0.0,
            value=float(np.mean(values)),
            largest=max(values),
            gap=float(sum(matching.gap for matching in matchings.values()) / len(pairs)),
            incomplete=sum(not matching.complete for matching in matchings.values()),
            seconds=time.perf_counter() - arrived,
            ready_at=time.perf_counter(),
        )
        return report, gradient.reshape(shape)

    def _value_and_gradient(self, target: Diagram, found: Diagram, matchings: dict) -> tuple[float, np.ndarray]:
        """Loss of one volume, and its gradient as a flat float64 array."""
        value = 0.0
        voxels, slopes = [], []
        for dim, matching in matchings.items():
            weight = self.weights[dim]
            value += weight * matching.squared_distance / 2
            voxels.append(found.voxels[dim].ravel())
            slopes.append(weight * _point_gradient(target.values[dim], found.values[dim], matching.partner).ravel())
        if self.essential:
            difference = found.essential_value - target.essential_value
            weight = self.weights.get(0, 1.0)
            value += weight * difference**2 / 2
            voxels.append(np.array([found.essential_voxel]))
            slopes.append(np.array([weight * difference]))
        size = int(np.prod(found.shape))
        # One voxel may serve several points: contributions add up.
        gradient = np.bincount(np.concatenate(voxels), np.concatenate(slopes), minlength=size)
        if self.reduction == "relative":
            nothing = sum(self.weights[dim] * target.total_persistence([dim]) / 2 for dim in self.dims)
            divisor = max(nothing, _LEAST_PERSISTENCE_PER_VOXEL * size)
            value /= divisor
            gradient /= divisor
            if self.clip is not None and value > self.clip:
                gradient *= self.clip / value
        return value, gradient

    def _reported(self, report: LossReport) -> None:
        self.last = report

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"dims={self.dims}, weights={self.weights}, reduction={self.reduction}, every_k={self.every_k}"


def _point_gradient(target: np.ndarray, found: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Gradient of W2^2 / 2 with respect to the births and deaths of `found`, (n, 2)."""
    gradient = np.empty_like(found)
    half_life = np.diff(found)[:, 0] / 2  # alone: (death - birth)^2 / 4
    gradient[:, 0] = -half_life
    gradient[:, 1] = half_life
    matched = partner >= 0
    gradient[partner[matched]] = found[partner[matched]] - target[matched]
    return gradient


def _checked_weights(dims: Sequence[int], weights: Sequence[float] | Mapping[int, float] | None) -> dict[int, float]:
    if weights is None:
        weights = [1.0] * len(dims)
    if not isinstance(weights, Mapping):
        if len(weights) != len(dims):
            raise BadSettingError(f"{len(weights)} weights for {len(dims)} dimensions", hint="Give one for each.")
        weights = dict(zip(dims, weights, strict=True))
    if not set(dims) <= set(weights) or any(not 0 <= float(weights[dim]) < float("inf") for dim in dims):
        raise BadSettingError(f"weights {dict(weights)} do not fit dimensions {tuple(dims)}")
    return {dim: float(weights[dim]) for dim in sorted(dims)}


def _checked_diagrams(diagrams: Sequence, shape: Sequence[int]) -> list[Diagram]:
    """The diagrams of a batch as a flat list, samples outside, channels inside."""
    flat = [d for sample in diagrams for d in ([sample] if isinstance(sample, Diagram) else sample)]
    if len(flat) != shape[0] * shape[1] or any(d.shape != tuple(shape[2:]) for d in flat):
        raise BadDataError(
            f"{len(flat)} diagrams do not fit a reconstruction of shape {tuple(shape)}",
            hint="Give one diagram per sample and channel, of volumes of the same size.",
        )
    return flat
