"""Label maps of a model as a segmentation node: named, coloured, in place on every further run, with undo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from TopoMAELib.harmless import cleanName
from TopoMAELib.model_card import ModelLabel
from TopoMAELib.volumes import placeBeside, volumeAffine

VALUE_TAG = "TopoMAE.LabelValue"  # marks the segments that a model made; other segments are left alone
NAME_TAG = "TopoMAE.LabelName"  # what the model calls it, so that a name given by the user is kept
_TERMINOLOGY_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_ANATOMIC_CONTEXT = "Anatomic codes - DICOM master list"


def updateSegmentation(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    labels: np.ndarray,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    labelTable: Sequence[ModelLabel],
    referenceNode: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> None:
    """Make the segments of a segmentation node those of a label map.

    The first time the node gets the volume's geometry as reference, the volume's parent transform, and a place
    beside the volume in the subject hierarchy. Later the segments of an earlier run are changed in place: same
    IDs, names and colours that the user gave are kept, a visible 3-D surface is made anew, and `undoHistory` can
    go back. Segments that no model made are not touched.

    Args:
        segmentationNode: vtkMRMLSegmentationNode in the scene, or one that is to become the frame of a sequence.
        labels: (I, J, K) unsigned label values on the voxels of `volumeNode`.
        volumeNode: vtkMRMLScalarVolumeNode that was segmented.
        labelTable: the model's labels; each becomes a segment, an empty one if it has no voxel.
        referenceNode: volume that shall be the reference geometry instead, where `volumeNode` is not in the scene.
    Raises:
        ValueError: the label map has another shape than the volume, or there are other segments in the node that a
            transform keeps elsewhere.
    """
    image = volumeNode.GetImageData()
    if image is None or tuple(labels.shape) != tuple(image.GetDimensions()):
        raise ValueError(f"the label map has the shape {labels.shape}, not that of the volume")
    segmentation = segmentationNode.GetSegmentation()
    inScene = segmentationNode.GetScene() is not None
    _checkTransform(segmentationNode, volumeNode)
    if inScene and segmentation.GetNumberOfSegments() > 0:
        undoHistory.save(segmentationNode)
    surfaceShown = segmentation.ContainsRepresentation(_closedSurface())
    wasModified = segmentationNode.StartModify()
    try:
        labelmap = _labelmap(labels, volumeAffine(volumeNode))
        _setSegments(segmentation, labelmap, labelTable)
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        reference = referenceNode or (volumeNode if volumeNode.GetScene() is slicer.mrmlScene else None)
        role = segmentationNode.GetReferenceImageGeometryReferenceRole()
        segmentationNode.SetNodeReferenceID(role, reference.GetID() if reference else None)
        if inScene:
            _settle(segmentationNode, reference)
    finally:
        segmentationNode.EndModify(wasModified)
    labelmap.Modified()  # tells displays and the Segment Editor; a surface made of the old voxels is dropped
    if surfaceShown:
        segmentationNode.CreateClosedSurfaceRepresentation()


def segmentOfLabel(segmentation: slicer.vtkSegmentation, value: int) -> str:
    """ID of the segment that holds a model's label value in a vtkSegmentation; empty if there is none."""
    for segmentID in segmentation.GetSegmentIDs():
        if labelOfSegment(segmentation.GetSegment(segmentID)) == value:
            return segmentID
    return ""


def labelOfSegment(segment: slicer.vtkSegment) -> int | None:
    """The model's label value of a vtkSegment; None if no model made it."""
    text = _tag(segment, VALUE_TAG)
    return int(text) if text.isdecimal() else None


def terminologyText(terminology: dict | None) -> str:
    """A label's terminology of `labels.json` as Slicer writes it into a segment's tag; empty for None."""
    if not terminology or not isinstance(terminology, dict):
        return ""
    category, kind, modifier = (_code(terminology.get(part)) for part in ("category", "type", "modifier"))
    return "~".join([_TERMINOLOGY_CONTEXT, category, kind, modifier, _ANATOMIC_CONTEXT, "^^", "^^"])


class SegmentationUndo:
    """Earlier contents of segmentation nodes, of their last five runs, for one step back at a time."""

    def __init__(self) -> None:
        self._histories: dict = {}  # node ID -> vtkSegmentationHistory

    def save(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        """Keep the present content, to which `restore` goes back."""
        self._forgetRemoved()
        history = self._historyOf(segmentationNode)
        if history is None:
            history = slicer.vtkSegmentationHistory()
            history.SetMaximumNumberOfStates(5)
            history.SetSegmentation(segmentationNode.GetSegmentation())
            self._histories[segmentationNode.GetID()] = history
        history.SaveState()

    def available(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> bool:
        """Whether there is something to go back to."""
        history = self._historyOf(segmentationNode)
        return history is not None and bool(history.IsRestorePreviousStateAvailable())

    def restore(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> bool:
        """Go back one step; returns whether there was one."""
        if not self.available(segmentationNode):
            return False
        segmentation = segmentationNode.GetSegmentation()
        surfaceShown = segmentation.ContainsRepresentation(_closedSurface())
        self._historyOf(segmentationNode).RestorePreviousState()
        segmentation.RemoveRepresentation(_closedSurface())
        if surfaceShown:
            segmentationNode.CreateClosedSurfaceRepresentation()
        segmentationNode.Modified()
        return True

    def clear(self) -> None:
        """Forget everything, as when the scene is closed."""
        self._histories.clear()

    def _historyOf(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode | None
    ) -> slicer.vtkSegmentationHistory | None:
        history = self._histories.get(segmentationNode.GetID()) if segmentationNode else None
        belongs = history is not None and history.GetSegmentation() is segmentationNode.GetSegmentation()
        return history if belongs else None

    def _forgetRemoved(self) -> None:
        for nodeID in [one for one in self._histories if slicer.mrmlScene.GetNodeByID(one) is None]:
            del self._histories[nodeID]


undoHistory = SegmentationUndo()


def _labelmap(labels: np.ndarray, affine: np.ndarray) -> slicer.vtkOrientedImageData:
    """A label map as vtkOrientedImageData, which owns its voxels."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*labels.shape)
    voxels = numpy_to_vtk(np.ascontiguousarray(labels.T).ravel(), deep=True)
    voxels.SetName("labels")
    image.GetPointData().SetScalars(voxels)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    return image


def _setSegments(
    segmentation: slicer.vtkSegmentation, labelmap: slicer.vtkOrientedImageData, labelTable: Sequence[ModelLabel]
) -> None:
    """Let the model's segments share one label map. Sharing takes one pass, whatever the number of labels."""
    wanted = {label.value for label in labelTable}
    for segmentID in segmentation.GetSegmentIDs():
        value = labelOfSegment(segmentation.GetSegment(segmentID))
        if value is not None and value not in wanted:
            segmentation.RemoveSegment(segmentID)
    for label in labelTable:
        segmentID = segmentOfLabel(segmentation, label.value)
        segment = segmentation.GetSegment(segmentID) if segmentID else slicer.vtkSegment()
        _describe(segment, label)
        segment.SetLabelValue(label.value)
        segment.AddRepresentation(_binaryLabelmap(), labelmap)
        if not segmentID:
            segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(f"Label_{label.value}"))


def _describe(segment: slicer.vtkSegment, label: ModelLabel) -> None:
    """Name, colour and terminology, unless the segment has this label's already and the user may have changed them."""
    if _tag(segment, NAME_TAG) == label.name and labelOfSegment(segment) == label.value:
        return
    segment.SetTag(VALUE_TAG, str(label.value))
    segment.SetTag(NAME_TAG, label.name)
    segment.SetName(label.name)
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*(part / 255 for part in label.colour))
    segment.SetColorAutoGenerated(False)
    terminology = terminologyText(label.terminology)
    if terminology:
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminology)
    else:
        segment.RemoveTag(slicer.vtkSegment.GetTerminologyEntryTagName())


def _checkTransform(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Refuse to move the user's own segments with those of the model."""
    segmentation = segmentationNode.GetSegmentation()
    own = [one for one in segmentation.GetSegmentIDs() if labelOfSegment(segmentation.GetSegment(one)) is None]
    if own and segmentationNode.GetTransformNodeID() != volumeNode.GetTransformNodeID():
        message = _("{segmentation} lies under another transform than {volume}; choose another segmentation.")
        raise ValueError(message.format(segmentation=segmentationNode.GetName(), volume=volumeNode.GetName()))


def _settle(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode | None
) -> None:
    """Transform of the volume always; display and place in the subject hierarchy once."""
    if volumeNode:
        segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    if segmentationNode.GetDisplayNode() is None:
        segmentationNode.CreateDefaultDisplayNodes()
        placeBeside(segmentationNode, volumeNode)


def _tag(segment: slicer.vtkSegment, name: str) -> str:
    text = vtk.reference("")
    return str(text) if segment.GetTag(name, text) else ""


def _code(code: dict | None) -> str:
    given = code if isinstance(code, dict) else {}
    parts = [cleanName(given.get(part, "")) for part in ("scheme", "value", "meaning")]
    return "^".join(part.replace("^", " ").replace("~", " ") for part in parts)


def _binaryLabelmap() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def _closedSurface() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
