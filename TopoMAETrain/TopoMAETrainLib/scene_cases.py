"""Which volumes and segmentations of the scene belong together as cases of a training set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import slicer

from TopoMAELib.volumes import volumeAffine
from TopoMAETrainLib.scene_grids import sameGrid, segmentGrid
from TopoMAETrainLib.scene_names import fileName, stem, uniqueNames, without, words


@dataclass(frozen=True)
class SceneCase:
    """One scan of a training set.

    Attributes:
        name: of the case and its files.
        volumeNodes: vtkMRMLScalarVolumeNode of each modality, in order; None where one is missing.
        segmentationNode: vtkMRMLSegmentationNode with the labels; None for an unlabelled image.
    """

    name: str
    volumeNodes: tuple
    segmentationNode: object = None


def sceneVolumes() -> list:
    """The grey-value volumes of the scene that a user sees."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [
        node
        for node in nodes
        # Label maps, vector and tensor volumes are scalar volumes too, by inheritance.
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors() and node.GetImageData()
    ]


def sceneSegmentations() -> list:
    """The segmentations of the scene that a user sees and that are not empty."""
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if not node.GetHideFromEditors() and node.GetSegmentation().GetNumberOfSegments()
    ]


def proposeCases(
    volumeNodes: Sequence, segmentationNodes: Sequence, modalities: Sequence[str] = ("",)
) -> list[SceneCase]:
    """Make cases of volumes and segmentations: what the user would probably choose.

    Args:
        volumeNodes: each becomes part of one case.
        segmentationNodes: each is given to at most one case; see `proposeVolume`.
        modalities: names of the image channels. With several, volumes are one case whose names differ in the
            name of the modality only (`Miller FLAIR`, `Miller T1`), or that fill a study of the subject hierarchy.
    """
    groups = [(node,) for node in volumeNodes] if len(modalities) == 1 else _grouped(volumeNodes, modalities)
    names = uniqueNames(fileName(_nameOfGroup(group, modalities)) for group in groups)
    proposed: dict[int, object] = {}
    for segmentationNode in segmentationNodes:
        volumeNode = proposeVolume(segmentationNode, volumeNodes)
        index = next((i for i, group in enumerate(groups) if volumeNode is not None and volumeNode in group), None)
        if index is not None:
            proposed.setdefault(index, segmentationNode)
    return [
        SceneCase(name, group, proposed.get(index))
        for index, (name, group) in enumerate(zip(names, groups, strict=True))
    ]


def proposeVolume(segmentationNode: object, volumeNodes: Iterable) -> object:
    """The volume that a segmentation was most probably drawn on; None if that cannot be told.

    That is the volume it was made for; else the only one of the same name; else the only one with its geometry.
    """
    volumeNodes = list(volumeNodes)
    role = segmentationNode.GetReferenceImageGeometryReferenceRole()
    reference = segmentationNode.GetNodeReference(role)
    if reference is not None:
        return reference if reference in volumeNodes else None
    name = stem(segmentationNode.GetName() or "")
    named = [node for node in volumeNodes if name and stem(node.GetName() or "") == name]
    if len(named) == 1:
        return named[0]
    grid = segmentGrid(segmentationNode)
    if grid is None:
        return None
    fitting = [node for node in named or volumeNodes if sameGrid(volumeAffine(node), grid)]
    return fitting[0] if len(fitting) == 1 else None


def _grouped(volumeNodes: Sequence, modalities: Sequence[str]) -> list[tuple]:
    """Volumes of one case, in the order of the modalities."""
    groups: dict[str, list] = {}
    rest = []
    for node in volumeNodes:
        places = [
            (i, left) for i, name in enumerate(modalities) if (left := without(node.GetName() or "", name)) is not None
        ]
        if len(places) == 1 and groups.setdefault(places[0][1], [None] * len(modalities))[places[0][0]] is None:
            groups[places[0][1]][places[0][0]] = node
        else:
            rest.append(node)
    studies: dict[int, list] = {}
    for node in rest:
        studies.setdefault(_studyOf(node), []).append(node)
    for study, nodes in studies.items():
        if study and len(nodes) == len(modalities):
            groups[f"study {study}"] = nodes
        else:
            groups.update({f"single {node.GetID()}": [node] + [None] * (len(modalities) - 1) for node in nodes})
    return [tuple(group) for group in groups.values()]


def _nameOfGroup(group: Sequence, modalities: Sequence[str]) -> str:
    first, modality = next((node, modality) for node, modality in zip(group, modalities, strict=True) if node)
    name = first.GetName() or ""
    left = without(name, modality) if len(modalities) > 1 else None
    if left is None:
        return name
    # The original spelling of the words that are left.
    kept = [part for part in name.replace("_", " ").split() if words(part) in left.split()]
    return "_".join(kept) or name


def _studyOf(node: object) -> int:
    """Item of the folder, study or patient of the subject hierarchy that holds a node; 0 if it lies on top."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    parent = hierarchy.GetItemParent(item) if item else 0
    return 0 if not parent or parent == hierarchy.GetSceneItemID() else parent
