"""Probabilities of the classes of one preprocessed volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from topomae.classification.bags import bags
from topomae.data.plan import Plan
from topomae.errors import RunError


@torch.no_grad()
def class_probabilities(
    network: nn.Module,
    image: np.ndarray,
    plan: Plan,
    *,
    windows: int,
    device: torch.device | str,
    available: Sequence[bool] | None = None,
) -> np.ndarray:
    """Let a network look at all of a volume.

    Args:
        network: a `VolumeClassifier` in evaluation mode, on `device`.
        image: (C, I, J, K) float32, preprocessed.
        plan: for the crop size.
        windows: windows looked at together, as in training; the logits of several such groups are averaged.
        device: where the network is.
        available: which modalities there are; None for all.
    Returns:
        (classes,) float64, which add up to 1.
    Raises:
        RunError: the network answers with numbers that are not finite.
    """
    there = None if available is None else torch.tensor([list(available)], device=device)
    groups = bags(image, plan, windows)
    logits = sum(network(group[None].to(device), available=there)[0].double().cpu() for group in groups) / len(groups)
    if not bool(torch.isfinite(logits).all()):
        raise RunError(
            "the network's answers are not finite numbers",
            hint="Its training diverged: train again with a lower learning rate.",
        )
    return torch.softmax(logits, 0).numpy()
