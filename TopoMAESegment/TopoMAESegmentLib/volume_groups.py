"""The cases in a folder of the subject hierarchy: its volumes, grouped by what the model needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import slicer
import vtk
from slicer.i18n import tr as _

from TopoMAELib.model_card import ModelCard
from TopoMAESegmentLib.probabilities import isProbability


@dataclass(frozen=True)
class FolderCases:
    """Cases of a folder.

    Attributes:
        cases: per case one volume for each of the model's modalities, in the model's order.
        problems: a sentence for each group of volumes that is no case.
    """

    cases: tuple[tuple[slicer.vtkMRMLScalarVolumeNode, ...], ...]
    problems: tuple[str, ...]


def casesInFolder(itemID: int, card: ModelCard) -> FolderCases:
    """Find what can be segmented beneath an item of the subject hierarchy.

    With a model of one modality every volume is a case. Otherwise the volumes that lie directly in one folder
    (study, patient) are a case; they are told apart by the modality's name in theirs, else taken in their order.

    Args:
        itemID: folder, study, patient, or a volume's own item.
        card: of the model.
    """
    groups = _volumesByParent(itemID)
    count = len(card.modalities)
    if count == 1:
        return FolderCases(tuple((node,) for group in groups.values() for node in group), ())
    cases, problems = [], []
    for name, group in _named(groups):
        if len(group) == count:
            cases.append(tuple(inModelOrder(group, card.modalities)))
        else:
            message = _("{folder} holds {given} volumes, but the model needs {needed} ({names}).")
            problems.append(
                message.format(folder=name, given=len(group), needed=count, names=", ".join(card.modalities))
            )
    return FolderCases(tuple(cases), tuple(problems))


def inModelOrder(nodes: Sequence, modalities: Sequence[str]) -> list:
    """Sort volumes by modality, where each name holds the name of just one; otherwise leave them as they are."""
    found = []
    for modality in modalities:
        word = re.compile(rf"(?<![a-z0-9]){re.escape(modality)}(?![a-z0-9])", re.IGNORECASE)
        matching = [node for node in nodes if word.search(node.GetName())]
        if len(matching) != 1 or matching[0] in found:
            return list(nodes)
        found.append(matching[0])
    return found


def _volumesByParent(itemID: int) -> dict[int, list]:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(itemID, items, True)
    groups: dict[int, list] = {}
    for item in (itemID, *(items.GetId(place) for place in range(items.GetNumberOfIds()))):
        node = hierarchy.GetItemDataNode(item)
        if _isInput(node):
            groups.setdefault(hierarchy.GetItemParent(item), []).append(node)
    return groups


def _named(groups: dict[int, list]) -> list[tuple[str, list]]:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return [(hierarchy.GetItemName(parent), group) for parent, group in groups.items()]


def _isInput(node: object) -> bool:
    """Whether a node is an image: no label map, no vectors, no probabilities that a model made."""
    isScalar = node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode"
    return isScalar and node.GetImageData() is not None and not isProbability(node)
