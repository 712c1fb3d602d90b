"""Efficient paired attention: the block UNETR++ is made of.

Shaker et al., "UNETR++: Delving into Efficient and Accurate 3D Medical Image Segmentation",
IEEE TMI 2024. Two things differ from the published code. The output of the spatial attention keeps
its tokens and heads in order (the published permutation mixes them). And everything that depends on
the number of tokens lives on a 3-D grid, so that it can be resampled to another input size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.blocks import UnetResBlock
from torch import nn

from topomae.networks.shared_dropout import SharedDropout3d


class GridProjection(nn.Module):
    """Linear projection along the tokens, (…, N) to (…, P), for any grid of tokens.

    The weight is a stack of P small volumes on the grid it was built for. For another grid it is
    resampled trilinearly and scaled by the ratio of token counts, which keeps the projection of a
    constant the same. On its own grid it is exactly `nn.Linear(N, P)`.
    """

    def __init__(self, grid: Sequence[int], projected: int):
        super().__init__()
        linear = nn.Linear(int(torch.tensor(grid).prod()), projected)
        self.weight = nn.Parameter(linear.weight.detach().reshape(1, projected, *grid))  # (1, P, d, h, w)
        self.bias = nn.Parameter(linear.bias.detach())

    def forward(self, tokens: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
        weight = resample_grid(self.weight, grid)
        weight = weight[0].flatten(1) * (self.weight.numel() / weight.numel())
        return F.linear(tokens, weight.to(tokens.dtype), self.bias.to(tokens.dtype))


def resample_grid(volume: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """Resample (B, C, d, h, w) to `grid` trilinearly; unchanged when it has that size already."""
    if tuple(volume.shape[2:]) == tuple(grid):
        return volume
    return F.interpolate(volume, size=tuple(grid), mode="trilinear", align_corners=False)


class PairedAttention(nn.Module):
    """Channel attention and spatial attention with shared queries and keys.

    Args:
        channels: channels C of a token.
        grid: grid of tokens the projection is built for.
        projected: number P of tokens that keys and values are projected to for spatial attention.
        heads: attention heads.
        dropout: dropout rate of both attention maps.
    """

    def __init__(self, channels: int, grid: Sequence[int], projected: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.channel_temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.spatial_temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.query_key_values = nn.Linear(channels, 4 * channels, bias=False)
        self.projection = GridProjection(grid, projected)  # shared by keys and values
        self.channel_dropout = nn.Dropout(dropout)
        self.spatial_dropout = nn.Dropout(dropout)
        self.spatial_out = nn.Linear(channels, channels // 2)
        self.channel_out = nn.Linear(channels, channels - channels // 2)

    def forward(self, tokens: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
        batch, count, channels = tokens.shape
        split = self.query_key_values(tokens).reshape(batch, count, 4, self.heads, channels // self.heads)
        query, key, channel_value, spatial_value = split.permute(2, 0, 3, 4, 1)  # each (B, heads, d, N)

        projected_key = self.projection(key, grid)  # (B, heads, d, P)
        projected_value = self.projection(spatial_value, grid)
        query = F.normalize(query, dim=-1)
        key = F.normalize(key, dim=-1)

        attention = (query @ key.transpose(-2, -1)) * self.channel_temperature  # (B, heads, d, d)
        attention = self.channel_dropout(attention.softmax(dim=-1))
        by_channel = (attention @ channel_value).permute(0, 3, 1, 2).reshape(batch, count, channels)

        attention = (query.transpose(-2, -1) @ projected_key) * self.spatial_temperature  # (B, heads, N, P)
        attention = self.spatial_dropout(attention.softmax(dim=-1))
        by_space = attention @ projected_value.transpose(-2, -1)  # (B, heads, N, d)
        by_space = by_space.permute(0, 2, 1, 3).reshape(batch, count, channels)

        return torch.cat([self.spatial_out(by_space), self.channel_out(by_channel)], dim=-1)


class PairedAttentionBlock(nn.Module):
    """Paired attention over the voxels of a feature map, then a residual convolution block.

    (B, C, d, h, w) to the same shape. The attention branch starts near zero (`scale` 1e-6).
    """

    def __init__(
        self,
        channels: int,
        grid: Sequence[int],
        projected: int,
        heads: int,
        dropout: float,
        norm: str | tuple[str, dict],
    ):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, channels, *grid))
        self.norm = nn.LayerNorm(channels)
        self.scale = nn.Parameter(1e-6 * torch.ones(channels))
        self.attention = PairedAttention(channels, grid, projected, heads, dropout)
        self.convolution = UnetResBlock(3, channels, channels, kernel_size=3, stride=1, norm_name=norm)
        self.out = nn.Sequential(SharedDropout3d(0.1), nn.Conv3d(channels, channels, kernel_size=1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        grid = features.shape[2:]
        features = features + resample_grid(self.position, grid)
        tokens = features.flatten(2).transpose(1, 2)  # (B, N, C)
        tokens = tokens + self.scale * self.attention(self.norm(tokens), grid)
        features = tokens.transpose(1, 2).reshape(features.shape)
        return features + self.out(self.convolution(features))
