"""Means over the samples of all processes, with gradients as if one process had them all.

Every process computes the loss of the whole batch: it adds its own sums to those of the others. Distributed data
parallel training then averages the gradients of the processes, each of which knows only its own samples; so the
gradient of a sum is taken times the number of processes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, NamedTuple

import torch

from topomae.parallel.distributed import lost_processes_told, processes


class Fraction(NamedTuple):
    """A mean before it is divided: scalars, over this process's samples.

    Attributes:
        total: sum of what is averaged, differentiable.
        count: number, or sum of the weights, of what was summed up.
    """

    total: torch.Tensor
    count: torch.Tensor | float

    @property
    def value(self) -> torch.Tensor:
        """The mean over these samples alone; 0 where there is nothing to take the mean of."""
        return self.total / _something(torch.as_tensor(self.count))


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes, which all have it in the same shape; differentiable."""
    return tensor if processes().world == 1 else _Summed.apply(tensor)


def global_means(fractions: Mapping[str, Fraction]) -> dict[str, torch.Tensor]:
    """The mean of each over the samples of all processes, in one exchange.

    Args:
        fractions: by name; the same names in every process.
    Returns:
        Scalars, differentiable with respect to the totals.
    """
    if processes().world == 1 or not fractions:
        return {name: fraction.value for name, fraction in fractions.items()}
    totals = [fraction.total for fraction in fractions.values()]
    precise = reduce(torch.promote_types, (total.dtype for total in totals), torch.float32)
    totals = torch.stack([total.to(precise) for total in totals])
    counts = torch.stack([torch.as_tensor(fraction.count).to(totals) for fraction in fractions.values()])
    sums = summed(torch.stack([totals, counts.detach()]))
    return dict(zip(fractions, sums[0] / _something(sums[1]), strict=True))


def _something(count: torch.Tensor) -> torch.Tensor:
    return torch.where(count > 0, count, torch.ones_like(count))


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.detach().clone()
        with lost_processes_told():
            torch.distributed.all_reduce(total)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # Behind the sum all processes compute the same, so that each has this gradient; why times: see above.
        return gradient * processes().world
