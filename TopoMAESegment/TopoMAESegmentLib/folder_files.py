"""Segmentation of files: the cases in a folder on the disk, and the files with what was found in them."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.harmless import spreadsheetCell
from TopoMAELib.model_card import ModelCard
from TopoMAELib.segmentations import updateSegmentation
from TopoMAELib.volumes import VolumeError, volumeAffine

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_CHANNEL = re.compile(r"^(.*)_(\d{4})$")
_COLUMNS = ("case", "label", "name", "voxels", "volume_mm3")


def filesToSegment(folder: str | Path, modalities: int, mayLack: bool = False) -> list[tuple[str, list[Path | None]]]:
    """Name and files of each case in a folder, sorted by name.

    Args:
        folder: holds volume files. (DICOM series are opened in the DICOM module, which knows how to sort them.)
        modalities: of the model. With more than one, NAME_0000.*, NAME_0001.* … are one case.
        mayLack: whether files of a case may be missing; they are None then.
    Raises:
        VolumeError: there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VolumeError(_("There is no folder {folder}; choose another one.").format(folder=folder))
    cases: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        name = _caseName(path)
        channel = _CHANNEL.match(name) if modalities > 1 else None
        if name:
            cases.setdefault(channel.group(1) if channel else name, []).append(path)
    found: list = []
    for name, files in sorted(cases.items()):
        if len(files) == modalities:
            found.append((name, files))
        elif mayLack and (some := _inTheirPlaces(files, modalities)):
            found.append((name, some))
    if not found:
        message = _("{folder} holds no volumes for a model of {count} images per case; choose another folder.")
        raise VolumeError(message.format(folder=folder, count=modalities))
    return found


def loadVolumes(paths: list[Path | None]) -> list[slicer.vtkMRMLScalarVolumeNode | None]:
    """Load the files of a case into the scene, without showing them; all of them or none. None stays None.

    Raises:
        VolumeError: one cannot be read.
    """
    nodes: list = []
    try:
        for path in paths:
            nodes.append(path and _load(path))
    except Exception as error:
        for node in filter(None, nodes):
            slicer.mrmlScene.RemoveNode(node)
        raise VolumeError(_("{path} cannot be read: {reason}").format(path=path, reason=error)) from error
    return nodes


class FolderOutput:
    """The folder that receives `NAME.seg.nrrd` of each case and `volumes.csv`."""

    def __init__(self, inputFolder: str | Path, outputFolder: str | Path | None, card: ModelCard):
        """Make the folder.

        Raises:
            VolumeError: it was not named, is that of the images, or cannot be made.
        """
        if outputFolder is None or Path(outputFolder).resolve() == Path(inputFolder).resolve():
            raise VolumeError(_("The segmentations need a folder of their own; name one as outputFolder."))
        self._folder, self._card = Path(outputFolder), card
        self._rows: list[tuple] = []
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = _("The folder {folder} cannot be made: {reason}")
            raise VolumeError(message.format(folder=outputFolder, reason=error)) from error

    def write(self, name: str, labels: np.ndarray, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Path:
        """Write the segmentation of a case, and the table again with its rows.

        Args:
            name: of the case.
            labels: (I, J, K) label values.
            volumeNode: the volume segmented.
        """
        path = self._folder / f"{name}.seg.nrrd"
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        try:
            updateSegmentation(node, labels, volumeNode, self._card.labels)
            _writeSegmentation(node, path)
        finally:
            slicer.mrmlScene.RemoveNode(node)
        voxelVolume = abs(float(np.linalg.det(volumeAffine(volumeNode)[:3, :3])))
        for label in self._card.labels:
            voxels = int((labels == label.value).sum())
            names = spreadsheetCell(name), label.value, spreadsheetCell(label.name)
            self._rows.append((*names, voxels, f"{voxels * voxelVolume:.6g}"))
        self._writeTable()
        return path

    def _writeTable(self) -> None:
        temporary = self._folder / ".tmp-volumes.csv"
        with temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *self._rows])
        os.replace(temporary, self._folder / "volumes.csv")


def _caseName(path: Path) -> str:
    """Name of the case that a path belongs to; empty if it is no input."""
    ending = next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: -len(ending)] if ending and path.is_file() and not path.name.startswith(".") else ""


def _inTheirPlaces(files: list[Path], modalities: int) -> list[Path | None] | None:
    """Files of a case by the number at the end of their names, None for those missing; None if a name has no such."""
    places: list = [None] * modalities
    for path in files:
        channel = _CHANNEL.match(_caseName(path))
        place = int(channel.group(2)) if channel else modalities
        if place >= modalities or places[place] is not None:
            return None
        places[place] = path
    return places


def _load(path: Path) -> slicer.vtkMRMLScalarVolumeNode:
    node = slicer.util.loadVolume(str(path), {"show": False, "singleFile": True})
    if node is None:
        raise VolumeError(_("the file is damaged or of an unknown format"))
    return node


def _writeSegmentation(node: slicer.vtkMRMLSegmentationNode, path: Path) -> None:
    """Write under another name first, so that a file that is there is whole."""
    temporary = path.with_name(f".tmp-{path.name}")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(temporary))
    storage.SetUseCompression(1)
    if not storage.WriteData(node):
        raise VolumeError(_("{path} cannot be written; is the disk full?").format(path=path))
    os.replace(temporary, path)
