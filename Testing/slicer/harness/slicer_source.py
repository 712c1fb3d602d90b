"""Slicer's own parameterNodeWrapper, where a Slicer source tree is at hand, to compare the stand-in with."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

VARIABLE = "TOPOMAE_SLICER_SOURCE"
NAME = "parameterNodeWrapperOfSlicer"


def sourceFolder() -> Path | None:
    """The package's folder in the source tree that the environment variable names; None if it names none."""
    named = os.environ.get(VARIABLE)
    return Path(named) / "Base" / "Python" / "slicer" / "parameterNodeWrapper" if named else None


def parameterNodeWrapperOfSlicer() -> ModuleType:
    """Import the package from the source tree, under a name of its own.

    Raises: ImportError if the source tree does not hold it.
    """
    if NAME not in sys.modules:
        import slicer

        # A module of the application that the package takes one widget class from.
        widgets = ModuleType("qSlicerSubjectHierarchyModuleWidgetsPythonQt")
        widgets.qMRMLSubjectHierarchyTreeView = getattr(slicer, "qMRMLSubjectHierarchyTreeView", slicer.qMRMLWidget)
        sys.modules.setdefault(widgets.__name__, widgets)
        folder = sourceFolder()
        file = folder / "__init__.py"
        if not file.is_file():
            raise ImportError(f"{file} is not there; {VARIABLE} must name a Slicer source tree")
        specification = importlib.util.spec_from_file_location(NAME, file, submodule_search_locations=[str(folder)])
        sys.modules[NAME] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(sys.modules[NAME])
    return sys.modules[NAME]
