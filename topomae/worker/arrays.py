"""Volumes that come and go as .npy files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from topomae.data.raw_volume import MAX_VOXELS, check_affine, check_bytes
from topomae.data.volume import Volume
from topomae.data.volume_io import finite_voxels, whole_numbers
from topomae.errors import BadDataError
from topomae.files import removed_on_error, temporary_path, told_as_run_error
from topomae.worker.requests import VolumeFile

# What NumPy raises while it reads a header, which is the text of a Python dictionary, never executed.
_BAD_HEADER = (ValueError, SyntaxError, TokenError, RecursionError, TypeError, EOFError)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_image(file: VolumeFile, name: str, warn: Callable[[str], None]) -> Volume:
    """Read an image as `topomae.data.volume_io.read_image` reads one of any other format.

    Args:
        file: where it lies; (I, J, K) of any real type.
        name: what to call it in messages.
        warn: told of NaN and infinite voxels, which are replaced.
    Returns:
        Volume with a finite, C-contiguous float32 array (1, I, J, K); its path is `name`.
    Raises:
        BadDataError: no such file, no array of three axes, cut short, no finite voxel, singular affine.
    """
    with np.errstate(all="ignore"):  # values too large for float32 become infinite, which is told
        array = np.ascontiguousarray(_read(file, name), np.float32)[None]
        problems: list[str] = []
        array = finite_voxels(array, Path(name), problems)
    for problem in problems:
        warn(problem)
    return Volume(array, _affine(file, name), Path(name))


def read_labels(file: VolumeFile, name: str) -> Volume:
    """Read a label map: (1, I, J, K) in the smallest unsigned type that holds its values.

    Raises:
        BadDataError: as for images; or a value is negative, too large or no whole number.
    """
    return Volume(whole_numbers(_read(file, name)[None], Path(name)), _affine(file, name), Path(name))


def save_arrays(files: Mapping[Path, np.ndarray | Mapping[str, np.ndarray]]) -> None:
    """Write all files or none: .npy for an array, .npz for several by name.

    Raises:
        RunError: the disk is full, or the folder cannot be written to.
    """
    with ExitStack() as stack:
        ready = []
        for path, content in files.items():
            temporary = temporary_path(path)
            stack.enter_context(told_as_run_error(path))
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(removed_on_error(temporary))
            with open(temporary, "wb") as stream:
                _write(stream, content)
            ready.append((temporary, path))
        for temporary, path in ready:
            os.replace(temporary, path)


def _write(stream: BinaryIO, content: np.ndarray | Mapping[str, np.ndarray]) -> None:
    if isinstance(content, Mapping):
        np.savez(stream, **content)
    else:
        np.save(stream, np.ascontiguousarray(content), allow_pickle=False)


def _read(file: VolumeFile, name: str) -> np.ndarray:
    """The array as it is stored, checked before memory is taken."""
    path = file.array
    try:
        with open(path, "rb") as stream:
            _check_header(stream, path, name)
            stream.seek(0)
            return np.load(stream, allow_pickle=False)
    except FileNotFoundError:
        raise _unusable(f"{name}: the file does not exist", path) from None
    except OSError as error:
        raise _unusable(f"{name}: the file cannot be read ({error.strerror or error})", path) from None
    except _BAD_HEADER as error:
        raise _unusable(f"{name}: not an .npy file that can be read ({error})", path) from None
    except MemoryError:
        raise BadDataError(
            f"{name}: the volume does not fit into memory",
            hint="Crop or downsample it, or use a machine with more memory.",
        ) from None


def _check_header(stream: BinaryIO, path: Path, name: str) -> None:
    """Refuse what is no volume of numbers, or larger than its file."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"its format version {version} is not known")
    shape, _, dtype = _HEADERS[version](stream)
    if dtype.kind not in "biuf" or dtype.names is not None:
        kind = "Python objects" if dtype.hasobject else str(dtype)
        raise _unusable(f"{name}: the array holds {kind}, not numbers", path)
    if len(shape) != 3 or min(shape) < 1:
        raise _unusable(f"{name}: the array has shape {shape}, not three axes (I, J, K)", path)
    voxels = 1
    for length in shape:
        voxels *= int(length)
    if voxels > MAX_VOXELS:
        raise _unusable(f"{name}: the array claims an impossible size of {voxels:,} voxels", path)
    check_bytes(path, stream.tell() + voxels * dtype.itemsize, compressed=False)


def _affine(file: VolumeFile, name: str) -> np.ndarray:
    affine = np.array(file.affine, np.float64)
    if not np.array_equal(affine[3], [0, 0, 0, 1]):
        raise BadDataError(
            f"{name}: the affine's last row is {affine[3].tolist()}, not 0 0 0 1",
            hint="Give the matrix from voxel index to RAS mm.",
        )
    check_affine(affine, Path(name))
    return affine


def _unusable(message: str, path: Path) -> BadDataError:
    return BadDataError(message, hint="Write the volume again with numpy.save, as (I, J, K) numbers.", path=path)
