"""Probability maps of a segmentation: one volume per label, found again by the segment they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.model_card import ModelLabel
from TopoMAELib.segmentations import segmentOfLabel
from TopoMAELib.volumes import addVolume, placeBeside, updateVolume, volumeAffine

_SEGMENTATION_ROLE = "TopoMAE.ProbabilityOf"
_SEGMENT_ATTRIBUTE = "TopoMAE.ProbabilityOfSegment"
_OUTDATED_ATTRIBUTE = "TopoMAE.Outdated"


def updateProbabilities(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    probabilities: np.ndarray,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    labelTable: Sequence[ModelLabel],
) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """Put the probability of each label into the scene, in place of those of an earlier run.

    Args:
        segmentationNode: as `updateSegmentation` left it.
        probabilities: (L, I, J, K) float32, background first, then in the order of `labelTable`.
        volumeNode: that was segmented; gives place, transform and name.
        labelTable: the model's labels.
    Returns:
        One volume per label, 0 to 1.
    """
    nodes = []
    for label, probability in zip(labelTable, probabilities[1:], strict=True):
        segmentID = segmentOfLabel(segmentationNode.GetSegmentation(), label.value)
        node = _find(segmentationNode, segmentID, outdatedToo=True)
        if node is None:
            name = _("{volume} probability of {label}").format(volume=volumeNode.GetName(), label=label.name)
            node = addVolume(probability, volumeAffine(volumeNode), name)
            node.SetNodeReferenceID(_SEGMENTATION_ROLE, segmentationNode.GetID())
            node.SetAttribute(_SEGMENT_ATTRIBUTE, segmentID)
            placeBeside(node, volumeNode)
            _showWholeRange(node)
        else:
            updateVolume(node, probability, volumeAffine(volumeNode))
        node.SetAttribute(_OUTDATED_ATTRIBUTE, None)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        nodes.append(node)
    return nodes


def outdateProbabilities(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Say of existing probability maps that they are not those of the present segments; they stay in the scene."""
    for node in _all(segmentationNode):
        node.SetAttribute(_OUTDATED_ATTRIBUTE, "1")


def probabilityNode(
    segmentationNode: slicer.vtkMRMLSegmentationNode | None, segmentID: str
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The probability map that belongs to a segment as it is now; None if there is none."""
    return _find(segmentationNode, segmentID, outdatedToo=False) if segmentationNode else None


def isProbability(node: slicer.vtkMRMLNode) -> bool:
    """Whether a volume is a probability map made here."""
    return node.GetAttribute(_SEGMENT_ATTRIBUTE) is not None


def _find(segmentationNode: object, segmentID: str, outdatedToo: bool) -> object:
    for node in _all(segmentationNode):
        fresh = outdatedToo or not node.GetAttribute(_OUTDATED_ATTRIBUTE)
        if fresh and node.GetAttribute(_SEGMENT_ATTRIBUTE) == segmentID:
            return node
    return None


def _all(segmentationNode: object) -> list:
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in volumes if node.GetNodeReferenceID(_SEGMENTATION_ROLE) == segmentationNode.GetID()]


def _showWholeRange(node: object) -> None:
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0.0, 1.0)
