"""Weights of a network in a file: written whole, read only if they are what was written and fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from topomae.files import commit, temporary_path
from topomae.networks.outline import Outline

# The largest network here has less than 1 GB of weights.
MOST_BYTES = 16 << 30


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
    return file_sha256(file), file.stat().st_size


def check_unchanged(file: Path, *, sha256: str, size: int) -> None:
    """Compare a file with what was written.

    Raises:
        WeightsError: another size or checksum, or unreadable.
    """
    try:
        found = file.stat().st_size
        if found != size:
            raise WeightsError(f"it has {found} bytes where {size} were written")
        if found <= MOST_BYTES and file_sha256(file) != sha256:
            raise WeightsError("it is not as it was written (its checksum differs)")
    except OSError as error:
        raise WeightsError(f"it cannot be read ({error.strerror or error})") from None


def read_weights(file: Path, expected: Outline, *, others: bool = False) -> dict[str, torch.Tensor]:
    """Read the weights of a network. Memory is taken only after the file's header was found to fit.

    Args:
        file: written with safetensors, which holds numbers and nothing that is executed.
        expected: of the network, see `topomae.networks.outline`.
        others: whether the file may hold further weights; they are read as well.
    Raises:
        WeightsError: too large or damaged; a weight is missing, unknown, of another shape or type, or not finite.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise WeightsError(f"it is impossibly large ({file.stat().st_size:,} bytes)")
        with safe_open(file, "pt") as header:
            shapes = {name: torch.Size(header.get_slice(name).get_shape()) for name in header.keys()}  # noqa: SIM118
        _check_shapes(shapes, {name: shape for name, (shape, _) in expected.items()}, others)
        weights = load_file(file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"it is damaged ({error})") from None
    except OSError as error:
        raise WeightsError(f"it cannot be read ({error.strerror or error})") from None
    _check_values(weights, {name: kind for name, (_, kind) in expected.items()})
    return weights


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights into a network that they must fit exactly.

    Raises:
        WeightsError: one is missing, unknown, of another shape or type, or not finite; nothing is loaded then.
    """
    expected = network.state_dict()
    _check_shapes(
        {name: weight.shape for name, weight in weights.items()},
        {name: weight.shape for name, weight in expected.items()},
        others=False,
    )
    _check_values(weights, {name: weight.dtype for name, weight in expected.items()})
    network.load_state_dict(weights)


def _check_shapes(found: Mapping[str, torch.Size], expected: Mapping[str, torch.Size], others: bool) -> None:
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [] if others else [f"{name} is unknown" for name in found if name not in expected]
    problems += [
        f"{name} is {_shape(found[name])} instead of {_shape(expected[name])}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    _tell(problems)


def _check_values(weights: Mapping[str, torch.Tensor], kinds: Mapping[str, torch.dtype]) -> None:
    problems = []
    for name, weight in weights.items():
        if name in kinds and weight.dtype != kinds[name]:
            problems.append(f"{name} is of type {_kind(weight.dtype)} instead of {_kind(kinds[name])}")
        elif not _is_finite(weight):
            problems.append(f"{name} holds values that are not finite numbers")
    _tell(problems)


def _tell(problems: list[str]) -> None:
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"the weights do not fit the network: {', '.join(problems[:3])}{more}")


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _is_finite(weight: torch.Tensor) -> bool:
    return not weight.is_floating_point() or bool(torch.isfinite(weight.float()).all())


def _shape(shape: torch.Size) -> str:
    return "×".join(str(n) for n in shape) or "a number"


def file_sha256(file: Path) -> str:
    """SHA-256 of a file of any size, in hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
