"""A phantom volume with its true segmentation, in the scene: something to look at, and to try a model on."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.harmless import cleanName
from TopoMAELib.sample_data import makePhantoms, registerSample
from TopoMAELib.segmentations import terminologyText
from TopoMAELib.volumes import placeBeside

NAME = "TopoMAE phantom"
_ICON = "TopoMAEPhantom.png"
_SEED = 1  # another one than that of the phantom data set: a model trained on that has not seen this volume
# The engine's colours of the labels 1 to 4, Okabe and Ito's.
_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66))
_TISSUE = {"scheme": "SCT", "value": "85756007", "meaning": "Tissue"}


def register() -> None:
    """Offer the volume in the module Sample Data."""
    registerSample(NAME, _ICON, _load)


def _load(_source: object) -> None:
    loadPhantomVolume()


def loadPhantomVolume() -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode] | None:
    """Make a phantom and load it.

    Returns: the volume and its true segmentation; None if the user cancelled it, or was told why it cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix="TopoMAE-phantom-", dir=slicer.app.temporaryPath))
    try:
        if not makePhantoms(folder / "phantoms", cases=3, labelled=1, seed=_SEED):
            return None
        return _intoScene(folder / "phantoms", "phantom_001")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _intoScene(folder: Path, case: str) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    names = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
    volume = slicer.util.loadVolume(str(folder / "imagesTr" / f"{case}.nii.gz"), {"name": NAME})
    truth = slicer.util.loadVolume(
        str(folder / "labelsTr" / f"{case}.nii.gz"), {"name": NAME, "labelmap": True, "show": False}
    )
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", _("TopoMAE phantom, true labels"))
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    labels = slicer.util.arrayFromVolume(truth)
    for value in np.unique(labels[labels > 0]):
        color = [part / 255 for part in _COLORS[(value - 1) % len(_COLORS)]]
        segmentID = segmentation.GetSegmentation().AddEmptySegment("", cleanName(names[str(value)]), color)
        segment = segmentation.GetSegmentation().GetSegment(segmentID)
        tag = slicer.vtkSegment.GetTerminologyEntryTagName()
        segment.SetTag(tag, terminologyText({"category": _TISSUE, "type": _TISSUE}))
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            (labels == value).astype(np.uint8), segmentation, segmentID, volume
        )
    segmentation.CreateClosedSurfaceRepresentation()
    placeBeside(segmentation, volume)
    slicer.mrmlScene.RemoveNode(truth)
    _forgetFile(volume)
    return volume, segmentation


def _forgetFile(node: slicer.vtkMRMLStorableNode) -> None:
    """The file goes away; Slicer shall ask where to save the node."""
    storage = node.GetStorageNode()
    node.SetAndObserveStorageNodeID(None)
    if storage is not None:
        slicer.mrmlScene.RemoveNode(storage)
