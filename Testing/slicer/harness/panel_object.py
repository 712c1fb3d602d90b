"""The C++ side of a scripted module's panel: the `parent` that the class NAMEWidget gets."""

from typing import Any

import qt
import slicer

from .module_objects import pythonClass, qSlicerScriptedLoadableModule


class qSlicerScriptedLoadableModuleWidget(slicer.qMRMLWidget):
    """Holds the panel of a module and tells its Python object when it is shown and left."""

    def __init__(self) -> None:
        super().__init__()
        self.setLayout(qt.QVBoxLayout())
        self._self: Any = None
        self._module: Any = None
        self._entered = False

    def self(self) -> Any:
        return self._self

    def enter(self) -> None:
        self._entered = True
        if hasattr(self._self, "enter"):
            self._self.enter()

    def exit(self) -> None:
        self._entered = False
        if hasattr(self._self, "exit"):
            self._self.exit()

    def reload(self) -> None:
        self._self = pythonClass(self._module, "Widget")(self)
        self._self.setup()
        setattr(slicer.modules, f"{self._module.name}Widget", self._self)

    isEntered = qt.Property(bool, lambda panel: panel._entered)
    moduleName = qt.Property(str, lambda panel: panel._module.name)


def makePanel(module: qSlicerScriptedLoadableModule) -> qSlicerScriptedLoadableModuleWidget:
    """Make a panel: construct NAMEWidget with it and call `setup`.

    Raises: RuntimeError if the module's file has no class NAMEWidget.
    """
    if pythonClass(module, "Widget") is None:
        raise RuntimeError(f"{module.path} has no class {module.name}Widget.")
    panel = qSlicerScriptedLoadableModuleWidget()
    panel._module = module
    panel.setMRMLScene(slicer.mrmlScene)
    panel.reload()
    return panel
