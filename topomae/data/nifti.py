"""Reading NIfTI files to the last byte."""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from nibabel.wrapstruct import WrapStructError

from topomae.data.raw_volume import (
    RawVolume,
    check_affine,
    check_bytes,
    check_end,
    not_scalar,
    refuse_content,
    spatial_shape,
)
from topomae.errors import BadDataError

# nibabel prints what it repairs in a header to the terminal, past our events; what matters is checked here.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)

_HEADER_BYTES = {1: 348, 2: 540}
_BAD_HEADER = (HeaderDataError, WrapStructError, ValueError, OverflowError)
_PIECE = 1 << 24  # bytes of voxels that are read and scaled at once: little beside a volume
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
    with _opened(path) as stream:
        header = _header(stream, path)
        volume = _read_voxels(stream, header, path, dtype)
        check_end(stream, volume.array.nbytes, path)
    return volume


def count_nifti_channels(path: Path) -> int:
    """Return the number of channels that the header declares, without reading voxels.

    Raises:
        BadDataError: the header cannot be used.
    """
    with _opened(path) as stream:
        return spatial_shape(_shape(_header(stream, path)), path)[3]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The content of the file, decompressed; what is wrong with the compression is told in words."""
    compressed = _is_compressed(path)
    with open(path, "rb") as file:
        head = file.read(1024)
    if not head or (compressed and not head.startswith(b"\x1f\x8b")):
        raise refuse_content(path, "a NIfTI file", head)
    try:
        with gzip.open(path, "rb") if compressed else open(path, "rb") as stream:
            yield stream
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


def _is_compressed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _header(stream: BinaryIO, path: Path) -> nib.Nifti1Header:
    """The header at the begin of a stream. What may follow it, extensions of any size, is not looked at."""
    head = stream.read(_HEADER_BYTES[2])
    kind = {1: nib.Nifti1Header, 2: nib.Nifti2Header}[version := _version(head, path)]
    try:
        _check_spacing(kind(head[: _HEADER_BYTES[version]], check=False), path)
        header = kind(head[: _HEADER_BYTES[version]])
        _shape(header)  # each of these may find the header impossible
        header.get_data_dtype()
        header.get_data_offset()
        header.get_slope_inter()
        header.get_best_affine()
        return header
    except _BAD_HEADER as error:
        raise BadDataError(
            f"the NIfTI header is damaged ({_one_line(error)})", hint="Export the volume again.", path=path
        ) from None


def _shape(header: nib.Nifti1Header) -> tuple[int, ...]:
    return tuple(int(n) for n in header.get_data_shape())


def _read_voxels(stream: BinaryIO, header: nib.Nifti1Header, path: Path, dtype: type | None) -> RawVolume:
    """The voxels behind a header, checked before memory is taken for them."""
    shape, stored = spatial_shape(_shape(header), path), header.get_data_dtype()
    if stored.names is not None or stored.kind not in "iuf":
        found = "colours (RGB)" if stored.names else "complex numbers" if stored.kind == "c" else str(stored)
        raise not_scalar(path, found)
    affine, notes = _affine(header)
    check_affine(affine, path)
    # 0 is "not stated"; before this byte there is only the header.
    offset = int(header.get_data_offset()) or header.single_vox_offset
    check_bytes(path, offset + math.prod(shape) * stored.itemsize, _is_compressed(path))
    stream.seek(offset)
    return RawVolume(_scaled_voxels(stream, shape, header, path, dtype), affine, notes)


def _scaled_voxels(
    stream: BinaryIO, shape: tuple[int, int, int, int], header: nib.Nifti1Header, path: Path, dtype: type | None
) -> np.ndarray:
    """Read (C, I, J, K) voxels piece by piece, so that memory is taken for the result alone."""
    i, j, k, channels = shape
    stored = header.get_data_dtype()
    slope, inter = (np.asarray(1.0 - place if n is None else n) for place, n in enumerate(header.get_slope_inter()))
    if dtype is not None:  # as nibabel does: the precision asked for, if it holds the numbers
        slope, inter = (n.astype(dtype) if np.can_cast(n.dtype, dtype) else n for n in (slope, inter))
    kind = dtype or apply_read_scaling(np.zeros(1, stored), slope, inter).dtype
    array = np.empty((channels, i, j, k), kind)
    slices = max(1, _PIECE // (i * j * stored.itemsize))
    for channel in array:
        for start in range(0, k, slices):
            part = channel[:, :, start : start + slices]
            piece = stream.read(part.size * stored.itemsize)
            if len(piece) < part.size * stored.itemsize:
                raise BadDataError(
                    "the voxels end too early (truncated file)", hint="Copy or download it again.", path=path
                )
            values = np.frombuffer(piece, stored).reshape(part.shape, order="F")
            part[...] = apply_read_scaling(values, slope, inter)
    return array


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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _affine(header: nib.Nifti1Header) -> tuple[np.ndarray, list[str]]:
    """Return the voxel-to-RAS affine in mm, and a note where the header leaves the orientation open."""
    scale = _MILLIMETRES.get(int(header["xyzt_units"]) & 0x07, 1.0)
    affine = np.diag([scale, scale, scale, 1.0]) @ np.asarray(header.get_best_affine(), np.float64)
    if int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0:
        return affine, []
    # "Method 1" of the standard leaves the direction open. ITK, and so 3D Slicer, takes the axes as
    # left, posterior, superior with the origin at 0: do the same, so that results overlay there.
    spacing = scale * np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    note = "the header states no orientation: axes taken as left, posterior, superior, as 3D Slicer does"
    return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]), [note]
