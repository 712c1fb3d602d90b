"""Work of the topological loss that goes on beside other work: copies from the GPU, threads, results to come."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from topomae.topology.diagram import Diagram


def available_cores() -> int:
    """Cores this process may use, at most 8."""
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)


def pool(name: str, threads: int) -> ThreadPoolExecutor:
    """A thread pool, shared by all losses of a process (a forked process gets its own)."""
    return _pool(os.getpid(), name, threads)


@lru_cache(maxsize=16)
def _pool(process: int, name: str, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix=name)


class HostCopy:
    """A float32 copy in main memory; from a GPU the copy runs in the background."""

    def __init__(self, tensor: torch.Tensor):
        tensor = tensor.detach()
        self._event = None
        if tensor.is_cuda:
            self._host = torch.empty(tensor.shape, dtype=torch.float32, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            # A real copy: the caller may change the tensor in place before the result is asked for.
            self._host = tensor.to("cpu", torch.float32, copy=True)

    def volumes(self) -> np.ndarray:
        """(B, C, D, H, W) float32, once the copy is there."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.contiguous().numpy()


class PendingDiagrams:
    """The diagrams of a batch being computed in the background; see `TopologicalLoss.begin_diagrams`."""

    def __init__(self, futures: Sequence[Sequence[Future]]):
        self._futures = futures

    def result(self) -> list[list[Diagram]]:
        """Wait for them: one list of diagrams, one per channel, for each sample."""
        return [[future.result() for future in sample] for sample in self._futures]


class PendingLoss:
    """A loss being computed in the background; see `TopologicalLoss.submit`.

    Args:
        x_hat: the reconstruction, to which the gradient belongs.
        future: of the report and the gradient; None for a call that is not evaluated.
        factor: what value and gradient are multiplied by.
        on_report: told the report when the result is asked for.

    Attributes:
        report: what was found; None until the result was asked for, and for a call that is not evaluated.
    """

    def __init__(
        self,
        x_hat: torch.Tensor,
        future: Future | None = None,
        factor: float = 1.0,
        on_report: Callable[[Any], None] = lambda report: None,
    ):
        self.report: Any = None
        self._x_hat = x_hat
        self._future = future
        self._factor = factor
        self._on_report = on_report

    def done(self) -> bool:
        """True if `result` will not wait."""
        return self._future is None or self._future.done()

    def result(self) -> torch.Tensor:
        """Wait for the loss; what `TopologicalLoss.forward` returns and raises."""
        if self._future is None:
            return _WithGradient.apply(self._x_hat, 0.0, None)
        self.report, gradient = self._future.result()
        self._on_report(self.report)
        value = self._factor * self.report.value
        return _WithGradient.apply(self._x_hat, value, torch.from_numpy(gradient) * self._factor)


class _WithGradient(torch.autograd.Function):
    """A number that was computed elsewhere, with its gradient."""

    @staticmethod
    def forward(ctx: Any, x_hat: torch.Tensor, value: float, gradient: torch.Tensor | None) -> torch.Tensor:
        ctx.shape = x_hat.shape
        ctx.dtype = x_hat.dtype
        ctx.save_for_backward(None if gradient is None else gradient.to(x_hat.device))
        return torch.tensor(value, dtype=torch.float32, device=x_hat.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        if gradient is None:
            return upstream.new_zeros(()).to(ctx.dtype).expand(ctx.shape), None, None
        return (gradient * upstream).to(ctx.dtype), None, None
