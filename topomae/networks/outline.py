"""The shapes of a network's weights without memory for them, so that a file can be compared before it is trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Outline = dict[str, tuple[torch.Size, torch.dtype]]
_MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


def outline(build: Callable[[], nn.Module]) -> Outline:
    """Shape and type of every weight of a network that is not really built.

    Args:
        build: builds it. `torch.device("meta")` would not do: networks compute with small tensors, such as the
            product of a grid, while they are built.
    Returns:
        Name to shape and type, as in its `state_dict`.
    """
    with _WithoutMemory():
        weights = build().state_dict()
    return {name: (weight.shape, weight.dtype) for name, weight in weights.items()}


class _WithoutMemory(TorchFunctionMode):
    """New tensors, which is what weights are made of, get a shape but no memory."""

    def __torch_function__(
        self, function: Callable, types: tuple, arguments: tuple = (), named: dict[str, Any] | None = None
    ) -> Any:
        named = dict(named or {})
        if function in _MAKERS:
            named["device"] = "meta"
        return function(*arguments, **named)
