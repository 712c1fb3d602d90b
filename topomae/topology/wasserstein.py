"""Exact 2-Wasserstein distance between the diagrams of two volumes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from topomae.topology.diagram import DIMENSIONS, Diagram
from topomae.topology.matching import Matching, match


@dataclass(frozen=True)
class Distance:
    """How far two diagrams are apart, and through which matching.

    Attributes:
        matchings: dimension to matching; see `Matching` for costs, partners and gaps.
        essential: squared difference of the global minima (components that never die); 0 if not counted.
    """

    matchings: dict[int, Matching]
    essential: float = 0.0

    @property
    def squared(self) -> float:
        """Sum of the squared distances of all dimensions and the essential part."""
        return sum(matching.squared_distance for matching in self.matchings.values()) + self.essential

    @property
    def gap(self) -> float:
        """The true squared distance is at most this much smaller than `squared`."""
        return sum(matching.gap for matching in self.matchings.values())

    @property
    def complete(self) -> bool:
        """False if a work budget ended before every matching was exact."""
        return all(matching.complete for matching in self.matchings.values())

    def __float__(self) -> float:
        return float(np.sqrt(self.squared))


def wasserstein(
    a: Diagram,
    b: Diagram,
    dims: Iterable[int] = DIMENSIONS,
    *,
    essential: bool = True,
    budget: int | None = None,
) -> Distance:
    """Exact 2-Wasserstein distance (L2 ground metric, diagonal allowed) of two diagrams.

    Args:
        a, b: the diagrams.
        dims: dimensions to compare; their squared distances add up.
        essential: compare the global minima too, with each other.
        budget: work allowed per dimension, see `matching.match`; beyond it the best matching found so far is
            returned with a certified gap and `complete` False.

    Returns:
        The distance; `float(distance)` is W2, `distance.squared` its square, in intensity units.
    """
    return Distance(
        matchings={dim: match(a.values[dim], b.values[dim], budget) for dim in dims},
        essential=(a.essential_value - b.essential_value) ** 2 if essential else 0.0,
    )
