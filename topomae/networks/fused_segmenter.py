"""Fine-tuning network: the pre-trained ViT encoder complements the pre-trained UNETR++."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from topomae.networks.epa import resample_grid
from topomae.networks.masked_vit import VitEncoder
from topomae.networks.unetrpp import Unetrpp, UnetrppFeatures, apply_heads, segmentation_heads


class FusedSegmenter(nn.Module):
    """UNETR++ whose encoder maps have projected ViT features added to them.

    The projections start at zero, so that the network starts as the pre-trained UNETR++ exactly and
    takes from the ViT what helps.

    Args:
        unetrpp: encoder and decoder.
        vit: encoder; sees the whole, unmasked crop.
        out_channels: classes, background included.
        fused_stages: stages of the encoder that ViT features are added to; 3 is the bottleneck.
    """

    def __init__(self, unetrpp: Unetrpp, vit: VitEncoder, out_channels: int, fused_stages: Sequence[int] = (3,)):
        super().__init__()
        self.unetrpp = unetrpp
        self.vit = vit
        self.fused_stages = tuple(fused_stages)
        self.fusion = nn.ModuleList(
            nn.Conv3d(vit.hidden, unetrpp.size.channels[stage], kernel_size=1) for stage in self.fused_stages
        )
        for projection in self.fusion:
            nn.init.zeros_(projection.weight)
            nn.init.zeros_(projection.bias)
        self.heads = segmentation_heads(unetrpp, out_channels)

    def forward(self, image: torch.Tensor, available: torch.Tensor | None = None) -> list[torch.Tensor] | torch.Tensor:
        features = self._fuse(self.unetrpp.encode(image, available), self.vit.feature_map(image, available))
        return apply_heads(self, self.unetrpp.decode(features))

    def _fuse(self, features: UnetrppFeatures, vit_map: torch.Tensor) -> UnetrppFeatures:
        stages = list(features.stages)
        for stage, projection in zip(self.fused_stages, self.fusion, strict=True):
            stages[stage] = stages[stage] + resample_grid(projection(vit_map), stages[stage].shape[2:])
        return UnetrppFeatures(features.convolution, tuple(stages))
