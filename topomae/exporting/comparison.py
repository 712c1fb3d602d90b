"""Does an exported network say the same as the one it was made from?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from topomae.errors import RunError

# Of the largest value. Other libraries add in another order: in float32 that is 2e-5 of it or less, and 2e-4 through
# the many normalizations of a SwinUNETR.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Comparison:
    """How far two networks are apart on random input.

    Attributes:
        difference: largest difference of any output value.
        largest: largest output value of the original network, by its size.
    """

    difference: float
    largest: float

    def described(self) -> dict[str, Any]:
        """As JSON values."""
        return {"input": "standard normal", "tolerance": TOLERANCE, **self.__dict__}


@torch.no_grad()
def answers(network: Callable[..., torch.Tensor], inputs: Sequence[tuple[torch.Tensor, ...]]) -> list[torch.Tensor]:
    """What a network says to the arguments of some calls."""
    return [network(*given) for given in inputs]


def compare(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor], what: str) -> Comparison:
    """Compare what a network and its exported form say to the same inputs.

    Args:
        expected: from the network. found: from what was exported, and read back.
        what: the exported network, in words.
    Raises:
        RunError: they differ by more than `TOLERANCE` of the largest value, or are not finite.
    """
    difference = largest = 0.0
    for right, given in zip(expected, found, strict=True):
        if right.shape != given.shape or not bool(torch.isfinite(given).all()):
            raise _wrong(f"{what} gives other numbers than it should, or some that are not finite")
        difference = max(difference, float((right - given).abs().max()))
        largest = max(largest, float(right.abs().max()))
    if difference > TOLERANCE * largest:
        raise _wrong(f"{what} differs from the network by {difference:.2g} where values reach {largest:.2g}")
    return Comparison(difference, largest)


def _wrong(told: str) -> RunError:
    return RunError(
        f"{told}, so that nothing was written",
        hint="Export it in another format, or with another version of PyTorch.",
    )


def random_images(batch: int, channels: int, shape: Iterable[int], seed: int = 0) -> torch.Tensor:
    """Standard normal images, as normalized ones are in the mean: (batch, channels, *shape) float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, *shape, generator=generator)
