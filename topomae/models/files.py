"""Files of a model folder, which may come from anywhere: regular files inside it, nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from topomae.errors import BadDataError
from topomae.networks.factory import NetworkSpec

# Some weights lie on the grid of tokens. Real networks have at most some 100,000 tokens; a file that asks for
# more than this is damaged or malicious.
_MOST_TOKENS = 1 << 20
_MOST_CROP_VOXELS = 1 << 28
_MOST_FUSED_STAGES = 16
COPY_AGAIN = "Copy the model folder again, or train again."


def model_file(place: Path, name: str) -> Path:
    """A file of a model folder.

    Args:
        place: the model folder. It may itself be reached by a link.
        name: of the file in it.
    Raises:
        BadDataError: missing, a link that leads out of the folder, or no regular file (a device or a pipe, which
            would be read for ever).
    """
    file = place / name
    try:
        inside = file.resolve().is_relative_to(place.resolve())
        regular = file.is_file()
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links before Python 3.13
        inside, regular = True, False
    if not inside:
        raise BadDataError(
            f"{name} is a link that leads out of the model folder",
            hint="Copy the model folder with the files that its links lead to.",
            path=place,
        )
    if not regular:
        raise damaged(f"{name} is missing from the model folder", place)
    return file


def check_size(spec: NetworkSpec, place: Path, crop_size: Sequence[int] = ()) -> None:
    """Refuse a network that is too large to be true, before anything of it is built.

    Args:
        spec: how to build it.
        place: the model folder.
        crop_size: of the plan, if that may be another.
    Raises:
        BadDataError: saying what is impossible.
    """
    voxels = max(math.prod(spec.crop_size), math.prod(crop_size))
    tokens = max(voxels // math.prod(part) for part in (spec.stem_stride, spec.patch_size))
    if voxels > _MOST_CROP_VOXELS or tokens > _MOST_TOKENS or len(spec.fused_stages) > _MOST_FUSED_STAGES:
        raise damaged("network.json asks for an impossibly large network", place)


def damaged(message: str, place: Path) -> BadDataError:
    """The error for a model folder that is not as it was written."""
    return BadDataError(message, hint=COPY_AGAIN, path=place)
