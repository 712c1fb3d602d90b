"""The scene and the logics around it, joined as qSlicerCoreApplication joins them."""

from types import ModuleType
from typing import Any

import vtk

from .node_keeper import NodeKeeper

# Module name -> class of its logic; all of them are the real ones.
MODULE_LOGICS = {
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Colors": "vtkSlicerColorLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Annotations": "vtkSlicerAnnotationModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
    "Data": "vtkSlicerDataModuleLogic",
}


class Core:
    """A scene, the application logic and one logic per module."""

    def __init__(self, slicer: ModuleType, cacheFolder: str) -> None:
        self.slicer = slicer
        self.scene = slicer.vtkMRMLScene()
        self.keeper = NodeKeeper(self.scene)
        self._addDataManager(cacheFolder)
        self._addCrosshair()
        self.applicationLogic = self._makeApplicationLogic()
        # The wheel has no terminology files; the terminologies logic would complain about each of them.
        vtk.vtkObject.GlobalWarningDisplayOff()
        self.logics = {name: self._makeModuleLogic(name) for name in MODULE_LOGICS}
        vtk.vtkObject.GlobalWarningDisplayOn()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)

    def _addDataManager(self, cacheFolder: str) -> None:
        """What unpacks scene bundles (.mrb)."""
        self.cache = self.slicer.vtkCacheManager()
        self.cache.SetRemoteCacheDirectory(cacheFolder)
        self.cache.SetMRMLScene(self.scene)
        self.dataManager = self.slicer.vtkDataIOManager()
        self.dataManager.SetCacheManager(self.cache)
        self.scene.SetCacheManager(self.cache)
        self.scene.SetDataIOManager(self.dataManager)

    def _addCrosshair(self) -> None:
        crosshair = self.slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)

    def _makeApplicationLogic(self) -> Any:
        logic = self.slicer.vtkSlicerApplicationLogic()
        logic.SetMRMLScene(self.scene)
        logic.GetColorLogic().SetMRMLScene(self.scene)
        logic.GetColorLogic().AddDefaultColorNodes()
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        for dimension in ("ThreeD", "Slice"):
            factory = getattr(self.slicer, f"vtkMRML{dimension}ViewDisplayableManagerFactory").GetInstance()
            factory.SetMRMLApplicationLogic(logic)
        return logic

    def _makeModuleLogic(self, name: str) -> Any:
        if name == "Colors":
            logic = self.applicationLogic.GetColorLogic()
        else:
            logic = getattr(self.slicer, MODULE_LOGICS[name])()
            logic.SetMRMLApplicationLogic(self.applicationLogic)
            logic.SetMRMLScene(self.scene)
        self.applicationLogic.SetModuleLogic(name, logic)
        return logic
