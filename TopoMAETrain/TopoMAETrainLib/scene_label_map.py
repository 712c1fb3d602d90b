"""The segments of a case as one label map on the voxels of its image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.volumes import volumeAffine
from TopoMAETrainLib.scene_cases import SceneCase
from TopoMAETrainLib.scene_check import ERROR, WARNING, Problem
from TopoMAETrainLib.scene_grids import sameGrid, segmentGrid
from TopoMAETrainLib.scene_labels import SceneLabel, segmentNames


def labelMap(
    case: SceneCase, labels: Mapping[int, SceneLabel], laterLabelWins: bool = False
) -> tuple[np.ndarray, list[Problem]]:
    """Bring the segments of a case onto the voxels of its first volume, by Slicer's own export.

    Args:
        case: with a segmentation.
        labels: label by value.
        laterLabelWins: where segments of different labels overlap, take the one of the higher value; else
            overlap is an error.
    Returns:
        (K, J, I) uint8 or uint16 label values as in VTK, and what is wrong with it or should be known.
    """
    node, volumeNode = case.segmentationNode, case.volumeNodes[0]
    shape = slicer.util.arrayFromVolume(volumeNode).shape
    array = np.zeros(shape, np.uint8 if max(labels, default=0) < 256 else np.uint16)
    names = segmentNames(node)
    problems: list[Problem] = []
    overlaps: dict[tuple[str, str], int] = {}
    for value, label in sorted(labels.items()):
        for segmentID in (one for one, name in names.items() if label.holds(name)):
            try:
                mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentID, volumeNode) != 0
            except RuntimeError:
                mask = None
            if mask is None or mask.shape != shape:
                text = _("The segment {name} cannot be turned into voxels; look at it in the Segment Editor.")
                problems.append(Problem(ERROR, text.format(name=names[segmentID])))
                continue
            if not mask.any():
                text = _("The segment {name} has no voxels in {volume}.")
                problems.append(Problem(WARNING, text.format(name=names[segmentID], volume=volumeNode.GetName())))
            taken = array[mask]
            for other in np.unique(taken[(taken != 0) & (taken != value)]):
                pair = (labels[int(other)].name, label.name)
                overlaps[pair] = overlaps.get(pair, 0) + int((taken == other).sum())
            array[mask] = value
    for (first, second), count in overlaps.items():
        problems.append(_overlap(first, second, count, laterLabelWins))
    if not array.any() and not any(problem.level == ERROR for problem in problems):
        text = _("{segmentation} has no voxels in {volume}; choose the volume it was drawn on.")
        problems.append(Problem(ERROR, text.format(segmentation=node.GetName(), volume=volumeNode.GetName())))
    if array.any() and _isResampled(node, volumeNode):
        text = _("{segmentation} has other voxels than {volume} and was resampled to them.")
        problems.append(Problem(WARNING, text.format(segmentation=node.GetName(), volume=volumeNode.GetName())))
    return array, problems


def _overlap(first: str, second: str, count: int, allowed: bool) -> Problem:
    if allowed:
        text = _("{first} and {second} overlap in {count} voxels, which become {second}.")
        return Problem(WARNING, text.format(first=first, second=second, count=count))
    text = _(
        "{first} and {second} overlap in {count} voxels, but a voxel can have one label only; "
        "correct that in the Segment Editor, or let the later label win."
    )
    return Problem(ERROR, text.format(first=first, second=second, count=count))


def _isResampled(segmentationNode: object, volumeNode: object) -> bool:
    if segmentationNode.GetParentTransformNode() != volumeNode.GetParentTransformNode():
        return True
    grid = segmentGrid(segmentationNode)
    return grid is not None and not sameGrid(volumeAffine(volumeNode), grid)
