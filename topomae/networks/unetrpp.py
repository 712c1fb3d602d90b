"""UNETR++ for any input size.

                full   stem      /2        /4        /8
    encoder     conv   stage 0   stage 1   stage 2   stage 3 ──┐ (`encode`)
                 │       │         │         │                 │
    decoder     out0 ◄─ out1 ◄──  out2 ◄──  up    ◄────────────┘ (`decode`)

Shaker et al., IEEE TMI 2024 (see epa.py for the block). Grids that do not divide evenly are padded
at their far end where they are halved and cut again where they are doubled, so that voxel 0 stays
voxel 0 and thin volumes are not blown up.

It has two forms. The published one cuts the image into patches, halves by patches of positions, and adds
what it decodes to what the encoder saw there. The joined one begins with the convolution at full resolution,
halves by overlapping convolutions, and joins both as channels, as a U-Net does: with 8 labelled hippocampi
that was better by a hundredth of Dice (docs/results/accuracy_hippocampus).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from monai.networks.blocks import UnetOutBlock, UnetResBlock
from torch import nn

from topomae.networks.epa import PairedAttentionBlock
from topomae.networks.modalities import MissingModalities, hide_missing

GROUPS = ("group", {"num_groups": 8})
_FEWEST_POSITIONS = 8  # that instance normalization is used on

Form = Literal["published", "joined"]


@dataclass(frozen=True)
class UnetrppSize:
    """Width and depth of a UNETR++.

    Attributes:
        channels: channels of the four stages.
        blocks: paired-attention blocks of each stage.
        projected: tokens that keys and values are projected to, per stage of the encoder.
        projected_decoder: the same in every stage of the decoder.
        convolution_channels: channels of the convolution blocks at full resolution.
        heads: attention heads.
        dropout: dropout rate of the attention maps.
        norm: normalization of the convolutions inside the paired-attention blocks, as MONAI names it. In place of
            `instance` a stage of fewer than eight positions takes groups of channels: it has no statistics of its own.
        form: how stages are connected, see the head of this file.
    """

    channels: tuple[int, int, int, int] = (32, 64, 128, 256)
    blocks: tuple[int, int, int, int] = (3, 3, 3, 3)
    projected: tuple[int, int, int, int] = (64, 64, 64, 32)
    projected_decoder: int = 64
    convolution_channels: int = 16
    heads: int = 4
    dropout: float = 0.15
    norm: str | tuple[str, dict] = "batch"
    form: Form = "published"


@dataclass(frozen=True)
class UnetrppFeatures:
    """What the encoder hands to the decoder: the full-resolution skip and the four stages."""

    convolution: torch.Tensor
    stages: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

    @property
    def bottleneck(self) -> torch.Tensor:
        return self.stages[3]


class Unetrpp(nn.Module):
    """UNETR++: hierarchical encoder and decoder of paired-attention blocks.

    Args:
        in_channels: image channels.
        crop_size: (i, j, k) voxels of the crops it is built for; other sizes are resampled to.
        stem_stride: (i, j, k) voxels that one token of stage 0 covers.
        size: width and depth; the default is the published network.
    """

    def __init__(
        self,
        in_channels: int,
        crop_size: Sequence[int],
        stem_stride: Sequence[int],
        size: UnetrppSize | None = None,
    ):
        super().__init__()
        size = size or UnetrppSize()
        self.size = size
        self.joined = size.form == "joined"
        self.stem_stride = tuple(stem_stride)
        grids = stage_grids(crop_size, stem_stride)

        def stage(index: int, projected: int) -> nn.Sequential:
            few = size.norm == "instance" and prod(grids[index]) < _FEWEST_POSITIONS
            norm = GROUPS if few else size.norm
            return nn.Sequential(
                *(
                    PairedAttentionBlock(size.channels[index], grids[index], projected, size.heads, size.dropout, norm)
                    for _ in range(size.blocks[index])
                )
            )

        wide, full = size.channels, size.convolution_channels
        self.convolution = _residual_block(in_channels, full)
        self.downsamplings = nn.ModuleList(
            [_Downsampling(full if self.joined else in_channels, wide[0], self.stem_stride, self.joined)]
            + [_Downsampling(wide[i], wide[i + 1], (2, 2, 2), self.joined) for i in range(3)]
        )
        self.missing = MissingModalities(in_channels, wide[0])
        self.encoder = nn.ModuleList(stage(i, size.projected[i]) for i in range(4))
        self.upsamplings = nn.ModuleList(
            [_upsampling(wide[0], full, self.stem_stride)]
            + [_upsampling(wide[i + 1], wide[i], (2, 2, 2)) for i in range(3)]
        )
        self.joins = nn.ModuleList(
            nn.Conv3d(2 * wide[i], wide[i], kernel_size=1) if self.joined else nn.Identity() for i in range(3)
        )
        self.decoder = nn.ModuleList(stage(i, size.projected_decoder) for i in range(3))
        self.last = _residual_block(2 * full if self.joined else full, full)

    @property
    def out_channels(self) -> tuple[int, int, int]:
        """Channels of the three maps that `decode` returns."""
        return (self.size.convolution_channels, self.size.channels[0], self.size.channels[1])

    def encode(self, image: torch.Tensor, available: torch.Tensor | None = None) -> UnetrppFeatures:
        """Encode a (B, C, D, H, W) image.

        Args:
            image: the crop.
            available: (B, C) bool, the modalities that each sample has; None where nothing is missing.
        """
        image = hide_missing(image, available)
        convolution = self.convolution(image)
        stages = _stages(self, convolution if self.joined else image, available)
        return UnetrppFeatures(convolution, tuple(stages))

    def decode(self, features: UnetrppFeatures) -> list[torch.Tensor]:
        """Return three decoded maps: full resolution, stem grid, and half the stem grid."""
        half = self._up(2, features.bottleneck, features.stages[2])
        half = self._up(1, half, features.stages[1])
        stem = self._up(0, half, features.stages[0])
        full = self._meet(self.upsamplings[0](stem), features.convolution)
        return [self.last(full), stem, half]

    def _up(self, index: int, below: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        met = self._meet(self.upsamplings[index + 1](below), skip)
        return self.decoder[index](self.joins[index](met))

    def _meet(self, decoded: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        decoded = _cut_to(decoded, skip)
        return torch.cat([decoded, skip], dim=1) if self.joined else decoded + skip


class UnetrppSegmenter(nn.Module):
    """UNETR++ with deep-supervision heads.

    Training mode returns logits at three resolutions (finest first), evaluation mode (B, L, D, H, W).
    """

    def __init__(self, unetrpp: Unetrpp, out_channels: int):
        super().__init__()
        self.unetrpp = unetrpp
        self.heads = segmentation_heads(unetrpp, out_channels)

    def forward(self, image: torch.Tensor, available: torch.Tensor | None = None) -> list[torch.Tensor] | torch.Tensor:
        return apply_heads(self, self.unetrpp.decode(self.unetrpp.encode(image, available)))


def segmentation_heads(unetrpp: Unetrpp, out_channels: int) -> nn.ModuleList:
    """One 1×1×1 convolution to `out_channels` for each map that the decoder returns."""
    return nn.ModuleList(UnetOutBlock(3, channels, out_channels) for channels in unetrpp.out_channels)


def apply_heads(segmenter: nn.Module, maps: list[torch.Tensor]) -> list[torch.Tensor] | torch.Tensor:
    """Logits of every map while training, of the finest one otherwise."""
    if not segmenter.training:
        return segmenter.heads[0](maps[0])
    return [head(decoded) for head, decoded in zip(segmenter.heads, maps, strict=True)]


def encode_stages(
    unetrpp: nn.Module, image: torch.Tensor, available: torch.Tensor | None, last: int = 3
) -> list[torch.Tensor]:
    """Maps of the encoder stages up to number `last`.

    Args:
        unetrpp: has the parts of the encoder: `downsamplings`, `missing`, `encoder` and, if `joined`, `convolution`.
        image: (B, C, D, H, W).
        available: (B, C) bool, the modalities that each sample has; None where nothing is missing.
        last: the deepest stage that is wanted, 0 to 3.
    """
    image = hide_missing(image, available)
    return _stages(unetrpp, unetrpp.convolution(image) if unetrpp.joined else image, available, last)


def _stages(
    unetrpp: nn.Module, begin: torch.Tensor, available: torch.Tensor | None, last: int = 3
) -> list[torch.Tensor]:
    features = unetrpp.missing(unetrpp.downsamplings[0](begin), available)
    stages = [unetrpp.encoder[0](features)]
    for downsampling, blocks in zip(unetrpp.downsamplings[1 : last + 1], unetrpp.encoder[1 : last + 1], strict=True):
        stages.append(blocks(downsampling(stages[-1])))
    return stages


def stage_grids(crop_size: Sequence[int], stem_stride: Sequence[int]) -> list[tuple[int, int, int]]:
    """Token grids of the four stages, rounded up where a size does not divide."""
    grids = [tuple(-(-c // s) for c, s in zip(crop_size, stem_stride, strict=True))]
    for _ in range(3):
        grids.append(tuple(-(-n // 2) for n in grids[-1]))
    return grids


class _Downsampling(nn.Module):
    """A convolution with a stride: over patches, or over windows that overlap with their neighbours."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int], overlapping: bool):
        super().__init__()
        self.stride = tuple(stride)
        around = [max(1, s // 2) if overlapping else 0 for s in self.stride]
        kernel = [2 * a + 1 if overlapping else s for a, s in zip(around, self.stride, strict=True)]
        self.convolution = nn.Conv3d(in_channels, out_channels, kernel, self.stride, around, bias=False)
        groups = in_channels if out_channels % in_channels == 0 else 1  # published: one per input channel
        self.norm = nn.GroupNorm(groups, out_channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(_pad_to_multiple(features, self.stride)))


def _upsampling(in_channels: int, out_channels: int, stride: Sequence[int]) -> nn.Module:
    return nn.ConvTranspose3d(in_channels, out_channels, tuple(stride), tuple(stride), bias=False)


def _residual_block(in_channels: int, out_channels: int) -> nn.Module:
    return UnetResBlock(3, in_channels, out_channels, kernel_size=3, stride=1, norm_name="instance")


def _pad_to_multiple(features: torch.Tensor, stride: Sequence[int]) -> torch.Tensor:
    missing = [-n % s for n, s in zip(features.shape[2:], stride, strict=True)]
    if not any(missing):
        return features
    return F.pad(features, (0, missing[2], 0, missing[1], 0, missing[0]), mode="replicate")


def _cut_to(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    d, h, w = like.shape[2:]
    return features[:, :, :d, :h, :w]
