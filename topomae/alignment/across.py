"""Alignment across subjects: neighbourhoods are alike in different people, though no voxel corresponds to another.

Tokens of two scans that are each other's nearest neighbour stand in for correspondences. After "inter-instance"
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


def across_subjects(
    first: torch.Tensor,
    second: torch.Tensor,
    pairs: torch.Tensor,
    *,
    neighbours: int = 5,
    margin: float = 0.4,
    negatives: NegativeChoice = "random",
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Hinge over triplets of tokens of different subjects, in both directions.

    For each pair (p, q) of samples the first view of p is compared with the second of q, and the first of q with
    the second of p. Where token i of the one matches u of the other, the matches of i's neighbours shall be nearer
    to u than tokens that match nothing, by a margin; where everything is matched, than tokens that are no
    positives of u. Matches and neighbours are by cosine distance and not differentiated.

    Args:
        first: (B, N, C) tokens of the first view of each sample.
        second: (B, N, C) of its second view.
        pairs: (P, 2) int64 indices of samples of different subjects; see `subject_pairs`.
        neighbours: of a token; as many negatives are chosen. Fewer where there are too few tokens.
        margin: wanted difference of cosine distances.
        negatives: how these are chosen.
        generator: on the CPU, decides what is random.
    Returns:
        Scalar, float32: the mean over the pairs and directions in which there is a triplet; 0 if there are none.
    """
    tokens = first.shape[1]
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        if len(pairs) == 0 or tokens < 2:
            return 0 * (first.sum() + second.sum())
        pairs = pairs.to(first.device)
        one = directions(torch.cat([first[pairs[:, 0]], first[pairs[:, 1]]]))
        other = directions(torch.cat([second[pairs[:, 1]], second[pairs[:, 0]]]))
        count = min(neighbours, tokens - 1)
        options = (count, neighbours, margin, negatives, generator)
        sums, compared = zip(_one_way(one, other, *options), _one_way(other, one, *options), strict=True)
        return sum(sums) / sum(compared).clamp(min=1)


def subject_pairs(subjects: torch.Tensor, most: int, generator: torch.Generator | None) -> torch.Tensor:
    """Up to `most` pairs of samples of different subjects, at random where there are more.

    Args:
        subjects: (B,) int64, equal for samples of one subject.
        most: pairs to choose; bounds time and memory, which grow with pairs · N².
        generator: on the CPU.
    Returns:
        (P, 2) int64 on the CPU, ascending in each row; P is 0 where there is one subject only.
    """
    subjects = subjects.cpu()
    possible = torch.triu_indices(len(subjects), len(subjects), offset=1).T
    possible = possible[subjects[possible[:, 0]] != subjects[possible[:, 1]]]
    if len(possible) <= most:
        return possible
    return possible[torch.randperm(len(possible), generator=generator)[:most]]


def mutual_nearest(distances: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest column of each row, and which of these matches are mutual.

    Args:
        distances: (…, N, M).
    Returns:
        (…, N) int64 columns and (…, N) bool. Mutual matches are one to one.
    """
    of_row, of_column = distances.argmin(-1), distances.argmin(-2)
    rows = torch.arange(distances.shape[-2], device=distances.device)
    return of_row, of_column.gather(-1, of_row) == rows


def _one_way(
    known: torch.Tensor,
    taught: torch.Tensor,
    neighbours: int,
    most_negatives: int,
    margin: float,
    negatives: NegativeChoice,
    generator: torch.Generator | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Teach (P, N, C) tokens the neighbourhoods of others: sum over the pairs with triplets, and their number."""
    with torch.no_grad():
        image, matched = mutual_nearest(1 - known @ taught.transpose(-1, -2))
        close = nearest(cosine_distances(known), neighbours)
    # Row i: the distances of the match of i to everything in its scan.
    everything = cosine_distances(taught)
    distances = everything.gather(-2, image[..., None].expand_as(everything))

    positives = Chosen(_taken(image, close), _taken(matched, close) & matched[..., None])
    is_positive = _marked(positives, like=everything)
    has_match = torch.zeros_like(image).scatter_add(-1, image, matched.long()) > 0
    unmatched = (~has_match)[..., None, :].expand_as(is_positive)
    not_positive = ~is_positive & ~torch.zeros_like(is_positive).scatter(-1, image[..., None], True)
    candidates = torch.where((~has_match).any(-1)[..., None, None], unmatched, not_positive)

    far = choose_negatives(candidates, distances, most_negatives, negatives, generator)
    hinge, has_triplets = triplet_hinge(distances, positives, far, margin)
    anchors = has_triplets.sum(-1)
    return (hinge.sum(-1) / anchors.clamp(min=1)).sum(), (anchors > 0).sum()


def _taken(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """values[p, indices[p, n, k]] for (P, N) values and (P, N, K) indices."""
    return values[..., None, :].expand(*indices.shape[:-1], -1).gather(-1, indices)


def _marked(chosen: Chosen, like: torch.Tensor) -> torch.Tensor:
    """(…, N, N) bool, True where a row has chosen the column."""
    return torch.zeros_like(like, dtype=torch.int32).scatter_add(-1, chosen.tokens, chosen.valid.int()) > 0
