"""Pre-training network: a masked ViT and a UNETR++ that solve the same crop side by side."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from monai.networks.blocks import UnetOutBlock
from torch import nn

from topomae.networks.keypoint_head import KeyPointHead
from topomae.networks.masked_vit import MaskedVit, scatter_tokens, tokens_to_map, visible_tokens
from topomae.networks.unetrpp import Unetrpp, encode_stages

BRANCHES = ("vit", "unetrpp")
Stage = Literal["vit", 0, 1, 2, 3]  # the last layer of the ViT's encoder, or a stage of UNETR++'s


class BranchOutput(NamedTuple):
    """What one branch says about a masked crop.

    Attributes:
        reconstruction: (B, C, D, H, W) float32.
        key_points: (B, 9, 3) float32 in the scaled coordinates of the volume.
    """

    reconstruction: torch.Tensor
    key_points: torch.Tensor


class Views(NamedTuple):
    """Two ways of looking at the same crops, voxel by voxel, whose features are to be compared.

    Attributes:
        first: (B, C, D, H, W) as the first view has it. second: the same crops as the second view has them.
        seen: (B, 2, C) bool, the modalities that each view shows.
        stage: where in the network to take the features.
    """

    first: torch.Tensor
    second: torch.Tensor
    seen: torch.Tensor
    stage: Stage


class CoPretrainer(nn.Module):
    """Both branches under one mask.

    The ViT never sees the masked blocks; UNETR++, being convolutional, sees zeros there. The last
    layers run in float32 even under mixed precision, because rounding an intensity to 8 bits makes
    ties that move the birth and death voxels of the topological loss.
    """

    def __init__(self, vit: MaskedVit, unetrpp: Unetrpp):
        super().__init__()
        self.untrained: tuple[str, ...] = ()  # fields of the outputs that no loss looks at
        self.vit = vit
        self.vit_missing = nn.Parameter(torch.zeros(vit.encoder.hidden))
        self.vit_key_points = KeyPointHead(vit.encoder.hidden)
        self.unetrpp = unetrpp
        self.unetrpp_reconstruction = UnetOutBlock(3, unetrpp.out_channels[0], vit.in_channels)
        self.unetrpp_key_points = KeyPointHead(unetrpp.size.channels[3])

    def forward(
        self,
        image: torch.Tensor,
        mask: torch.Tensor | None,
        available: torch.Tensor | None = None,
        views: Views | None = None,
    ) -> dict[str, BranchOutput] | tuple[dict[str, BranchOutput], tuple[torch.Tensor, torch.Tensor]]:
        """Reconstruct and locate a masked crop with both branches.

        Args:
            image: (B, C, D, H, W) crop, normalized.
            mask: (B, d, h, w) bool on the grid of patches, True where hidden; None where only the views matter.
            available: (B, C) bool, the modalities that may be looked at; all of them are reconstructed.
            views: what else to encode, without a mask, in the same call: one that trains in several processes must
                find all weights in use in one.

        Returns:
            What each branch says; nothing without a mask. With views also the (B, C, d, h, w) features of both.
        """
        outputs = {}
        if mask is not None:
            outputs = {"vit": self._vit(image, mask, available), "unetrpp": self._unetrpp(image, mask, available)}
        for branch, output in outputs.items():
            outputs[branch] = output._replace(**{name: getattr(output, name).detach() for name in self.untrained})
        return outputs if views is None else (outputs, self._features(views))

    def _features(self, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
        # Both rows of a sample one after the other, as `SharedDropout3d` expects them.
        both, seen = torch.stack([views.first, views.second], dim=1).flatten(0, 1), views.seen.flatten(0, 1)
        if views.stage == "vit":
            features = self.vit.encoder.feature_map(both, seen)
        else:
            features = encode_stages(self.unetrpp, both, seen, last=views.stage)[-1]
        first, second = features.unflatten(0, (-1, 2)).unbind(1)
        return first, second

    def _vit(self, image: torch.Tensor, mask: torch.Tensor, available: torch.Tensor | None) -> BranchOutput:
        reconstruction, encoded = self.vit(image, mask, available)
        tokens = scatter_tokens(encoded, visible_tokens(mask), self.vit_missing, mask[0].numel())
        key_points = self.vit_key_points(tokens_to_map(tokens, mask.shape[1:]))
        return BranchOutput(reconstruction.float(), key_points.float())

    def _unetrpp(self, image: torch.Tensor, mask: torch.Tensor, available: torch.Tensor | None) -> BranchOutput:
        hidden = voxel_mask(mask, self.vit.encoder.patch_size, image.shape[2:])
        features = self.unetrpp.encode(image.masked_fill(hidden, 0.0), available)
        key_points = self.unetrpp_key_points(features.bottleneck)
        decoded = self.unetrpp.decode(features)[0]
        with torch.autocast(image.device.type, enabled=False):
            reconstruction = self.unetrpp_reconstruction(decoded.float())
        return BranchOutput(reconstruction, key_points.float())


def voxel_mask(mask: torch.Tensor, patch_size: tuple[int, int, int], shape: torch.Size) -> torch.Tensor:
    """Spread a (B, d, h, w) mask of patches over voxels: (B, 1, D, H, W) bool."""
    spread = mask[:, None]
    for axis, patch in enumerate(patch_size):
        spread = spread.repeat_interleave(patch, dim=axis + 2)
    return spread[:, :, : shape[0], : shape[1], : shape[2]]
