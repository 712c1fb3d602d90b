"""Reading and writing volumes: NIfTI, NRRD, and DICOM series folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from topomae.data.dicom import read_dicom_series
from topomae.data.file_names import READABLE, image_suffix, is_image_file, stem_of
from topomae.data.nifti import count_nifti_channels, read_nifti
from topomae.data.nrrd import count_nrrd_channels, read_nrrd
from topomae.data.raw_volume import RawVolume
from topomae.data.volume import Volume
from topomae.data.volume_writing import smallest_unsigned, write_image, write_labels
from topomae.errors import BadDataError

__all__ = [
    "count_channels",
    "image_suffix",
    "is_image_file",
    "read_image",
    "read_labels",
    "stem_of",
    "write_image",
    "write_labels",
]

# Label maps stored through scl_slope come back with rounding of this order; interpolation is far above.
_WHOLE_NUMBER_TOLERANCE = 1e-3
_MAX_LABEL = 65535
_PIECE = 1 << 20  # voxels looked at at once


def read_image(path: str | Path, *, case: str = "", problems: list[str] | None = None) -> Volume:
    """Read an image in its physical units.

    Args:
        path: .nii, .nii.gz, .nrrd or .nhdr file, or a folder with one DICOM series.
        case: name of the case, for messages.
        problems: a list that receives a sentence for each oddity that was repaired or deserves a look.

    Returns:
        Volume with a finite float32 array (C, I, J, K); the fourth axis of a 4-D file is C. NaN and
        -Inf become the channel's smallest finite value, Inf its largest, with a note in `problems`.

    Raises:
        BadDataError: the file cannot be used; the message says why and what to do.
    """
    path = Path(path)
    problems = problems if problems is not None else []
    with _told_about(path, case):
        raw = _read(path, np.float32)
        problems += [f"{path.name}: {note}" for note in raw.notes]
        array = finite_voxels(raw.array, path, problems)
    return Volume(array, raw.affine, path)


def read_labels(path: str | Path, *, case: str = "", problems: list[str] | None = None) -> Volume:
    """Read a label map.

    Args:
        path: .nii, .nii.gz, .nrrd or .nhdr file.
        case: name of the case, for messages.
        problems: a list that receives a sentence for each oddity that deserves a look.

    Returns:
        Volume with an array (1, I, J, K) in the smallest unsigned integer type that holds its values.

    Raises:
        BadDataError: the file cannot be used, has several channels, or holds values that are
            fractional, negative or not finite.
    """
    path = Path(path)
    with _told_about(path, case):
        raw = _read(path, None)
        if raw.array.shape[0] != 1:
            raise BadDataError(
                f"the label map has {raw.array.shape[0]} channels",
                hint="Store one label value per voxel in a single 3-D volume.",
                path=path,
            )
        if problems is not None:
            problems += [f"{path.name}: {note}" for note in raw.notes]
        return Volume(whole_numbers(raw.array, path), raw.affine, path)


def count_channels(path: str | Path) -> int:
    """Return the number of channels that a volume file's header declares, without reading voxels.

    Raises:
        BadDataError: the header cannot be read.
    """
    path = Path(path)
    with _told_about(path, ""):
        nifti = (image_suffix(path) or "").startswith(".nii")
        return count_nifti_channels(path) if nifti else count_nrrd_channels(path)


def _read(path: Path, dtype: type | None) -> RawVolume:
    if path.is_dir():
        return read_dicom_series(path)
    suffix = image_suffix(path)
    if suffix is None:
        dicom = path.suffix.lower() in (".dcm", ".ima")
        raise BadDataError(
            "a single DICOM file" if dicom else "not a volume file by its name",
            hint="Give the folder that holds the series." if dicom else f"Give {READABLE}.",
            path=path,
        )
    if not path.exists():
        raise FileNotFoundError
    if not path.is_file():  # a pipe would be waited for, a device may never end
        raise BadDataError("not a file with a volume", hint=f"Give {READABLE}.", path=path)
    return read_nifti(path, dtype=dtype) if suffix.startswith(".nii") else read_nrrd(path, dtype=dtype)


def finite_voxels(array: np.ndarray, path: Path, problems: list[str]) -> np.ndarray:
    """Replace what is not finite, channel by channel, telling how many voxels.

    Args:
        array: (C, I, J, K) floating, changed in place.
        path: of its file, for messages.
        problems: receives a sentence if something was replaced.
    Raises:
        BadDataError: a channel has no finite voxel.
    """
    not_numbers = infinite = 0
    for channel in array:
        if np.isfinite(channel.sum(dtype=np.float64)):  # cheaper than a mask, and almost always true
            continue
        low, high = _range(channel)
        if low > high:
            raise BadDataError("no voxel is a finite number", hint="Export the volume again.", path=path)
        for plane in channel:
            not_numbers += int(np.isnan(plane).sum())
            infinite += int(np.isinf(plane).sum())
            np.nan_to_num(plane, copy=False, nan=low, posinf=high, neginf=low)
    if not_numbers or infinite:
        problems.append(
            f"{path.name}: {not_numbers} NaN and {infinite} infinite voxels were replaced by the smallest "
            "(NaN, -Inf) and largest (Inf) finite value"
        )
    return array


def whole_numbers(array: np.ndarray, path: Path) -> np.ndarray:
    """Label values as unsigned integers of the smallest type that holds them.

    Args:
        array: label map of any shape and real type.
        path: of its file, for messages.
    Raises:
        BadDataError: values that are not whole numbers, negative or too large.
    """
    low, high, odd, count = _label_range(array)
    if count:
        values = ", ".join(f"{v:g}" for v in odd)
        raise BadDataError(
            f"the label map holds values that are not whole numbers ({values}) in {count} voxels",
            hint="It was interpolated: resample labels by nearest neighbour, or export them again.",
            path=path,
        )
    if low < 0 or high > _MAX_LABEL:
        raise BadDataError(
            f"the label map holds the value {low if low < 0 else high:g}, outside 0 to {_MAX_LABEL}",
            hint="Give label maps with small whole numbers, 0 for background.",
            path=path,
        )
    if array.dtype.kind != "f":
        return smallest_unsigned(array)
    labels = np.empty_like(array, np.min_scalar_type(int(high)))
    for voxels, part in zip(_pieces(labels), _pieces(array), strict=True):
        voxels[...] = np.rint(part)
    return labels


def _range(channel: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite value; the smallest is larger if there is none."""
    low, high = np.inf, -np.inf
    for plane in channel:
        finite = plane[np.isfinite(plane)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high


def _label_range(array: np.ndarray) -> tuple[float, float, np.ndarray, int]:
    """Smallest and largest value, rounded; the first few values that are no whole numbers, and of how many voxels."""
    odd, count = np.empty(0), 0
    if array.dtype.kind != "f":
        return array.min(), array.max(), odd, count
    low, high = np.inf, -np.inf
    for part in _pieces(array):
        rounded = np.rint(part)
        with np.errstate(invalid="ignore"):  # infinity less infinity is not a number, and so no whole one
            strange = part[~(np.abs(part - rounded) <= _WHOLE_NUMBER_TOLERANCE)]
        odd, count = np.unique(np.concatenate([odd, strange]))[:4], count + strange.size
        low, high = min(low, rounded.min()), max(high, rounded.max())
    return low, high, odd, count


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Views of parts of an array, in the order in which they lie in memory, so that no mask is as large as it."""
    flat = array.ravel(order="K")
    return (flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE))


@contextmanager
def _told_about(path: Path, case: str) -> Iterator[None]:
    """Name the case in every error, and turn the system's errors into a sentence."""
    try:
        with np.errstate(all="ignore"):  # NaN, Inf and overflow are looked for and told in words
            yield
    except BadDataError as error:
        raise BadDataError(
            error.message, hint=error.hint, case=error.case or case, path=error.path or path
        ) from error.__cause__
    except FileNotFoundError:
        raise BadDataError(
            "the file does not exist", hint="Check the path, or restore the file.", case=case, path=path
        ) from None
    except MemoryError:
        raise BadDataError(
            "the volume does not fit into memory",
            hint="Crop or downsample it, or use a machine with more memory.",
            case=case,
            path=path,
        ) from None
    except OSError as error:
        raise BadDataError(
            f"the file cannot be read ({error.strerror or error})",
            hint="Check the disk and the file's permissions.",
            case=case,
            path=path,
        ) from None
