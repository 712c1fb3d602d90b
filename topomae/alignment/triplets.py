"""What both alignment objectives are made of: distances, neighbours, negatives and the hinge over triplets.

Everything works on whole matrices of distances between tokens; nothing loops over tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

NegativeChoice = Literal["random", "hardest"]
_SHORTEST = 1e-3  # length below which a token no longer counts as a direction; keeps the gradient of zero finite


@dataclass(frozen=True)
class Chosen:
    """For each anchor some tokens.

    Attributes:
        tokens: (…, N, K) int64 indices.
        valid: (…, N, K) bool, False where there were not enough of them.
    """

    tokens: torch.Tensor
    valid: torch.Tensor


def directions(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens (…, N, C) scaled to length 1, in float32."""
    return F.normalize(tokens.float(), dim=-1, eps=_SHORTEST)


def cosine_distances(tokens: torch.Tensor) -> torch.Tensor:
    """Cosine distances (…, N, N), from 0 to 2, among tokens (…, N, C) of length 1."""
    return 1 - tokens @ tokens.transpose(-1, -2)


def nearest(distances: torch.Tensor, count: int) -> torch.Tensor:
    """Indices (…, N, count) of the tokens nearest to each one, itself left out, from distances (…, N, N)."""
    itself = torch.eye(distances.shape[-1], dtype=torch.bool, device=distances.device)
    return distances.masked_fill(itself, torch.inf).topk(count, dim=-1, largest=False).indices


def choose_negatives(
    candidates: torch.Tensor,
    distances: torch.Tensor,
    count: int,
    how: NegativeChoice,
    generator: torch.Generator | None,
) -> Chosen:
    """Choose up to `count` of the candidates of each anchor.

    Args:
        candidates: (…, N, N) bool, which tokens each anchor may be told apart from.
        distances: (…, N, N) of each anchor to them.
        count: how many to choose.
        how: `random`, or `hardest`: those nearest to the anchor.
        generator: on the CPU, so that the choice is the same on every device; used by `random` only.
    """
    if how == "random":
        scores = torch.rand(candidates.shape, generator=generator).to(distances.device)
    else:
        scores = -distances.detach()
    scores = scores.masked_fill(~candidates, -torch.inf)
    best = scores.topk(min(count, candidates.shape[-1]), dim=-1)
    return Chosen(best.indices, best.values > -torch.inf)


def triplet_hinge(
    distances: torch.Tensor, positives: Chosen, negatives: Chosen, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """By how much positives are not nearer than negatives by a margin, averaged over the triplets of an anchor.

    Args:
        distances: (…, N, N), a row for each anchor.
        positives: of each anchor. negatives: of each anchor; each forms a triplet with every positive.
        margin: wanted difference of distances.
    Returns:
        (…, N) means over the triplets, 0 for anchors without any, and (…, N) bool, which anchors have some.
    """
    near = distances.gather(-1, positives.tokens)[..., :, None]
    far = distances.gather(-1, negatives.tokens)[..., None, :]
    valid = positives.valid[..., :, None] & negatives.valid[..., None, :]
    violations = (near - far + margin).clamp(min=0) * valid
    count = valid.sum((-2, -1))
    return violations.sum((-2, -1)) / count.clamp(min=1), count > 0
