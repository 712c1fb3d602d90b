"""Classification network: the pre-trained encoders look at windows of a volume, a linear layer says its class.

    windows ──► UNETR++ encoder ──► four maps  ─┐
            └─► ViT encoder     ──► one map    ─┴─► mean and maximum over all places of all windows
                                                    ──► standardization ──► linear ──► classes

Means tell what is everywhere, maxima what is somewhere, such as a small lesion in one of many windows. Between
volumes of one kind pooled features differ little; standardized by what the encoders first make of training
samples (`standardize`), their differences fill the range that a linear layer learns from. He et al. (CVPR 2022)
put a batch normalization there for the same reason, which does not suit batches of a few volumes.
"""

from __future__ import annotations

import torch
from torch import nn

from topomae.networks.masked_vit import VitEncoder, tokens_to_map
from topomae.networks.unetrpp import Unetrpp, encode_stages

_LEAST_SPREAD = 0.01  # of features that differ between channels by 1; below that is noise


class VolumeClassifier(nn.Module):
    """Classes of whole volumes from a bag of windows each.

    Args:
        unetrpp: its encoder is taken over; the decoder has no use here.
        vit: encoder that sees the whole, unmasked windows; None for UNETR++ alone.
        classes: number of classes.
    """

    def __init__(self, unetrpp: Unetrpp, vit: VitEncoder | None, classes: int):
        super().__init__()
        self.unetrpp = UnetrppEncoder(unetrpp)
        self.vit = vit
        channels = [*unetrpp.size.channels, *([vit.hidden] if vit is not None else [])]
        self.norms = nn.ModuleList(nn.LayerNorm(2 * width, elementwise_affine=False) for width in channels)
        self.register_buffer("centre", torch.zeros(2 * sum(channels)))
        self.register_buffer("spread", torch.ones(2 * sum(channels)))
        self.head = nn.Linear(2 * sum(channels), classes)
        nn.init.zeros_(self.head.weight)  # at first, every class is as likely as the others
        nn.init.zeros_(self.head.bias)

    def forward(
        self, windows: torch.Tensor, present: torch.Tensor | None = None, available: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (B, classes) of volumes.

        Args:
            windows: (B, W, C, D, H, W') float32, windows of each volume.
            present: (B, W) bool, False where a volume has fewer windows than others; None if all are there.
            available: (B, C) bool, the modalities that each volume has; None where nothing is missing.
        """
        features = (self.pooled(windows, present, available) - self.centre) / self.spread
        # Adam moves every weight alike, so that the wider the features, the further a step moves the logits: too far
        # without a divisor, hardly at all with the square root of the width.
        return self.head(features / features.shape[1] ** 0.25)

    def encoders(self) -> nn.ModuleList:
        """All but the linear layer."""
        return nn.ModuleList(part for part in (self.unetrpp, self.vit) if part is not None)

    def standardize(self, pooled: torch.Tensor) -> None:
        """Let features have mean 0 and standard deviation 1 over some volumes.

        Args:
            pooled: (n, features), from `pooled`.
        """
        self.centre.copy_(pooled.mean(0))
        self.spread.copy_(pooled.std(0, correction=0) + _LEAST_SPREAD)

    def pooled(
        self, windows: torch.Tensor, present: torch.Tensor | None = None, available: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Features (B, features) of volumes, see `forward`."""
        batch, count = windows.shape[:2]
        if present is None:
            present = torch.ones(batch, count, dtype=torch.bool, device=windows.device)
        volume = torch.arange(batch, device=windows.device)[:, None].expand(-1, count)[present]  # (N,)
        image = windows[present]  # (N, C, D, H, W'): absent windows cost nothing
        visible = None if available is None else available[volume]
        maps = zip(self.norms, self._maps(image, visible), strict=True)
        return torch.cat([norm(_pool(level, volume, batch)) for norm, level in maps], dim=1)

    def _maps(self, image: torch.Tensor, available: torch.Tensor | None) -> list[torch.Tensor]:
        maps = self.unetrpp(image, available)
        if self.vit is not None:
            maps.append(tokens_to_map(self.vit(image, available=available), self.vit.grid(image)))
        return maps


class UnetrppEncoder(nn.Module):
    """The four encoder stages of a UNETR++, without what only a decoder needs; its weights have the same names."""

    def __init__(self, unetrpp: Unetrpp):
        super().__init__()
        self.joined = unetrpp.joined
        self.parts = ("downsamplings", "missing", "encoder", *(["convolution"] if self.joined else []))
        for name in self.parts:
            setattr(self, name, getattr(unetrpp, name))

    def forward(self, image: torch.Tensor, available: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Maps of the four stages for a (B, C, D, H, W) image; `available` as for `Unetrpp.encode`."""
        return encode_stages(self, image, available)

    def of_whole(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Of the weights of a whole UNETR++, those that belong here."""
        return {name: weight for name, weight in weights.items() if name.split(".")[0] in self.parts}


def _pool(level: torch.Tensor, volume: torch.Tensor, volumes: int) -> torch.Tensor:
    """Mean and maximum of a (N, C, d, h, w) map over all places of the windows of each volume: (volumes, 2 C)."""
    places = level.float().flatten(2)
    index = volume[:, None].expand(-1, places.shape[1])
    empty = places.new_zeros(volumes, places.shape[1])
    mean = empty.scatter_reduce(0, index, places.mean(2), "mean", include_self=False)
    highest = empty.scatter_reduce(0, index, places.amax(2), "amax", include_self=False)
    return torch.cat([mean, highest], dim=1)
