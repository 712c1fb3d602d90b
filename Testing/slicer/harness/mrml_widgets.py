"""Stand-ins of the qMRML and qSlicer widgets that scripted modules use, on a real MRML scene."""

from types import ModuleType

from . import (
    markups_widgets,
    node_combo_box,
    scene_widgets,
    segment_widgets,
    subject_hierarchy_combo_box,
    view_node_widgets,
)
from .pythonqt import makeQtModule

SOURCES = (
    scene_widgets,
    node_combo_box,
    subject_hierarchy_combo_box,
    segment_widgets,
    markups_widgets,
    view_node_widgets,
)


def makeMrmlWidgets(qt: ModuleType, ctk: ModuleType, slicer: ModuleType) -> dict[str, type]:
    """Gather the stand-ins.

    Args:
        qt: the module of `makeQtModule`.
        ctk: the module of `makeCtkModule`.
        slicer: the package `slicer` (MRML and VTK classes).

    Returns:
        Class name -> class, to be put into `slicer`. A widget without a stand-in is not there at all: using it raises
        AttributeError.
    """
    assert qt is makeQtModule(), "there is one Qt per process"
    named = [(name, value) for module in SOURCES for name, value in vars(module).items()]
    return {name: kind for name, kind in named if name.startswith(("qMRML", "qSlicer")) and isinstance(kind, type)}
