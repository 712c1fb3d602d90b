"""Reading NRRD files through SimpleITK, which does not test gzip checksums: done here."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from topomae.data.file_names import path_within
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

_MAX_HEADER = 1 << 20
_MAX_LINE = 500
_MAX_AXES = 16  # of the NRRD library
_GZIP = {"gzip", "gz"}
# Bytes per voxel by the standard's names of types; every other name is a type of one byte.
_BYTES = {
    name: size
    for size, names in {
        2: "short, short int, signed short, int16, int16_t, unsigned short, ushort, uint16, uint16_t",
        4: "int, signed int, int32, int32_t, unsigned int, uint, uint32, uint32_t, float",
        8: "longlong, long long, int64, int64_t, unsigned long long, ulonglong, uint64, uint64_t, double",
    }.items()
    for name in names.split(", ")
}
# Kinds of the NRRD standard whose values are no independent grey values.
_NOT_SCALAR = re.compile(r"color|complex|quaternion|matrix|gradient|normal|covariant|^[23]-vector$", re.I)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_nrrd(path: Path, *, dtype: type | None = None) -> RawVolume:
    """Read a .nrrd file, or a .nhdr header with its data file beside it.

    Args:
        path: the file.
        dtype: numpy type of the voxels; by default the stored one.

    Returns:
        RawVolume with array (C, I, J, K); a list or vector axis becomes C.

    Raises:
        BadDataError: not an NRRD file, damaged, not scalar, data file elsewhere, or not placed in space.
    """
    fields, data_at = _header(path)
    _check_header(path, fields)
    _check_data(path, fields, data_at)
    image = read_with_itk(path)
    shape = image.GetSize()
    if len(shape) < 3:
        spatial_shape(tuple(shape), path)  # raises: not a volume
    if "complex" in image.GetPixelIDTypeAsString() or len(shape) > 3:
        raise not_scalar(path, image.GetPixelIDTypeAsString())
    affine = itk_affine(image)
    check_affine(affine, path)
    notes = []
    if not {"space", "space dimension"} & fields.keys():
        notes.append("the header states no orientation: axes taken as left, posterior, superior")
    return RawVolume(itk_array(image, dtype), affine, notes)


def count_nrrd_channels(path: Path) -> int:
    """Return the number of channels that the header declares, without reading voxels.

    Raises:
        BadDataError: the header cannot be used.
    """
    fields, _ = _header(path)
    sizes = _sizes(fields, path)
    _check_header(path, fields)
    if len(sizes) <= 3:
        return 1
    return math.prod(n for axis, n in enumerate(sizes) if axis not in _space_axes(fields))


def detached_data_file(path: Path) -> Path | None:
    """Return the data file that an .nhdr header names; None if it names none or cannot be used."""
    try:
        fields, _ = _header(path)
        named = fields.get("data file", fields.get("datafile", ""))
        return _data_file(path, named) if named else None
    except (OSError, BadDataError):
        return None


def read_with_itk(names: Path | list[str], *, as_float: bool = False) -> sitk.Image:
    """Read one file, or the files of a stack, with ITK's own error turned into ours.

    Raises:
        BadDataError: ITK cannot read the voxels.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK prints to the terminal, past our events
    path = names if isinstance(names, Path) else Path(names[0]).parent
    pixel = sitk.sitkFloat32 if as_float else sitk.sitkUnknown
    try:
        return sitk.ReadImage(str(names) if isinstance(names, Path) else names, pixel)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise BadDataError(
            f"the voxels cannot be read ({lines[-1].rstrip('.') if lines else 'no reason given'})",
            hint="The file is cut short or damaged: copy or export it again.",
            path=path,
        ) from None


def itk_affine(image: sitk.Image) -> np.ndarray:
    """Return the (4, 4) voxel-to-RAS affine in mm of an ITK image (ITK itself counts in LPS)."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return _LPS_TO_RAS @ affine


def itk_array(image: sitk.Image, dtype: type | None = None) -> np.ndarray:
    """Return an ITK image's voxels as (C, I, J, K)."""
    view = sitk.GetArrayViewFromImage(image)  # (K, J, I) or (K, J, I, C)
    view = view[..., None] if view.ndim == 3 else view
    return np.array(view.transpose(3, 2, 1, 0), dtype=dtype, order="C")


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Parse the text header: (fields in lower case, offset of the byte after the blank line)."""
    with open(path, "rb") as file:
        head = file.read(_MAX_HEADER)
    if not head.startswith(b"NRRD"):
        raise refuse_content(path, "an NRRD file", head[:1024])
    end = re.search(rb"\r?\n\r?\n", head)
    text = head[: end.start()] if end else head
    magic, *lines = re.split(rb"\r\n|\n|\r", text)
    if b"\0" in text or len(magic) > _MAX_LINE or any(_is_too_long(line) for line in lines):
        raise BadDataError("the NRRD header is damaged (it is no text)", hint="Export the volume again.", path=path)
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if colon and not line.startswith(b"#") and not value.startswith("="):
            fields[name.strip().lower()] = value.strip()
    if end is None and (len(head) == _MAX_HEADER or not {"data file", "datafile"} & fields.keys()):
        raise BadDataError("the header is cut short (truncated file)", hint="Copy or download it again.", path=path)
    return fields, end.end() if end else len(head)


def _is_too_long(line: bytes) -> bool:
    """Whether a line of a header makes ITK write past the end of a text of 1 kB, which ends the whole process.

    Comments, pairs of a key and a value, and the field that describes the content may have any length.
    """
    key, pair, _ = line.partition(b":=")
    free = line.startswith(b"#") or line.lower().startswith(b"content: ") or (pair and b": " not in key)
    return len(key if pair and free else b"" if free else line) > _MAX_LINE


def _sizes(fields: dict[str, str], path: Path) -> tuple[int, ...]:
    try:
        sizes = tuple(int(n) for n in fields["sizes"].split(maxsplit=_MAX_AXES))
        if len(sizes) > _MAX_AXES:
            raise ValueError
        return sizes
    except (KeyError, ValueError):
        raise BadDataError(
            "the NRRD header states no valid sizes", hint="Export the volume again.", path=path
        ) from None


def _space_axes(fields: dict[str, str]) -> list[int]:
    """Return the axes through space: those with a direction, else of kind domain, else the first 3."""
    directions = re.findall(r"none|\([^()]*\)", fields.get("space directions", ""))
    axes = [axis for axis, direction in enumerate(directions) if direction != "none"]
    if len(axes) != 3:
        kinds = fields.get("kinds", "").lower().split()
        axes = [axis for axis, kind in enumerate(kinds) if kind in ("domain", "space")]
    within = len(axes) == 3 and max(axes) < len(fields["sizes"].split())
    return axes if within else [0, 1, 2]


def _check_header(path: Path, fields: dict[str, str]) -> None:
    """Refuse what ITK would read into something else: bad sizes, colours and vectors in space."""
    sizes = _sizes(fields, path)
    axes = _space_axes(fields) if len(sizes) > 3 else list(range(len(sizes)))
    others = [n for axis, n in enumerate(sizes) if axis not in axes]
    spatial_shape((*(sizes[axis] for axis in axes), *others), path)
    kinds = fields.get("kinds", "").split()
    strange = next((kind for kind in kinds if _NOT_SCALAR.search(kind)), None)
    if strange:
        raise not_scalar(path, f"of kind {strange}")


def _check_data(path: Path, fields: dict[str, str], data_at: int) -> None:
    """Check that the voxels are all there and, if gzip-compressed, intact."""
    encoding = fields.get("encoding", "raw").lower()
    compressed = encoding in _GZIP
    data_file = fields.get("data file", fields.get("datafile", ""))
    if data_file:
        path, data_at = _data_file(path, data_file), 0
    needed = math.prod(_sizes(fields, path)) * _BYTES.get(fields.get("type", "").lower(), 1)
    check_bytes(path, _fewest_bytes(encoding, needed, math.prod(_sizes(fields, path))), compressed)
    if compressed and not {"line skip", "byte skip"} & fields.keys():
        _check_gzip(path, data_at, needed)


def _fewest_bytes(encoding: str, binary: int, values: int) -> int:
    """How many bytes the data have at least, given how many values they are and their bytes as numbers."""
    if encoding in _GZIP | {"raw"}:
        return binary
    return 2 * binary if encoding == "hex" else 2 * values - 1  # two digits per byte; a digit and a space per value


def _data_file(header: Path, named: str) -> Path:
    """Return the data file that a detached header names; it must lie beside the header."""
    if named.upper().startswith("LIST") or "%" in named:
        raise BadDataError(
            "the voxels are spread over several data files",
            hint="Save the volume as one .nrrd file.",
            path=header,
        )
    data = path_within(named, header.parent)
    if not data.is_file():
        raise BadDataError(
            f"the data file {named} that this header names is missing",
            hint="Copy it beside the header.",
            path=header,
        )
    return data


def _check_gzip(path: Path, start: int, voxels: int) -> None:
    """Read a gzip stream of so many bytes of voxels to its end, where the checksum stands."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            with gzip.GzipFile(fileobj=file) as stream:
                check_end(stream, 2 * voxels, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadDataError(
            f"the compressed data are damaged ({str(error).rstrip('.')})",
            hint="Copy or download it again.",
            path=path,
        ) from None
