"""Reads the NIfTI files that the engine writes as previews: float32, gzip, affine in the sform.

Slicer's own reader shows only one time point of several image channels, and would leave a storage node behind
through which saving the scene could overwrite the run's files.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

_HEADER_BYTES = 348
_MOST_HEADER_BYTES = 1 << 20
_MOST_VOXELS = 1 << 28
_FLOAT32 = 16


def readPreview(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and place of a preview volume.

    Args:
        path: a .nii.gz file of a run's `previews` folder.
    Returns:
        Array (C, I, J, K) float32, one C per image channel, and the affine (4, 4), voxel index to RAS mm.
    Raises:
        ValueError: the file cannot be read, or is none that the engine writes.
    """
    try:
        if not Path(path).is_file():  # a pipe would be read for ever
            raise ValueError("no file")
        with gzip.open(path, "rb") as file:
            header = file.read(_HEADER_BYTES)
            shape, offset = _layout(header)
            count = math.prod(shape)
            # No more than the header declares: what is left of a small file may expand to anything.
            content = header + file.read(offset - _HEADER_BYTES + 4 * count)
    except (OSError, EOFError, zlib.error, ValueError, OverflowError, struct.error) as error:
        raise ValueError(f"The preview {path} cannot be read: {error}") from error
    if len(content) < offset + 4 * count:
        raise ValueError(f"The preview {path} is damaged, or not written by TopoMAE.")
    voxels = np.frombuffer(content, "<f4", count, offset).reshape(shape, order="F")
    affine = np.eye(4)
    affine[:3] = np.array(struct.unpack_from("<12f", header, 280)).reshape(3, 4)
    return np.ascontiguousarray(np.moveaxis(voxels, 3, 0)), affine


def _layout(header: bytes) -> tuple[list[int], int]:
    """Shape (I, J, K, C) and the place of the first voxel in the file, from the header.

    Raises:
        ValueError, OverflowError, struct.error: it is none that the engine writes.
    """
    if len(header) < _HEADER_BYTES or struct.unpack_from("<i", header)[0] != _HEADER_BYTES:
        raise ValueError("no NIfTI file")
    axes, *shape = struct.unpack_from("<8h", header, 40)
    dataType, sform = struct.unpack_from("<h", header, 70)[0], struct.unpack_from("<h", header, 254)[0]
    offset = int(struct.unpack_from("<f", header, 108)[0])
    shape = [max(1, length) for length in shape[: max(0, axes)]] + [1] * (4 - axes)
    if dataType != _FLOAT32 or sform <= 0 or not 1 <= axes <= 4 or not _HEADER_BYTES <= offset <= _MOST_HEADER_BYTES:
        raise ValueError("not written by TopoMAE")
    if math.prod(shape) > _MOST_VOXELS:
        raise ValueError("impossibly large")
    return shape, offset
