"""What the volumes of the scene are images of."""

from __future__ import annotations

from collections.abc import Iterable

import slicer


def proposeChannels(volumeNodes: Iterable) -> str:
    """Name of the image channel that the volumes have in common: the DICOM modality, or `image`.

    Hounsfield units are treated otherwise than other intensities, so it matters that CT is called CT.
    """
    modalities = {_modalityOf(node) for node in volumeNodes}
    return modalities.pop() if len(modalities) == 1 and "" not in modalities else "image"


def _modalityOf(volumeNode: object) -> str:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy else 0
    return (hierarchy.GetItemAttribute(item, "DICOM.Modality") or "") if item else ""
