"""What the user has chosen: kept in the scene, so that it is there again when the scene is opened again."""

import enum

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLSequenceBrowserNode
from slicer.parameterNodeWrapper import parameterNodeWrapper

_VOLUME_ROLE = "inputVolume"
_FOLDER_ATTRIBUTE = "TopoMAE.BatchFolder"
DEVICES = ("auto", "cpu", "cuda")


class InputMode(enum.Enum):
    """What is segmented at the press of the button."""

    VOLUME = "volume"
    SEQUENCE = "sequence"
    FOLDER = "folder"


@parameterNodeWrapper
class SegmentParameters:
    """Settings of the segment panel. Volumes and the folder are kept beside these, by the functions below."""

    inputMode: InputMode = InputMode.VOLUME
    sequenceBrowser: vtkMRMLSequenceBrowserNode
    modelFolder: str = ""
    device: str = "auto"
    mirror: bool = False
    probabilities: bool = False
    segmentation: vtkMRMLSegmentationNode


def sceneIsBusy() -> bool:
    """Whether a scene is being opened or closed: that selectors lose nodes then is no choice of the user."""
    return bool(slicer.mrmlScene.IsBatchProcessing() or slicer.mrmlScene.IsClosing())


def inputVolumes(parameters: SegmentParameters, count: int) -> list[vtkMRMLScalarVolumeNode | None]:
    """The volumes chosen for the first `count` modalities; None where none is chosen.

    They are node references, one role per modality, because their number depends on the model.
    """
    node = parameters.parameterNode
    return [node.GetNodeReference(f"{_VOLUME_ROLE}{place}") for place in range(count)]


def sequenceVolumes(parameters: SegmentParameters, count: int) -> list | None:
    """The volumes that stand for the sequences of a model of `count` modalities, None for what is not chosen.

    Returns: None if nothing is: take the sequences in their order.
    """
    chosen = inputVolumes(parameters, count)
    return chosen if count > 1 and any(chosen) else None


def setInputVolume(parameters: SegmentParameters, place: int, volumeNode: vtkMRMLScalarVolumeNode | None) -> None:
    """Choose the volume of a modality, counted from 0."""
    role, node = f"{_VOLUME_ROLE}{place}", parameters.parameterNode
    wanted = volumeNode.GetID() if volumeNode else None
    if node.GetNodeReferenceID(role) != wanted:
        node.SetNodeReferenceID(role, wanted)


def inputFolder() -> int:
    """Subject hierarchy item of the chosen folder; 0 if none is.

    The item itself is marked, since its number changes when a scene is saved and opened again.
    """
    hierarchy = _hierarchy()
    return next((item for item in _allItems(hierarchy) if hierarchy.HasItemAttribute(item, _FOLDER_ATTRIBUTE)), 0)


def setInputFolder(parameters: SegmentParameters, itemID: int) -> None:
    """Choose a folder of the subject hierarchy; 0 for none."""
    hierarchy = _hierarchy()
    if itemID == inputFolder():
        return
    for item in _allItems(hierarchy):
        if hierarchy.HasItemAttribute(item, _FOLDER_ATTRIBUTE):
            hierarchy.RemoveItemAttribute(item, _FOLDER_ATTRIBUTE)
    if itemID:
        hierarchy.SetItemAttribute(itemID, _FOLDER_ATTRIBUTE, "1")
    parameters.Modified()


def _hierarchy():
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def _allItems(hierarchy: slicer.vtkMRMLSubjectHierarchyNode) -> list[int]:
    import vtk

    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    return [items.GetId(place) for place in range(items.GetNumberOfIds())]
