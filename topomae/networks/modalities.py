"""What a network does about modalities that a scan lacks."""

from __future__ import annotations

import torch
from torch import nn


class MissingModalities(nn.Module):
    """Adds a learned embedding for each modality that is missing, so that absence differs from a mean intensity.

    The image itself must have been hidden (`hide_missing`). The embeddings start at zero; with a single modality,
    which is never missing, there are none.

    Args:
        modalities: image channels of the network.
        channels: channels of the features that the embeddings are added to.
    """

    def __init__(self, modalities: int, channels: int):
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(modalities, channels)) if modalities > 1 else None

    def forward(self, features: torch.Tensor, available: torch.Tensor | None) -> torch.Tensor:
        """Add the embeddings of what is missing.

        Args:
            features: (B, channels, d, h, w), what the first layer made of the hidden image.
            available: (B, modalities) bool; None where nothing is missing.
        """
        if self.embedding is None:
            return features
        if available is None:  # the embedding still takes part: every process must find all weights in use
            return features + (0 * self.embedding.sum(0)).to(features.dtype)[:, None, None, None]
        added = (~available).to(features.dtype) @ self.embedding.to(features.dtype)
        return features + added[:, :, None, None, None]


def hide_missing(image: torch.Tensor, available: torch.Tensor | None) -> torch.Tensor:
    """Zero, which is the mean of a normalized image, in the channels that are missing.

    Args:
        image: (B, C, D, H, W).
        available: (B, C) bool; None where nothing is missing.
    """
    if available is None:
        return image
    return torch.where(available[:, :, None, None, None], image, 0.0)
