"""What the readers of single formats share: their result, and checks before memory is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from topomae.errors import BadDataError

MAX_VOXELS = 2**33  # 2048³: more is a damaged header, or no volume for this program
# DEFLATE cannot expand by more than 1032:1 (zlib documentation, "Maximum Compression Factor").
MAX_GZIP_RATIO = 1032
_LONGEST_REST = 1 << 24  # bytes behind the voxels that are passed over: padding, not a second volume


@dataclass(frozen=True)
class RawVolume:
    """Voxels as one format's reader found them.

    Attributes:
        array: (C, I, J, K) with the file's scaling applied.
        affine: (4, 4) float64, voxel to RAS mm.
        notes: what the user should know although the file can be used.
    """

    array: np.ndarray
    affine: np.ndarray
    notes: list[str] = field(default_factory=list)


def what_is_it(head: bytes) -> str:
    """Name the content that a file's first bytes give away; "" if they say nothing."""
    text = head.lstrip().lower()
    if not head:
        return "an empty file"
    if text.startswith((b"version https://git-lfs", b"/annex/objects")):
        return "a Git LFS or git-annex pointer to one"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, as failed downloads leave it"
    if head.startswith(b"\x1f\x8b"):
        return "a gzip file"
    if head.startswith(b"NRRD"):
        return "an NRRD file"
    if head[128:132] == b"DICM":
        return "a DICOM file"
    if head[344:347] in (b"n+1", b"ni1") or head[4:7] == b"n+2":
        return "an uncompressed NIfTI file"
    return ""


def refuse_content(path: Path, expected: str, head: bytes) -> BadDataError:
    """Make the error for a file that is not what its name says."""
    found = what_is_it(head)
    if found == "an empty file":
        return BadDataError("the file is empty (0 bytes)", hint="Copy or download it again.", path=path)
    rename = found in ("a gzip file", "an NRRD file", "a DICOM file", "an uncompressed NIfTI file")
    return BadDataError(
        f"not {expected}" + (f" but {found}" if found else ": its first bytes are of no known format"),
        hint="Give the file its right suffix." if rename else "Fetch the real file again.",
        path=path,
    )


def spatial_shape(shape: tuple[int, ...], path: Path) -> tuple[int, int, int, int]:
    """Check declared axis lengths and return them as (I, J, K, C); trailing axes of length 1 do not count.

    Raises:
        BadDataError: not a 3-D volume (with channels), or an absurd size.
    """
    written = "×".join(str(n) for n in shape) or "nothing"
    axes = list(shape[:3]) + [n for n in shape[3:] if n != 1]
    if any(n < 1 for n in axes) or math.prod(axes) > MAX_VOXELS:
        raise BadDataError(
            f"the header declares an impossible size of {written} voxels",
            hint="The header is damaged: export the volume again.",
            path=path,
        )
    if len(axes) < 3 or min(axes[:3]) < 2:
        raise BadDataError(
            f"a single image of {written} pixels, not a volume",
            hint="Give a 3-D volume with at least 2 voxels along each axis.",
            path=path,
        )
    if len(axes) > 4:
        raise BadDataError(
            f"the volume has {len(axes)} axes ({written})",
            hint="Give 3-D volumes, or 4-D ones whose last axis is the modality.",
            path=path,
        )
    return tuple(axes) if len(axes) == 4 else (*axes, 1)


def check_bytes(path: Path, needed: int, compressed: bool) -> None:
    """Refuse a file that cannot hold the bytes its header declares, before memory is taken.

    Raises:
        BadDataError: the file is too short.
    """
    size = path.stat().st_size
    if needed > (size * MAX_GZIP_RATIO if compressed else size):
        raise BadDataError(
            f"the header declares {needed:,} bytes of voxels, more than this file of {size:,} bytes can hold",
            hint="The file is cut short or its header is damaged: copy or export it again.",
            path=path,
        )


def check_end(stream: BinaryIO, voxels: int, path: Path) -> None:
    """Read on behind the voxels to the end of a stream, where the checksum of gzip stands.

    Args:
        stream: of the decompressed content, behind the last voxel.
        voxels: bytes of the voxels.
        path: of the file, for messages.
    Raises:
        BadDataError: far more follows than was declared. (A small file can unpack for hours.)
    """
    left = max(_LONGEST_REST, voxels)
    while piece := stream.read(1 << 20):
        left -= len(piece)
        if left < 0:
            raise BadDataError(
                f"far more data follow than the {voxels:,} bytes of voxels that the header declares",
                hint="The header is damaged: export the volume again.",
                path=path,
            )


def not_scalar(path: Path, found: str) -> BadDataError:
    """Make the error for colour, complex and vector pixels."""
    return BadDataError(
        f"not a scalar image: its voxels are {found}",
        hint="Convert it to one grey value per voxel.",
        path=path,
    )


def check_affine(affine: np.ndarray, path: Path) -> None:
    """Refuse an affine that places no voxel grid in space.

    Raises:
        BadDataError: a spacing is zero or not finite, or the axes are not independent.
    """
    linear = np.asarray(affine, float)[:3, :3]
    spacing = np.linalg.norm(linear, axis=0) if np.isfinite(affine).all() else np.full(3, np.nan)
    if not (spacing > 0).all():
        numbers = "×".join(f"{s:g}" for s in spacing)
        raise BadDataError(
            f"the voxel spacing in the header is not positive ({numbers} mm)",
            hint="Export the volume again with its spacing.",
            path=path,
        )
    if abs(np.linalg.det(linear / spacing)) < 1e-4:
        raise BadDataError(
            "the three voxel axes in the header do not span space (singular affine)",
            hint="Export the volume again with its orientation.",
            path=path,
        )
