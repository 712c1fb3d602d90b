"""`slicer.app.moduleManager()`: the modules there are, and the signal that one is about to go."""

import sys
from pathlib import Path
from typing import Any

import qt
import slicer


class Signals(qt.QObject):
    """The signals of the module manager."""

    moduleLoaded = qt.Signal(str)
    moduleAboutToBeUnloaded = qt.Signal(str)
    moduleUnloaded = qt.Signal(str)


class qSlicerModuleManager:
    """Knows the loaded modules by name; `add` and `remove` are the harness's own."""

    def __init__(self) -> None:
        self._signals = Signals()
        self._modules: dict[str, Any] = {}

    moduleLoaded = property(lambda self: self._signals.moduleLoaded)
    moduleAboutToBeUnloaded = property(lambda self: self._signals.moduleAboutToBeUnloaded)
    moduleUnloaded = property(lambda self: self._signals.moduleUnloaded)

    def add(self, module: Any) -> None:
        self._modules[module.name] = module
        self.moduleLoaded.emit(module.name)

    def remove(self, name: str) -> None:
        self.moduleAboutToBeUnloaded.emit(name)
        del self._modules[name]
        self.moduleUnloaded.emit(name)

    def module(self, name: str) -> Any:
        return self._modules.get(name)

    def modulesNames(self) -> tuple:
        return tuple(self._modules)

    def factoryManager(self) -> "qSlicerModuleManager":
        return self

    def loadedModuleNames(self) -> tuple:
        return tuple(self._modules)

    def isLoaded(self, name: str) -> bool:
        return name in self._modules

    def disconnect(self, signature: str, slot: Any) -> bool:
        """By signature, which Slicer's own reloadScriptedModule still does; refused to everybody else."""
        caller = Path(sys._getframe(1).f_code.co_filename)
        if caller != Path(slicer.util.__file__):
            raise TypeError("string-typed disconnect() is not allowed here: use signalName.disconnect(callable)")
        getattr(self, signature.split("(")[0]).disconnect(slot)
        return True
