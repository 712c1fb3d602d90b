"""Weights of a network in a file: written whole, read only if they are what was written and fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from topomae.files import commit, temporary_path


class WeightsError(Exception):
    """What is wrong with a file of weights, as a clause; the caller says which model it belongs to."""


def write_weights(file: Path, network: nn.Module) -> tuple[str, int]:
    """Write a network's weights with safetensors; its folder is created.

    Returns:
        SHA-256 of the file, in hexadecimal, and its bytes.
    Raises:
        OSError: the file cannot be written.
    """
    weights = {
        name: weight.detach().to("cpu", copy=True).contiguous() for name, weight in network.state_dict().items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(file)
    try:
        save_file(weights, temporary)
    except SafetensorError as error:  # such as a full disk
        raise OSError(str(error)) from error
    commit(temporary, file)
    return _sha256(file), file.stat().st_size


def read_weights(file: Path, *, sha256: str, size: int) -> dict[str, torch.Tensor]:
    """Read weights by name, after comparing the file with what was written.

    Raises:
        WeightsError: another size or checksum, or unreadable.
    """
    try:
        found = file.stat().st_size
        if found != size:
            raise WeightsError(f"it has {found} bytes where {size} were written")
        if _sha256(file) != sha256:
            raise WeightsError("it is not as it was written (its checksum differs)")
        return load_file(file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"it is damaged ({error})") from None
    except OSError as error:
        raise WeightsError(f"it cannot be read ({error.strerror or error})") from None


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights into a network that they must fit exactly.

    Raises:
        WeightsError: one is missing, unknown, of another shape or not finite; nothing is loaded then.
    """
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in weights]
    problems += [f"{name} is unknown" for name in weights if name not in expected]
    for name in expected.keys() & weights.keys():
        if weights[name].shape != expected[name].shape:
            problems.append(f"{name} is {_shape(weights[name])} instead of {_shape(expected[name])}")
        elif not _is_finite(weights[name]):
            problems.append(f"{name} holds values that are not finite numbers")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"the weights do not fit the network: {', '.join(problems[:3])}{more}")
    network.load_state_dict(weights)


def _is_finite(weight: torch.Tensor) -> bool:
    return not weight.is_floating_point() or bool(torch.isfinite(weight.float()).all())


def _shape(weight: torch.Tensor) -> str:
    return "×".join(str(n) for n in weight.shape) or "a number"


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
