"""Moving averages of the weights, which say more of unseen volumes than the weights of any one step."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged_model(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights that soon forgets the first, untrained ones.

    At the n-th update the decay is min(decay, (1 + n) / (4 + n)): polynomial-decay averaging (Shamir & Zhang, ICML
    2013, with eta = 2), about the last third of the steps, until the fixed decay looks back less far. With 0.99 from
    the first step on, a tenth of the average of a run of 230 steps would still be its random beginning.

    Args:
        network: its weights are copied.
        decay: 0 < decay < 1, reached after many updates.
    Returns:
        The average; update it with `update_parameters(network)`.
    """

    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], count: torch.Tensor | int) -> None:
        updates = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + updates) / (4 + updates)))(averaged, current, count)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)
