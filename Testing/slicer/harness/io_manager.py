"""`slicer.app.coreIOManager()`: file reading and writing through the same logics the application's readers use."""

from pathlib import Path
from types import ModuleType
from typing import Any

import vtk

FILE_TYPES = {
    ".seg.nrrd": "SegmentationFile",
    ".seg.vtm": "SegmentationFile",
    ".seq.nrrd": "SequenceFile",
    ".seq.mrb": "SequenceFile",
    ".mrk.json": "MarkupsFile",
    ".fcsv": "MarkupsFile",
    ".csv": "TableFile",
    ".tsv": "TableFile",
    ".vtk": "ModelFile",
    ".vtp": "ModelFile",
    ".stl": "ModelFile",
    ".ply": "ModelFile",
    ".obj": "ModelFile",
    ".h5": "TransformFile",
    ".tfm": "TransformFile",
    ".ctbl": "ColorTableFile",
    ".txt": "TextFile",
    ".mrml": "SceneFile",
    ".mrb": "SceneFile",
    ".nii.gz": "VolumeFile",
    ".nii": "VolumeFile",
    ".nrrd": "VolumeFile",
    ".mha": "VolumeFile",
    ".mhd": "VolumeFile",
    ".dcm": "VolumeFile",
    ".tif": "VolumeFile",
    ".png": "VolumeFile",
}

VOLUME_FORMATS = ["NRRD (.nrrd)", "NRRD (.nhdr)", "NIfTI (.nii.gz)", "NIfTI (.nii)", "MetaImage (.mha)"]


class IoManager:
    """Reads files into the scene and writes nodes and scenes."""

    def __init__(self, slicer: ModuleType) -> None:
        self._slicer = slicer

    def _scene(self) -> Any:
        return self._slicer.mrmlScene

    def _logic(self, name: str) -> Any:
        return getattr(self._slicer.modules, name).logic()

    # ------------------------------------------------------------------------------------ reading

    def fileType(self, path: str) -> str:
        return FILE_TYPES.get(knownExtension(path), "NoFile" if Path(path).is_dir() else "VolumeFile")

    def loadNodes(self, fileType: str, properties: dict, loaded: Any = None, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if not Path(path).exists():
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"File not found: {path}")
            return False
        reader = getattr(self, "_read" + fileType.removesuffix("File"), None)
        if reader is None:
            raise NotImplementedError(f"The harness reads no files of type {fileType}.")
        nodes = reader(path, properties, messages)
        for node in nodes or []:
            if loaded is not None:
                loaded.AddItem(node)
        return nodes is not None

    def loadScene(self, path: str, clear: bool = True) -> bool:
        return self.loadNodes("SceneFile", {"fileName": path, "clear": clear})

    def _name(self, path: str, properties: dict) -> str:
        return properties.get("name") or Path(path).name.removesuffix(knownExtension(path))

    def _readVolume(self, path: str, properties: dict, messages: Any) -> list | None:
        bits = ("labelmap", "center", "singleFile", "autoWindowLevel", "discardOrientation")
        options = sum(1 << bit for bit, key in enumerate(bits) if properties.get(key, key == "autoWindowLevel"))
        arguments = (path, self._name(path, properties), options)
        node = self._logic("volumes").AddArchetypeVolume(*arguments)
        if node is not None and properties.get("show", True):
            self._show(node, properties.get("labelmap"))
        return None if node is None else [node]

    def _show(self, node: Any, labelmap: bool | None) -> None:
        logic = self._slicer.app.applicationLogic()
        selection = logic.GetSelectionNode()
        if labelmap:
            selection.SetActiveLabelVolumeID(node.GetID())
        else:
            selection.SetActiveVolumeID(node.GetID())
        logic.PropagateVolumeSelection()

    def _readSegmentation(self, path: str, properties: dict, messages: Any) -> list | None:
        name = self._name(path, properties)
        node = self._logic("segmentations").LoadSegmentationFromFile(path, True, name)
        return None if node is None else [node]

    def _readMarkups(self, path: str, properties: dict, messages: Any) -> list | None:
        nodeID = self._logic("markups").LoadMarkups(path, self._name(path, properties))
        return [self._scene().GetNodeByID(nodeID)] if nodeID else None

    def _readModel(self, path: str, properties: dict, messages: Any) -> list | None:
        node = self._logic("models").AddModel(path)
        return None if node is None else [node]

    def _readTransform(self, path: str, properties: dict, messages: Any) -> list | None:
        node = self._logic("transforms").AddTransform(path, self._scene())
        return None if node is None else [node]

    def _readTable(self, path: str, properties: dict, messages: Any) -> list | None:
        node = self._logic("tables").AddTable(path, self._name(path, properties))
        return None if node is None else [node]

    def _readSequence(self, path: str, properties: dict, messages: Any) -> list | None:
        node = self._logic("sequences").AddSequence(path)
        return None if node is None else [node]

    def _readColorTable(self, path: str, properties: dict, messages: Any) -> list | None:
        node = self._logic("colors").LoadColorFile(path)
        return None if node is None else [node]

    def _readText(self, path: str, properties: dict, messages: Any) -> list | None:
        node = self._scene().AddNewNodeByClass("vtkMRMLTextNode", self._name(path, properties))
        node.SetText(Path(path).read_text(encoding="utf-8"))
        return [node]

    def _readScene(self, path: str, properties: dict, messages: Any) -> list | None:
        scene, clear = self._scene(), properties.get("clear", False)
        if path.endswith(".mrb"):
            return [] if scene.ReadFromMRB(path, clear) else None
        scene.SetURL(path)
        return [] if (scene.Connect() if clear else scene.Import()) else None

    # ------------------------------------------------------------------------------------ writing

    def fileWriterFileType(self, node: Any) -> str:
        return node.GetClassName()

    def extractKnownExtension(self, path: str, node: Any) -> str:
        return knownExtension(path)

    def fileWriterExtensions(self, node: Any) -> list[str]:
        storage = node.CreateDefaultStorageNode()
        types = storage.GetSupportedWriteFileTypes()
        formats = [types.GetValue(index) for index in range(types.GetNumberOfValues())]
        storage.UnRegister(None)
        return formats or VOLUME_FORMATS  # the wheel's ITK does not tell which images it writes

    def saveNodes(self, fileType: str, properties: dict, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if fileType == "SceneFile":
            return self.saveScene(path)
        node = self._scene().GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        return bool(storage.WriteData(node))

    def exportNodes(
        self, nodeIDs: list[str], paths: list[str], properties: dict, hardenTransform: bool, messages: Any = None
    ) -> bool:
        if hardenTransform:
            raise NotImplementedError("The harness exports no hardened transforms.")
        return all(
            self._export(self._scene().GetNodeByID(nodeID), str(path))
            for nodeID, path in zip(nodeIDs, paths, strict=True)
        )

    def _export(self, node: Any, path: str) -> bool:
        storage = node.CreateDefaultStorageNode()
        storage.SetScene(self._scene())
        storage.SetFileName(path)
        written = storage.WriteData(node)
        storage.UnRegister(None)
        return bool(written)

    def saveScene(self, path: str, screenshot: Any = None) -> bool:
        scene = self._scene()
        if path.endswith(".mrb"):
            return bool(scene.WriteToMRB(path))
        if path.endswith(".mrml"):
            scene.SetURL(path)
            return bool(scene.Commit())
        return bool(self._slicer.app.applicationLogic().SaveSceneToSlicerDataBundleDirectory(path, None))


def knownExtension(path: str) -> str:
    """The longest known ending of a file name, else what follows its last dot."""
    name = Path(path).name.lower()
    endings = sorted((ending for ending in FILE_TYPES if name.endswith(ending)), key=len, reverse=True)
    return endings[0] if endings else Path(name).suffix
