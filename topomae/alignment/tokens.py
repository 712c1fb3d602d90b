"""From feature maps to the tokens that are aligned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from topomae.networks.unetrpp import stage_grids


def tokens_of(features: torch.Tensor, least: int) -> torch.Tensor:
    """Average a map to a grid of tokens.

    Args:
        features: (B, C, d, h, w).
        least: see `pooled_grid`.
    Returns:
        (B, N, C), N positions in the order of the map, each with the channels of its own.
    """
    grid = pooled_grid(features.shape[2:], least)
    if grid != tuple(features.shape[2:]):
        features = F.adaptive_avg_pool3d(features, grid)
    return features.flatten(2).transpose(1, 2)


def pooled_grid(shape: Sequence[int], least: int) -> tuple[int, int, int]:
    """The grid a map of that shape is averaged to: at least least³ tokens where it has that many, and few more.

    Axes with less than `least` positions keep what they have, and the others make up for it.
    """
    grid, wanted = [0, 0, 0], least**3
    for left, axis in zip((3, 2, 1), sorted(range(3), key=lambda a: shape[a]), strict=True):
        grid[axis] = min(shape[axis], math.ceil(round(wanted ** (1 / left), 6)))
        wanted = math.ceil(wanted / grid[axis])
    return tuple(grid)


def deepest_stage(crop_size: Sequence[int], stem_stride: Sequence[int], least: int) -> int:
    """The deepest stage of UNETR++ whose map has least³ positions; 0 where none has."""
    grids = stage_grids(crop_size, stem_stride)
    return max((stage for stage, grid in enumerate(grids) if math.prod(grid) >= least**3), default=0)
