"""Dropout that is the same whether one process has the whole batch or each of several has some rows of it."""

from __future__ import annotations

import torch
from torch import nn


class SharedDropout3d(nn.Dropout3d):
    """`nn.Dropout3d` that draws for the whole batch and takes what falls to its own rows.

    So the random numbers of all processes stay the same, and so does what becomes of each sample. A network may
    have made several rows of each sample, such as windows, one after another.
    """

    def __init__(self, p: float):
        super().__init__(p)
        self.first = self.count = self.total = 0  # samples; none: the rows here are the whole batch

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if not self.count or len(features) % self.count or not self.training or self.p == 0:
            return super().forward(features)
        rows = len(features) // self.count  # of a sample
        kept = features.new_empty(rows * self.total, features.shape[1], 1, 1, 1)
        kept = kept.bernoulli_(1 - self.p).div_(1 - self.p)
        return features * kept[rows * self.first : rows * (self.first + self.count)]


def tell_rows(network: nn.Module, first: int, count: int, total: int) -> None:
    """Tell every such layer which samples of the whole batch the next forward pass sees.

    Args:
        network: any module.
        first: sample of the whole batch that is the first here.
        count: samples here.
        total: samples of the whole batch.
    """
    for module in network.modules():
        if isinstance(module, SharedDropout3d):
            module.first, module.count, module.total = first, count, total
