"""Load a DICOM folder as the DICOM module does: volumes in patient and study items of the subject hierarchy."""

from pathlib import Path
from typing import Any

import vtk

PATIENT_ID, PATIENT_NAME, STUDY_UID, STUDY_DESCRIPTION = "0010|0020", "0010|0010", "0020|000d", "0008|1030"
SERIES_NUMBER, SERIES_DESCRIPTION, MODALITY, INSTANCE_UID = "0020|0011", "0008|103e", "0008|0060", "0008|0018"


def loadDicomFolder(folder: str | Path) -> list[Any]:
    """Load every series of image slices under a folder.

    Args:
        folder: searched with its subfolders.

    Returns: the scalar volume nodes, in the order of folders and series.

    Raises: ValueError if there is no series.
    """
    import SimpleITK

    folders = [Path(folder), *sorted(path for path in Path(folder).rglob("*") if path.is_dir())]
    nodes = []
    for place in (place for place in folders if any(path.is_file() for path in place.iterdir())):
        for series in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(place)):
            nodes.append(_loadSeries(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(place), series)))
    if not nodes:
        raise ValueError(f"There is no DICOM series in {folder}.")
    return nodes


def _loadSeries(files: tuple[str, ...]) -> Any:
    import SimpleITK
    import slicer

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    image = reader.Execute()

    def tag(key: str, index: int = 0) -> str:
        return reader.GetMetaData(index, key).strip() if reader.HasMetaDataKey(index, key) else ""

    description = tag(SERIES_DESCRIPTION) or tag(MODALITY)
    name = f"{tag(SERIES_NUMBER)}: {description}" if tag(SERIES_NUMBER) else description
    node = slicer.util.addVolumeFromArray(SimpleITK.GetArrayFromImage(image), name=name)
    node.SetIJKToRASMatrix(_ijkToRas(image))
    node.CreateDefaultDisplayNodes()
    node.SetAttribute("DICOM.instanceUIDs", " ".join(tag(INSTANCE_UID, index) for index in range(len(files))))
    _place(node, tag)
    return node


def _ijkToRas(image: Any) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    directions, origin, spacing = image.GetDirection(), image.GetOrigin(), image.GetSpacing()
    for row in range(3):
        sign = -1 if row < 2 else 1  # LPS -> RAS
        for column in range(3):
            matrix.SetElement(row, column, sign * directions[3 * row + column] * spacing[column])
        matrix.SetElement(row, 3, sign * origin[row])
    return matrix


def _place(node: Any, tag: Any) -> None:
    """Put the volume under its study, and that under its patient."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)

    def itemOf(uid: str, parent: int, make: Any, name: str) -> int:
        item = hierarchy.GetItemByUID("DICOM", uid)
        if not item:
            item = make(parent, name)
            hierarchy.SetItemUID(item, "DICOM", uid)
        return item

    patientName = f"{tag(PATIENT_NAME) or 'No name'} ({tag(PATIENT_ID)})"
    scene = hierarchy.GetSceneItemID()
    patient = itemOf(tag(PATIENT_ID) or "no ID", scene, hierarchy.CreateSubjectItem, patientName)
    studyName = tag(STUDY_DESCRIPTION) or "No study description"
    study = itemOf(tag(STUDY_UID), patient, hierarchy.CreateStudyItem, studyName)
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
