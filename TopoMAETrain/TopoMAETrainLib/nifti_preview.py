"""Reads the NIfTI files that the engine writes as previews: float32, gzip, affine in the sform.

Slicer's own reader shows only one time point of several image channels, and would leave a storage node behind
through which saving the scene could overwrite the run's files.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

_HEADER_BYTES = 348
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
        with gzip.open(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"The preview {path} cannot be read: {error}") from error
    if len(content) < _HEADER_BYTES or struct.unpack_from("<i", content)[0] != _HEADER_BYTES:
        raise ValueError(f"The preview {path} is no NIfTI file.")
    axes, *shape = struct.unpack_from("<8h", content, 40)
    dataType = struct.unpack_from("<h", content, 70)[0]
    offset = int(struct.unpack_from("<f", content, 108)[0])
    sform = struct.unpack_from("<h", content, 254)[0]
    shape = [max(1, length) for length in shape[:axes]] + [1] * (4 - axes)
    count = int(np.prod(shape))
    if dataType != _FLOAT32 or sform <= 0 or axes > 4 or len(content) < offset + 4 * count:
        raise ValueError(f"The preview {path} is damaged, or not written by TopoMAE.")
    voxels = np.frombuffer(content, "<f4", count, offset).reshape(shape, order="F")
    affine = np.eye(4)
    affine[:3] = np.array(struct.unpack_from("<12f", content, 280)).reshape(3, 4)
    return np.ascontiguousarray(np.moveaxis(voxels, 3, 0)), affine
