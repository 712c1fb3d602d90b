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
        cases: per case one volume for each of the model's modalities, in the model's order, None where it is
            missing and the model does without.
        problems: a sentence for each group of volumes that is no case.
    """

    cases: tuple[tuple[slicer.vtkMRMLScalarVolumeNode | None, ...], ...]
    problems: tuple[str, ...]


def casesInFolder(itemID: int, card: ModelCard) -> FolderCases:
    """Find what can be segmented beneath an item of the subject hierarchy.

    With a model of one modality every volume is a case. Otherwise the volumes that lie directly in one folder
    (study, patient) are a case; they are told apart by the modality's name in theirs, else taken in their order.
    If the model does without some modalities, a case may lack some; then the names must tell which there are.

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
        some = someInModelOrder(group, card.modalities) if card.missingModalities and len(group) < count else None
        if len(group) == count:
            cases.append(tuple(inModelOrder(group, card.modalities)))
        elif some:
            cases.append(tuple(some))
        else:
            message = _("{folder} holds {given} volumes, but the model needs {needed} ({names}).")
            if card.missingModalities and len(group) < count:
                message = _("{folder}: the names of its volumes do not tell which of {names} they are.")
            problems.append(
                message.format(folder=name, given=len(group), needed=count, names=", ".join(card.modalities))
            )
    return FolderCases(tuple(cases), tuple(problems))


def inModelOrder(nodes: Sequence, modalities: Sequence[str]) -> list:
    """Sort volumes by modality, where each name holds the name of just one; otherwise leave them as they are."""
    found = someInModelOrder(nodes, modalities)
    return found if found and None not in found else list(nodes)


def someInModelOrder(nodes: Sequence, modalities: Sequence[str]) -> list | None:
    """Per modality the volume whose name holds its name, or None if there is none.

    Returns: None if that does not tell for each volume what it shows.
    """
    found: list = []
    for modality in modalities:
        word = re.compile(rf"(?<![a-z0-9]){re.escape(modality)}(?![a-z0-9])", re.IGNORECASE)
        matching = [node for node in nodes if word.search(node.GetName())]
        if len(matching) > 1 or any(node in found for node in matching):
            return None
        found += matching or [None]
    return found if all(node in found for node in nodes) else None


def firstVolume(nodes: Sequence) -> slicer.vtkMRMLScalarVolumeNode:
    """The first volume of a case that there is; results lie on its voxels."""
    return next(node for node in nodes if node is not None)


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
