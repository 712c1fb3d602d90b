"""Fuzzed readers of volumes: NIfTI, NRRD and DICOM, with their voxels."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from fuzz.dicom_slices import three_slices
from fuzz.scratch import refused_or_done, scratch
from topomae.data.volume_io import count_channels, read_image, read_labels

# First byte of an input: how the rest of it becomes a file.
AS_LABELS, COMPRESSED, DETACHED = 1, 2, 4


def nifti(data: bytes) -> None:
    """Read a NIfTI file, plain or compressed, as an image or as a label map."""
    how, content = data[:1] or b"\0", data[1:]
    compress = how[0] & COMPRESSED
    suffix = ".nii.gz" if compress or content.startswith(b"\x1f\x8b") else ".nii"
    path = scratch("nifti") / f"a{suffix}"
    path.write_bytes(gzipped(content) if compress else content)
    _read(path, how[0])


def nrrd(data: bytes) -> None:
    """Read an NRRD file, with its voxels inside or in a file beside it (`a.raw`, 64 bytes)."""
    how, content = data[:1] or b"\0", data[1:]
    folder = scratch("nrrd")
    (folder / "a.raw").write_bytes(bytes(range(64)))
    path = folder / ("a.nhdr" if how[0] & DETACHED else "a.nrrd")
    head, blank, voxels = content.partition(b"\n\n")
    if how[0] & COMPRESSED and blank:
        content = head + blank + gzipped(voxels)
    path.write_bytes(content)
    _read(path, how[0])


def dicom(data: bytes) -> None:
    """Read a folder of three slices, the middle one replaced by the input."""
    folder = scratch("dicom")
    slices = three_slices()
    for place, content in enumerate((slices[0], data, slices[2])):
        (folder / f"{place}.dcm").write_bytes(content)
    image = refused_or_done(lambda: read_image(folder, problems=[]))
    if image is not None:
        _check_image(image)


def _read(path: Path, how: int) -> None:
    count = refused_or_done(lambda: count_channels(path))
    assert count is None or count >= 1
    if how & AS_LABELS:
        labels = refused_or_done(lambda: read_labels(path, problems=[]))
        assert labels is None or (labels.array.dtype.kind == "u" and labels.array.shape[0] == 1)
        return
    image = refused_or_done(lambda: read_image(path, problems=[]))
    if image is not None:
        _check_image(image)
        assert count == image.array.shape[0], f"{count} channels counted, {image.array.shape[0]} read"


def _check_image(image) -> None:
    assert image.array.dtype == np.float32 and image.array.ndim == 4 and image.array.size > 0
    assert np.isfinite(image.array).all() and np.isfinite(image.affine).all()
    assert image.array.flags.c_contiguous


def gzipped(content: bytes) -> bytes:
    """A gzip stream, always the same for the same content."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(content) + packer.flush()
