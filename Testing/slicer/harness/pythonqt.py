"""PySide6 answering as PythonQt, the binding inside 3D Slicer.

PythonQt reads a Qt property without parentheses (`button.text`), keeps the setter (`button.setText("x")`), refuses to
call the property (`button.text()`), treats enumerators as integers, returns lists of Qt as tuples, and lets nobody put
new attributes on a C++ object. PySide6 does none of this by itself; `makeQtModule` teaches it.
"""

import ctypes
import os
import sys
import types

# Enumerators of PythonQt are integers: `int(error)`, `status == 0`. PySide6 reads this wish when it is first imported.
if "PySide6" not in sys.modules:
    sys.pyside6_option_python_enum = 0x02
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Qt says through its logging that an offscreen window has no size hints; that is no news.
os.environ.setdefault("QT_LOGGING_RULES", "qt.qpa.*=false")

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets

from .pythonqt_attributes import (
    PropertyOfInstance,
    attributeGetter,
    declareProperties,
    getMissingAttribute,
    setAttribute,
)
from .pythonqt_values import adaptValueClasses

# Whenever an empty QVariant becomes None, PySide6 gives back one reference to None too many, 6.12 also with every call
# that returns nothing. From Python 3.12 on None cannot be deleted; before, the process dies after some thousand such
# calls unless None has references to spare.
if sys.version_info < (3, 12):
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40

QT_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools, QtNetwork)

_module: types.ModuleType | None = None


def makeQtModule() -> types.ModuleType:
    """Make the module `qt` of Slicer from PySide6.

    PySide6's classes are changed in place, not subclassed, so that `isinstance(widget, qt.QWidget)` stays true for
    whatever Qt itself makes.

    Returns:
        The module, the same at each call; the caller puts it into `sys.modules`.
    """
    global _module
    if _module is None:
        _module = _gather()
        _adapt(_module)
        QtWidgets.QApplication.setStyle("Fusion")  # what Slicer looks like, nearly
    return _module


def _gather() -> types.ModuleType:
    qt = types.ModuleType("qt", "Qt as 3D Slicer's Python sees it.")
    for module in QT_MODULES:
        for name in dir(module):
            if not name.startswith("_") and name not in ("SIGNAL", "SLOT"):
                setattr(qt, name, getattr(module, name))
    return qt


def _adapt(qt: types.ModuleType) -> None:
    classes = _objectClasses()
    for kind in classes:
        declareProperties(kind)
    adaptValueClasses(qt)
    QtCore.QObject.name = PropertyOfInstance("objectName", None, writable=True)
    QtCore.QObject.className = lambda instance: type(instance).__name__
    QtCore.QObject.delete = QtCore.QObject.deleteLater
    # Some classes have a look-up of their own (QFile): collect all before any is replaced.
    lookUps = {kind: kind.__getattribute__ for kind in classes}
    for kind in classes:
        kind.__getattribute__ = attributeGetter(lookUps[kind])
        kind.__getattr__ = getMissingAttribute
        kind.__setattr__ = setAttribute


def _objectClasses() -> list[type]:
    values = [value for module in QT_MODULES for value in vars(module).values()]
    found = [value for value in values if isinstance(value, type) and issubclass(value, QtCore.QObject)]
    return list(dict.fromkeys(found))
