"""The masked autoencoder branch: a plain ViT that sees only the visible blocks of a crop.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, in 3-D. Positions are fixed
sine-cosine codes computed from the token grid, so any crop size goes in.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding
from monai.networks.blocks.transformerblock import TransformerBlock
from torch import nn

from topomae.data.crops import token_grid
from topomae.networks.modalities import MissingModalities, hide_missing


@dataclass(frozen=True)
class VitSize:
    """Width and depth of the encoder and of the light decoder. The default is ViT-B with an 8×384 decoder."""

    hidden: int = 768
    layers: int = 12
    heads: int = 12
    decoder_hidden: int = 384
    decoder_layers: int = 8
    decoder_heads: int = 12


class VitEncoder(nn.Module):
    """Vision transformer over blocks of voxels.

    Args:
        in_channels: image channels.
        patch_size: (i, j, k) voxels of one token.
        size: width and depth.
    """

    def __init__(self, in_channels: int, patch_size: Sequence[int], size: VitSize):
        super().__init__()
        self.patch_size = tuple(patch_size)
        self.hidden = size.hidden
        self.patch_embedding = nn.Conv3d(in_channels, size.hidden, self.patch_size, self.patch_size)
        self.missing = MissingModalities(in_channels, size.hidden)
        self.blocks = _transformer(size.hidden, size.layers, size.heads)
        self.norm = nn.LayerNorm(size.hidden)

    def forward(
        self, image: torch.Tensor, visible: torch.Tensor | None = None, available: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode a (B, C, D, H, W) image into (B, V, hidden) tokens.

        Args:
            image: the crop.
            visible: (B, V) int64 indices of the tokens to encode; all N of them if None. The other
                blocks are dropped before the first layer that could look at them.
            available: (B, C) bool, the modalities that each sample has; None where nothing is missing.
        """
        grid = self.grid(image)
        padded = _pad_to_patches(hide_missing(image, available), self.patch_size)
        embedded = self.missing(self.patch_embedding(padded), available)
        # The type is that of the image in any case; said again, so that an exported graph follows its device.
        tokens = embedded.flatten(2).transpose(1, 2) + positions(grid, self.hidden, image.device).type_as(image)
        if visible is not None:
            tokens = torch.gather(tokens, 1, visible[..., None].expand(-1, -1, self.hidden))
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def grid(self, image: torch.Tensor) -> tuple[int, int, int]:
        """Number of tokens along each axis of the image."""
        return token_grid([int(n) for n in image.shape[2:]], self.patch_size)  # a trace has tensors there

    def feature_map(self, image: torch.Tensor, available: torch.Tensor | None = None) -> torch.Tensor:
        """Encode the whole image into a (B, hidden, d, h, w) map."""
        return tokens_to_map(self(image, available=available), self.grid(image))


class MaskedVit(nn.Module):
    """Encoder over the visible tokens and a light decoder that fills in the masked ones."""

    def __init__(self, in_channels: int, patch_size: Sequence[int], size: VitSize | None = None):
        super().__init__()
        size = size or VitSize()
        self.in_channels = in_channels
        self.encoder = VitEncoder(in_channels, patch_size, size)
        self.to_decoder = nn.Linear(size.hidden, size.decoder_hidden)
        self.mask_token = nn.Parameter(torch.zeros(size.decoder_hidden))
        nn.init.normal_(self.mask_token, std=0.02)
        self.decoder = _transformer(size.decoder_hidden, size.decoder_layers, size.decoder_heads)
        self.decoder_norm = nn.LayerNorm(size.decoder_hidden)
        voxels = torch.Size(self.encoder.patch_size).numel()
        self.to_voxels = nn.Linear(size.decoder_hidden, voxels * in_channels)

    def forward(
        self, image: torch.Tensor, mask: torch.Tensor, available: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reconstruct a crop from its visible blocks.

        Args:
            image: (B, C, D, H, W).
            mask: (B, d, h, w) bool on the token grid, True where hidden; the same count in each sample.
            available: (B, C) bool, the modalities that may be looked at; all of them are reconstructed.

        Returns:
            The reconstruction, (B, C, D, H, W), and the encoded visible tokens, (B, V, hidden).
        """
        visible = visible_tokens(mask)
        encoded = self.encoder(image, visible, available)
        tokens = scatter_tokens(self.to_decoder(encoded), visible, self.mask_token, mask[0].numel())
        tokens = tokens + positions(mask.shape[1:], tokens.shape[-1], image.device)
        for block in self.decoder:
            tokens = block(tokens)
        with torch.autocast(image.device.type, enabled=False):  # why in float32: see CoPretrainer
            voxels = self.to_voxels(self.decoder_norm(tokens.float()))
        return self._unpatchify(voxels, mask.shape[1:], image.shape[2:]), encoded

    def _unpatchify(self, voxels: torch.Tensor, grid: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
        d, h, w = grid
        p, q, r = self.encoder.patch_size
        image = rearrange(voxels, "b (d h w) (c p q r) -> b c (d p) (h q) (w r)", d=d, h=h, w=w, p=p, q=q, r=r)
        return image[:, :, : shape[0], : shape[1], : shape[2]]


def visible_tokens(mask: torch.Tensor) -> torch.Tensor:
    """Indices (B, V) int64 of the tokens that a (B, d, h, w) bool mask leaves visible."""
    return (~mask).flatten(1).nonzero()[:, 1].reshape(len(mask), -1)


def scatter_tokens(tokens: torch.Tensor, visible: torch.Tensor, filler: torch.Tensor, count: int) -> torch.Tensor:
    """Put (B, V, C) tokens back among `count` places and fill the others with `filler` (C)."""
    batch, _, channels = tokens.shape
    everywhere = filler.to(tokens.dtype).expand(batch, count, channels)
    return everywhere.scatter(1, visible[..., None].expand(-1, -1, channels), tokens)


def tokens_to_map(tokens: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """(B, N, C) tokens to a (B, C, d, h, w) map."""
    batch = tokens.shape[0]  # len() would be a constant in exported networks
    return tokens.transpose(1, 2).reshape(batch, tokens.shape[-1], *grid)


def _transformer(hidden: int, layers: int, heads: int) -> nn.ModuleList:
    return nn.ModuleList(
        TransformerBlock(hidden, mlp_dim=4 * hidden, num_heads=heads, qkv_bias=True) for _ in range(layers)
    )


def _pad_to_patches(image: torch.Tensor, patch_size: Sequence[int]) -> torch.Tensor:
    missing = [-n % p for n, p in zip(image.shape[2:], patch_size, strict=True)]
    if not any(missing):
        return image
    return F.pad(image, (0, missing[2], 0, missing[1], 0, missing[0]), mode="replicate")


@lru_cache(maxsize=64)
def positions(grid: Sequence[int], hidden: int, device: torch.device) -> torch.Tensor:
    """Sine-cosine codes (1, N, hidden) of the places of a (d, h, w) grid of tokens."""
    with warnings.catch_warnings():  # MONAI calls torch.meshgrid without its indexing argument
        warnings.simplefilter("ignore", UserWarning)
        return build_sincos_position_embedding(list(grid), hidden).detach().to(device)
