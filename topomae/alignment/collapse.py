"""Notices a collapse: features that have all become alike, which every alignment is glad of."""

from __future__ import annotations

import torch

_SMALLEST, _PART = 2.0, 0.1  # collapsed: below two dimensions, or below a tenth of what there has been


@torch.no_grad()
def effective_rank(features: torch.Tensor) -> torch.Tensor:
    """How many dimensions the features use: the exponential of the entropy of their singular values.

    Roy & Vetterli, "The effective rank", EUSIPCO 2007. From 1, all features being multiples of one, to the
    smaller side of the matrix.

    Args:
        features: (M, C).
    Returns:
        Scalar float64; 1 for a matrix of zeros.
    """
    features = features.double()
    if features.shape[0] < features.shape[1]:
        features = features.T
    values = torch.linalg.eigvalsh(features.T @ features).clamp(min=0).sqrt()
    shares = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return torch.special.entr(shares).sum().exp()


class CollapseWatch:
    """Says so, once, when the effective rank of the tokens has fallen too far."""

    def __init__(self):
        self._highest = 0.0
        self._told = False

    def observe(self, rank: float) -> str | None:
        """Take in the rank at a step; return what the user should know, if there is something new to know."""
        self._highest = max(self._highest, rank)
        if self._told or rank >= max(_SMALLEST, _PART * self._highest):
            return None
        self._told = True
        return (
            f"the aligned features have collapsed: their effective rank is {rank:.1f} and was {self._highest:.1f}. "
            "Use smaller alignment weights, or a larger reconstruction_weight, in a new run"
        )

    def state(self) -> dict[str, float]:
        """What a checkpoint needs to go on."""
        return {"highest": self._highest, "told": float(self._told)}

    def load(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self._highest, self._told = state["highest"], bool(state["told"])
