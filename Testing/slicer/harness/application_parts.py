"""What the application holds: scene, application logic, module logics, file reading, module manager, views."""

import sys
from types import ModuleType, SimpleNamespace

from .io_manager import IoManager
from .scene import Core
from .subject_hierarchy import SubjectHierarchyPlugins


def attach(slicer: ModuleType) -> None:
    """Give `slicer` its scene, `slicer.modules` and the managers without views."""
    from .module_manager import qSlicerModuleManager

    core = Core(slicer, slicer.app.temporaryPath)
    slicer.mrmlScene = core.scene
    slicer.modules = sys.modules["slicer.modules"] = ModuleType("slicer.modules")
    slicer.moduleNames = sys.modules["slicer.moduleNames"] = ModuleType("slicer.moduleNames")
    manager = qSlicerModuleManager()
    for name, logic in core.logics.items():
        module = SimpleNamespace(name=name, title=name, path="", logic=lambda logic=logic: logic)
        setattr(slicer.modules, name.lower(), module)
        setattr(slicer.moduleNames, name, name)
        manager.add(module)
    slicer.app._parts.update(
        core=core,
        scene=core.scene,
        applicationLogic=core.applicationLogic,
        ioManager=IoManager(slicer),
        moduleManager=manager,
        subjectHierarchy=SubjectHierarchyPlugins(slicer, core.scene),
    )


def attachViews(slicer: ModuleType) -> None:
    """Give the application its layout manager and main window."""
    from . import layout_manager, main_window, module_objects, panel_object

    slicer.qSlicerScriptedLoadableModule = module_objects.qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = panel_object.qSlicerScriptedLoadableModuleWidget
    slicer.app._parts["layoutManager"] = layout_manager.qSlicerLayoutManager()
    slicer.app._parts["mainWindow"] = main_window.qSlicerMainWindow()
