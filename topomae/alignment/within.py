"""Alignment within a subject: tokens that are neighbours in one view are neighbours in the other.

Both views show the same voxels, so token n of the one lies where token n of the other does. After "intra-instance"
alignment of arXiv 2605.14654.
"""

from __future__ import annotations

import torch

from topomae.alignment.triplets import (
    Chosen,
    NegativeChoice,
    choose_negatives,
    cosine_distances,
    directions,
    nearest,
    triplet_hinge,
)


def within_subject(
    first: torch.Tensor,
    second: torch.Tensor,
    *,
    neighbours: int = 5,
    margin: float = 0.05,
    negatives: NegativeChoice = "random",
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Hinge over triplets of tokens, in both directions.

    The nearest neighbours of a token in one view (by Euclidean distance) shall be nearer to it in the other view
    (by cosine distance) than tokens which are no neighbours, by a margin. Which tokens are neighbours is not
    differentiated; the gradient reaches each view through the distances in it.

    Args:
        first: (B, N, C) tokens of one view.
        second: (B, N, C) of the other, at the same places.
        neighbours: of each token; as many others serve as negatives. Fewer where there are too few tokens.
        margin: wanted difference of cosine distances.
        negatives: how these are chosen among the tokens that are no neighbours.
        generator: on the CPU, decides what is random.
    Returns:
        Scalar, float32; 0 where there are fewer than three tokens.
    """
    tokens = first.shape[1]
    count = min(neighbours, tokens - 2)  # leaves at least one negative
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        if count < 1:
            return 0 * (first.sum() + second.sum())
        return 0.5 * (
            _one_way(first, second, count, neighbours, margin, negatives, generator)
            + _one_way(second, first, count, neighbours, margin, negatives, generator)
        )


def _one_way(
    known: torch.Tensor,
    taught: torch.Tensor,
    neighbours: int,
    most_negatives: int,
    margin: float,
    negatives: NegativeChoice,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Teach one view the neighbourhoods of the other."""
    with torch.no_grad():
        close = nearest(torch.cdist(known, known), neighbours)
    distances = cosine_distances(directions(taught))
    others = torch.ones_like(distances, dtype=torch.bool).scatter(-1, close, False)
    others.diagonal(dim1=-2, dim2=-1).fill_(False)
    far = choose_negatives(others, distances, most_negatives, negatives, generator)
    hinge, _ = triplet_hinge(distances, Chosen(close, torch.ones_like(close, dtype=torch.bool)), far, margin)
    return hinge.mean()
