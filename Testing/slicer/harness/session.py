"""Start the harness once in a process: `qt`, `ctk` and `slicer` become importable as in Slicer's own Python."""

import atexit
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from . import quitting, uncaught
from .answers import answers

_started: ModuleType | None = None


def insideApplication() -> bool:
    """Whether this Python is the one inside a running Slicer application."""
    application = getattr(sys.modules.get("slicer"), "app", None)
    return _started is None and type(application).__name__ == "qSlicerApplication"


def start() -> ModuleType:
    """Make `qt`, `ctk` and `slicer` importable and give `slicer` its scene, application and modules.

    Does its work at the first call only. Inside the real application it changes nothing but who answers dialogs.

    Returns: the `slicer` module.
    """
    global _started
    if _started is None:
        if insideApplication():
            import slicer

            answers.install(slicer)
            return slicer
        _started = _build()
    return _started


def _build() -> ModuleType:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if sys.platform.startswith("linux"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

    from .pythonqt import makeQtModule

    qt = makeQtModule()
    qt.qInstallMessageHandler(_onQtMessage)
    sys.modules["qt"] = qt

    from . import dialogs
    from .application import makeApplication

    temporaryFolder = Path(tempfile.mkdtemp(prefix="slicer-harness-"))
    atexit.register(shutil.rmtree, temporaryFolder, ignore_errors=True)
    application = makeApplication(qt, temporaryFolder)
    dialogs.install(qt)

    from .ctk_widgets import makeCtkModule
    from .mrml_widgets import makeMrmlWidgets
    from .ui_loader import makeUiLoader

    ctk = makeCtkModule(qt)
    sys.modules["ctk"] = ctk

    import slicer

    from . import application_parts, slicer_python

    slicer.app = application
    application_parts.attach(slicer)
    for name, widgetClass in makeMrmlWidgets(qt, ctk, slicer).items():
        setattr(slicer, name, widgetClass)
    qt.QUiLoader = makeUiLoader(qt, ctk, slicer)
    slicer_python.install(slicer)
    application_parts.attachViews(slicer)
    answers.install(slicer)
    uncaught.install()
    atexit.register(quitting.shutDown)
    return slicer


def _onQtMessage(kind: object, context: object, text: str) -> None:
    """Qt's own warnings go to the log, but for what the offscreen platform says about itself."""
    if "This plugin does not support" not in text:
        logging.getLogger("qt").warning(text)
