"""What stands for a module in the application: the C++ side of a scripted module and of its panel."""

import sys
from pathlib import Path
from typing import Any


class qSlicerScriptedLoadableModule:
    """The `parent` that a module's class fills in. As in PythonQt, it takes no attributes but its own."""

    __slots__ = (
        "_python", "_representation", "acknowledgementText", "associatedNodeTypes", "categories", "contributors",
        "dependencies", "extensionName", "helpText", "hidden", "icon", "index", "isBuiltIn", "name", "path", "title",
        "widgetRepresentationCreationEnabled",
    )  # fmt: skip

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path, self.title = name, str(path), name
        self.categories, self.dependencies, self.contributors, self.associatedNodeTypes = [], [], [], []
        self.helpText = self.acknowledgementText = self.extensionName = ""
        self.hidden, self.isBuiltIn, self.widgetRepresentationCreationEnabled = False, False, True
        self.icon, self.index = None, -1
        self._python: Any = None
        self._representation: Any = None

    def self(self) -> Any:
        """The Python object of the module's class."""
        return self._python

    def logic(self) -> Any:
        """As in Slicer: the (empty) C++ logic of scripted modules, not the class NAMELogic."""
        return None

    def widgetRepresentation(self) -> Any:
        """The panel, made at the first call."""
        if self._representation is None:
            self._representation = self.createNewWidgetRepresentation()
        return self._representation

    def createNewWidgetRepresentation(self) -> Any:
        """A new panel of this module."""
        from .panel_object import makePanel

        return makePanel(self)

    def _check(self) -> None:
        """Raise for what Slicer's generic tests refuse."""
        if not isinstance(self.title, str) or not self.title:
            raise RuntimeError(f"Module {self.name} has no title.")
        for attribute in ("categories", "contributors", "dependencies", "associatedNodeTypes"):
            value = getattr(self, attribute)
            if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
                raise RuntimeError(f"{attribute} of module {self.name} must be a list of texts, is {value!r}.")
        for attribute in ("categories", "contributors", "helpText", "acknowledgementText"):
            if not getattr(self, attribute):
                raise RuntimeError(f"{attribute} of module {self.name} is empty.")

    def _dispose(self) -> None:
        if self._representation is not None:
            self._representation.deleteLater()
            self._representation = None


def pythonClass(module: qSlicerScriptedLoadableModule, ending: str) -> type | None:
    """The class NAME+ending of the module's file."""
    return getattr(sys.modules[module.name], module.name + ending, None)
