"""Pictures between VTK, numpy and Qt."""

from pathlib import Path
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def pixelsOf(window: Any) -> np.ndarray:
    """What a render window shows, top row first; (height, width, 3) uint8."""
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()


def pixmapOf(pixels: np.ndarray) -> Any:
    """A Qt picture of (height, width, 3) uint8 pixels."""
    import qt

    height, width, _ = pixels.shape
    image = qt.QImage(np.ascontiguousarray(pixels).data, width, height, 3 * width, qt.QImage.Format_RGB888)
    return qt.QPixmap.fromImage(image.copy())


def savePixels(pixels: np.ndarray, path: str | Path) -> Path:
    """Write (height, width, 3) uint8 pixels as PNG; returns the path."""
    pixmapOf(pixels).save(str(path))
    return Path(path)
