"""Load a scripted module as the application does: file, module class, panel, enter."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from .module_objects import qSlicerScriptedLoadableModule as ScriptedModule
from .session import insideApplication

REPOSITORY = Path(__file__).resolve().parents[3]


def load(name: str, folder: str | Path | None = None) -> Any:
    """Load a module (and the modules it depends on) and show its panel.

    Args:
        name: name of the module, such as "TopoMAESegment".
        folder: where its file lies; the folder of that name in the repository if None.

    Returns: the module's widget (the Python object), after `setup` and `enter`.

    Raises: RuntimeError for what keeps the application from loading a module.
    """
    import slicer

    if slicer.app.moduleManager().module(name) is None:
        if insideApplication():
            raise RuntimeError(f"The application has no module {name}; see --additional-module-paths.")
        _register(name, Path(folder or REPOSITORY / name) / f"{name}.py")
    widget = slicer.util.getModuleWidget(name)
    if slicer.util.mainWindow() is not None:
        slicer.util.selectModule(name)
    elif hasattr(widget, "enter"):
        widget.enter()
    return widget


def unload(name: str) -> None:
    """Unload a module: its widget's `exit` and `cleanup` are called, its panel is deleted.

    Does nothing for a module that is not there, nor inside the application, which keeps its modules to the end.
    """
    import slicer

    module = slicer.app.moduleManager().module(name)
    if not isinstance(module, ScriptedModule):
        return
    window = slicer.util.mainWindow()
    if window.moduleSelector().selectedModule == name:
        window._closePanel()
    slicer.app.moduleManager().remove(name)
    module._dispose()
    sys.modules.pop(name, None)
    for attribute in (name.lower(), f"{name}Widget"):
        vars(slicer.modules).pop(attribute, None)
    vars(slicer.moduleNames).pop(name, None)


def _register(name: str, path: Path) -> None:
    import slicer

    if not path.is_file():
        raise RuntimeError(f"There is no module file {path}.")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    specification = importlib.util.spec_from_file_location(name, path)
    python = importlib.util.module_from_spec(specification)
    sys.modules[name] = python
    try:
        specification.loader.exec_module(python)
    except BaseException:
        del sys.modules[name]
        raise
    module = ScriptedModule(name, path)
    if not hasattr(python, name):
        raise RuntimeError(f"{path} has no class {name}.")
    module._python = getattr(python, name)(module)
    module._check()
    for dependency in module.dependencies:
        if slicer.app.moduleManager().module(dependency) is None:
            _register(dependency, REPOSITORY / dependency / f"{dependency}.py")
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.moduleNames, name, name)
    slicer.app.moduleManager().add(module)
    slicer.app.startupCompleted.emit()
