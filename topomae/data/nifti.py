"""Reading NIfTI files to the last byte."""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from topomae.data.raw_volume import (
    RawVolume,
    check_affine,
    check_bytes,
    not_scalar,
    refuse_content,
    spatial_shape,
)
from topomae.errors import BadDataError

# nibabel prints what it repairs in a header to the terminal, past our events; what matters is checked here.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)

_HEADER_BYTES = {1: 348, 2: 540}
_BAD_HEADER = (
    HeaderDataError,
    WrapStructError,
    ImageFileError,
    ValueError,
    OverflowError,
)
# NIfTI-1 standard, field xyzt_units: metre, millimetre, micrometre; 0 (unknown) is taken as millimetre.
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}


def read_nifti(path: Path, *, dtype: type | None = None) -> RawVolume:
    """Read a .nii or .nii.gz file; the whole gzip stream is read, so that its checksum is tested.

    Args:
        path: the file.
        dtype: numpy type of the voxels; by default the one that holds the scaled values exactly.

    Returns:
        RawVolume with array (C, I, J, K): the fourth axis of the file is C. Positions are in mm
        whatever the file's unit of length. sform is used before qform (NIfTI-1 standard).

    Raises:
        BadDataError: not a NIfTI file, damaged, not scalar, or not placed in space.
    """
    compressed = path.name.lower().endswith(".gz")
    with open(path, "rb") as file:
        head = file.read(1024)
    if not head or (compressed and not head.startswith(b"\x1f\x8b")):
        raise refuse_content(path, "a NIfTI file", head)
    try:
        with gzip.open(path, "rb") if compressed else open(path, "rb") as stream:
            return _read_stream(stream, path, dtype, compressed)
    except EOFError:
        raise BadDataError(
            "the compressed data end too early (truncated file)", hint="Copy or download it again.", path=path
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadDataError(
            f"the compressed data are damaged ({str(error).rstrip('.')})",
            hint="Copy or download it again.",
            path=path,
        ) from None


def count_nifti_channels(path: Path) -> int:
    """Return the number of channels that the header declares, without reading voxels.

    Raises:
        BadDataError: the header cannot be used.
    """
    try:
        shape = nib.load(path).shape
    except (*_BAD_HEADER, EOFError, zlib.error) as error:
        raise BadDataError(
            f"the NIfTI header cannot be read ({error})", hint="Export the volume again.", path=path
        ) from None
    return spatial_shape(shape, path)[3]


def _read_stream(stream: BinaryIO, path: Path, dtype: type | None, compressed: bool) -> RawVolume:
    head = stream.read(_HEADER_BYTES[2])
    reader = {1: nib.Nifti1Image, 2: nib.Nifti2Image}[version := _version(head, path)]
    stream.seek(0)
    try:
        _check_spacing(reader.header_class(head[: _HEADER_BYTES[version]], check=False), path)
        image = reader.from_file_map({"image": FileHolder(fileobj=stream)}, mmap=False)
        offset = int(image.dataobj.offset)
        stored, shape = image.get_data_dtype(), tuple(int(n) for n in image.shape)
        affine, notes = _affine(image)
    except _BAD_HEADER as error:
        raise BadDataError(
            f"the NIfTI header is damaged ({error})", hint="Export the volume again.", path=path
        ) from None
    i, j, k, channels = spatial_shape(shape, path)
    if stored.names is not None or stored.kind not in "iuf":
        found = "colours (RGB)" if stored.names else "complex numbers" if stored.kind == "c" else str(stored)
        raise not_scalar(path, found)
    check_affine(affine, path)
    check_bytes(path, offset + math.prod(shape) * stored.itemsize, compressed)
    array = np.asarray(image.dataobj, dtype)
    while stream.read(1 << 20):  # nibabel stops at the last voxel; the checksum comes after it
        pass
    array = np.moveaxis(array.reshape((i, j, k, channels), order="F"), 3, 0)
    return RawVolume(np.ascontiguousarray(array, dtype), affine, notes)


def _version(head: bytes, path: Path) -> int:
    """Tell NIfTI-1 from NIfTI-2 by length field and magic string, refusing everything else."""
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")} & set(_HEADER_BYTES.values())
    if len(head) < _HEADER_BYTES[1]:
        if sizes:
            raise BadDataError(
                f"the header is cut short after {len(head)} bytes (truncated file)",
                hint="Copy or download it again.",
                path=path,
            )
        raise refuse_content(path, "a NIfTI file", head)
    if 540 in sizes and head[4:7] == b"n+2":
        return 2
    if 348 in sizes and head[344:347] == b"n+1":
        return 1
    if sizes:
        raise BadDataError(
            "an Analyze or two-file NIfTI header, without the voxels",
            hint="Convert the pair of files to one .nii.gz file.",
            path=path,
        )
    raise refuse_content(path, "a NIfTI file", head)


def _check_spacing(header: nib.Nifti1Header, path: Path) -> None:
    """Refuse a zero spacing where it places the voxels: nibabel would silently put 1 mm in its place."""
    spacing = np.asarray(header["pixdim"][1:4], np.float64)
    if int(header["sform_code"]) <= 0 and not (np.isfinite(spacing) & (spacing != 0)).all():
        check_affine(np.diag([*np.abs(spacing), 1.0]), path)


def _affine(image: nib.Nifti1Image) -> tuple[np.ndarray, list[str]]:
    """Return the voxel-to-RAS affine in mm, and a note where the header leaves the orientation open."""
    header = image.header
    scale = _MILLIMETRES.get(int(header["xyzt_units"]) & 0x07, 1.0)
    affine = np.diag([scale, scale, scale, 1.0]) @ np.asarray(image.affine, np.float64)
    if int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0:
        return affine, []
    # "Method 1" of the standard leaves the direction open. ITK, and so 3D Slicer, takes the axes as
    # left, posterior, superior with the origin at 0: do the same, so that results overlay there.
    spacing = scale * np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    note = "the header states no orientation: axes taken as left, posterior, superior, as 3D Slicer does"
    return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]), [note]
