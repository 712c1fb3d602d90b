"""Slice and 3-D views drawn offscreen by Slicer's own displayable managers."""

from types import ModuleType
from typing import Any

import numpy as np
import vtk

from .pictures import pixelsOf

SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
)


class RenderView:
    """A render window without a screen and the displayable managers that fill it."""

    def __init__(self, factory: Any, managers: tuple[str, ...], slicer: ModuleType) -> None:
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.ShowWindowOff()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        self.managed = self.makeManagedRenderer()
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.managed)
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group.Initialize(factory, self.managed)

    def makeManagedRenderer(self) -> Any:
        return self.renderer

    def pixels(self, width: int, height: int) -> np.ndarray:
        """Draw; (height, width, 3) uint8."""
        self.window.SetSize(width, height)
        self.window.Render()
        return pixelsOf(self.window)

    def close(self) -> None:
        """Let go of the nodes and the window."""
        self.group.SetMRMLDisplayableNode(None)
        self.window.Finalize()


class SliceRenderView(RenderView):
    """A slice: the resliced image beneath, what the displayable managers draw above it."""

    def __init__(self, slicer: ModuleType, sliceLogic: Any) -> None:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        super().__init__(factory, SLICE_MANAGERS, slicer)
        self.logic = sliceLogic
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.image = vtk.vtkActor2D()
        self.image.SetMapper(self.mapper)
        self.image.GetProperty().SetDisplayLocationToBackground()
        self.image.VisibilityOff()
        self.renderer.AddViewProp(self.image)
        self.group.SetMRMLDisplayableNode(sliceLogic.GetSliceNode())

    def makeManagedRenderer(self) -> Any:
        above = vtk.vtkRenderer()
        above.SetLayer(1)
        above.GetActiveCamera().ParallelProjectionOn()
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(above)
        return above

    def pixels(self, width: int, height: int) -> np.ndarray:
        self.window.SetSize(width, height)
        self.logic.ResizeSliceNode(width, height)
        connection = self.logic.GetImageDataConnection()
        self.image.SetVisibility(connection is not None)
        if connection is not None:
            self.mapper.SetInputConnection(connection)
        return super().pixels(width, height)


class ThreeDRenderView(RenderView):
    """The 3-D view."""

    def __init__(self, slicer: ModuleType, viewNode: Any) -> None:
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        super().__init__(factory, THREE_D_MANAGERS, slicer)
        self.group.SetMRMLDisplayableNode(viewNode)

    def resetFocalPoint(self) -> None:
        """Look at the middle of what is shown, from where the camera is, near enough to fill the view."""
        self.window.Render()
        self.renderer.ResetCamera()
        self.renderer.ResetCameraClippingRange()
