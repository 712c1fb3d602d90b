"""Where in the volume does a crop lie? The head that predicts its nine key points."""

from __future__ import annotations

import torch
from torch import nn

KEY_POINTS = 9  # the centre and the eight corners, see topomae.data.key_points


class KeyPointHead(nn.Module):
    """Convolution, pooling and a small MLP from a feature map to nine points in [-1, 1]³.

    Source A, section on the spatial pretext task: convolution layer → MLP → tanh.

    Args:
        in_channels: channels of the encoder's feature map.
        hidden: channels of the convolution.
    """

    def __init__(self, in_channels: int, hidden: int = 256):
        super().__init__()
        self.convolution = nn.Conv3d(in_channels, hidden, kernel_size=3, padding=1)
        self.mlp = nn.Sequential(nn.Linear(hidden, hidden // 2), nn.GELU(), nn.Linear(hidden // 2, 3 * KEY_POINTS))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, d, h, w) features to (B, 9, 3) key points in the scaled coordinates of the volume."""
        pooled = nn.functional.gelu(self.convolution(features)).mean(dim=(2, 3, 4))
        return torch.tanh(self.mlp(pooled)).reshape(-1, KEY_POINTS, 3)
