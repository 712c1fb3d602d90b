"""Files of a training set: volumes as NIfTI, and a folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _


class FolderError(OSError):
    """A folder or file cannot be written; the message is one sentence that says why and what to do."""


@contextmanager
def newFolder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which becomes `folder` when the block succeeds and vanishes when it fails.

    Args:
        folder: must not exist, or be empty.
    Raises:
        FolderError: it exists and holds something, or cannot be made.
    """
    folder = Path(os.path.abspath(folder))
    _refuseUsed(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        text = _("The folder {folder} cannot be written to ({reason}); choose another one.")
        raise FolderError(text.format(folder=folder.parent, reason=error.strerror or error)) from None
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())  # that of mkdtemp is for the user alone
        _refuseUsed(folder)
        try:
            if folder.exists():
                folder.rmdir()  # it is empty; Windows does not rename over it
            os.rename(temporary, folder)
        except OSError as error:
            text = _("The folder {folder} cannot be made ({reason}); choose another one.")
            raise FolderError(text.format(folder=folder, reason=error.strerror or error)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def writeVolume(image: object, affine: np.ndarray, path: str | Path) -> None:
    """Write an image of a volume node as a file, its type told by the suffix.

    Args:
        image: vtkImageData; its voxels are written as they are.
        affine: (4, 4), voxel index to RAS in mm.
        path: of the file, for instance `.nii.gz`.
    Raises:
        FolderError: the file cannot be written.
    """
    # Neither node enters the scene: nothing flickers, and no storage node of the user's volume changes.
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(True)
    if not storage.WriteData(node) or not os.path.isfile(path) or not os.path.getsize(path):
        told = storage.GetUserMessages().GetAllMessagesAsString().strip().splitlines()
        text = _("The file {path} cannot be written ({reason}); is the disk full?")
        raise FolderError(text.format(path=path, reason=told[0] if told else _("no reason given")))


def imageOf(array: np.ndarray) -> object:
    """A vtkImageData with the voxels of an array (K, J, I)."""
    node = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(node, array)
    return node.GetImageData()


def _refuseUsed(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        text = _("{folder} exists already and is not overwritten; choose another name.")
        raise FolderError(text.format(folder=folder))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
