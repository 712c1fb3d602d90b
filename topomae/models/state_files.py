"""Weights that other programs have written: read as tensors, never as anything that is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from topomae.errors import BadDataError
from topomae.models.weights import MOST_BYTES

_HINT = "Give a .safetensors file, or one that torch.save wrote of a state dict alone."


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Read a state dict, also one that lies in another, as in {"model": {...}, "epoch": 3}.

    Args:
        file: written by safetensors (ending .safetensors) or by torch.save.
    Returns:
        Name to tensor on the CPU; of a state dict inside another the names begin with that one's, as in
        "model.cls_token". What is no tensor is left out.
    Raises:
        BadDataError: it cannot be read, holds other things than plain values and tensors, or no tensors.
    """
    try:
        if not file.is_file():
            told = "is not a file" if file.exists() else "there is no such file of weights"
            raise BadDataError(told, hint=_HINT, path=file)
        if file.stat().st_size > MOST_BYTES:
            raise BadDataError("the file is impossibly large for weights", hint=_HINT, path=file)
        if file.name.lower().endswith(".safetensors"):
            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except BadDataError:
        raise
    except OSError as error:
        told = f"the file cannot be read ({error.strerror or error})"
        raise BadDataError(told, hint="Check its permissions.", path=file) from None
    except Exception as error:  # torch.load has a dozen kinds of them for files that are not what they should be
        reason = (
            "it holds more than tensors" if "weights_only" in str(error).lower() else "it is damaged or no such file"
        )
        raise BadDataError(f"cannot be read as weights: {reason}", hint=_HINT, path=file) from None
    tensors = _tensors(content)
    if not tensors:
        raise BadDataError("the file holds no tensors by names", hint=_HINT, path=file)
    if any(t.is_nested or t.is_quantized or t.is_meta or t.layout != torch.strided for t in tensors.values()):
        told = "the file holds tensors of an unusual kind (sparse, quantized, nested or without values)"
        raise BadDataError(told, hint="Save plain tensors.", path=file)
    return tensors


def _tensors(content: object, prefix: str = "", depth: int = 2) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, torch.Tensor):
            found[f"{prefix}{name}"] = value
        elif depth > 1:
            found |= _tensors(value, f"{prefix}{name}.", depth - 1)
    return found
