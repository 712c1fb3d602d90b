"""As little of the modules `slicer` and `vtk` as reading run folders and model cards needs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def install() -> None:
    """Put the stand-ins where imports find them. Only for processes that do nothing but fuzz."""
    slicer, translation, vtk = ModuleType("slicer"), ModuleType("slicer.i18n"), ModuleType("vtk")
    translation.tr = lambda text: text
    slicer.i18n = translation
    slicer.vtkMRMLScalarVolumeNode = object
    sys.modules.update({"slicer": slicer, "slicer.i18n": translation, "vtk": vtk})
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "TopoMAESegment"))
