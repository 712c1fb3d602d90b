"""Writing label maps and images with their exact place in space, in one step or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from topomae.data.file_names import image_suffix
from topomae.errors import BadSettingError
from topomae.files import atomic_path, told_as_run_error

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def smallest_unsigned(labels: np.ndarray) -> np.ndarray:
    """Return label values in the smallest unsigned integer type that holds them all (uint8 ... uint64).

    Raises:
        ValueError: a value is negative or not a whole number.
    """
    if labels.dtype == np.uint8:
        return labels
    low, high = labels.min(), labels.max()
    whole = labels.dtype.kind in "iu" or bool((labels == np.rint(labels)).all())
    if not (low >= 0 and np.isfinite(high) and whole):
        raise ValueError("label values must be whole numbers from 0 on")
    return labels.astype(np.min_scalar_type(int(high)), copy=False)


def write_labels(path: str | Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """Write a label map in the smallest unsigned integer type, replacing the file in one step.

    Args:
        path: .nii.gz, .nii or .nrrd; its folder is created if need be.
        labels: (I, J, K) or (1, I, J, K) whole numbers from 0 on.
        affine: (4, 4) voxel to RAS mm.

    Raises:
        BadSettingError: another suffix.
        RunError: the disk is full, or the folder cannot be written to.
        ValueError: values are negative or fractional, or the array is not 3-D.
    """
    labels = np.asarray(labels)
    labels = labels[0] if labels.ndim == 4 and labels.shape[0] == 1 else labels
    if labels.ndim != 3:
        raise ValueError(f"a label map has three axes, not {labels.ndim}")
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels
    _write(Path(path), smallest_unsigned(labels)[None], np.asarray(affine, float))


def write_image(path: str | Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write an image as float32, replacing the file in one step.

    Args:
        path: .nii.gz, .nii or .nrrd; its folder is created if need be.
        array: (I, J, K), or (C, I, J, K) where C > 1 becomes the fourth axis of a NIfTI file and the
            vector axis of an NRRD file.
        affine: (4, 4) voxel to RAS mm.

    Raises:
        BadSettingError: another suffix.
        RunError: the disk is full, or the folder cannot be written to.
        ValueError: the array is neither 3-D nor 4-D.
    """
    array = np.asarray(array)
    if array.ndim not in (3, 4):
        raise ValueError(f"an image has three axes, or four with channels first, not {array.ndim}")
    array = array[None] if array.ndim == 3 else array
    _write(Path(path), array.astype(np.float32, copy=False), np.asarray(affine, float))


def _write(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write (C, I, J, K) in the format that the suffix names."""
    suffix = image_suffix(path)
    if suffix not in (".nii.gz", ".nii", ".nrrd", ".seg.nrrd"):
        raise BadSettingError("volumes are not written in this format", hint="Use .nii.gz, .nii or .nrrd.", path=path)
    with atomic_path(path) as temporary:
        if suffix.endswith(".nrrd"):
            with told_as_run_error(path):
                _write_itk(_itk_image(array, affine), temporary)
        else:
            _nifti_image(array, affine).to_filename(temporary)


def _write_itk(image: sitk.Image, path: Path) -> None:
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:  # all that ITK says of a full disk or a folder it may not write to
        raise OSError(errno.EIO, "the NRRD writer failed") from error


def _nifti_image(array: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    data = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, 3)
    image = nib.Nifti1Image(data, affine)
    # Both forms, so that every reader finds the same place. A qform holds no shear: there it is the
    # closest rotation, and the sform, which readers prefer, is exact.
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    return image


def _itk_image(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    vector = array.shape[0] > 1
    data = array.transpose(3, 2, 1, 0) if vector else array[0].transpose(2, 1, 0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(data), isVector=vector)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((_RAS_TO_LPS @ affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((_RAS_TO_LPS @ affine[:3, 3]).tolist())
    return image
