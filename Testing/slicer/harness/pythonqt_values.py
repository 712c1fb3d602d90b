"""Differences between PySide6 and PythonQt in single methods."""

import functools
from types import ModuleType

from .pythonqt_attributes import asPythonQtValue

# Methods that give a list in PySide6 and a tuple in PythonQt: `== []` and `+ [...]` behave differently.
LIST_METHODS = {
    "QTableWidget": ("selectedItems", "selectedRanges", "findItems"),
    "QListWidget": ("selectedItems", "findItems"),
    "QTreeWidget": ("selectedItems", "findItems"),
    "QItemSelectionModel": ("selectedIndexes", "selectedRows", "selectedColumns"),
    "QObject": ("children", "findChildren"),
    "QWidget": ("actions",),
    "QButtonGroup": ("buttons",),
    "QSplitter": ("sizes",),
    "QProcess": ("arguments",),
    "QDir": ("entryList", "entryInfoList"),
    "QSettings": ("allKeys", "childKeys", "childGroups"),
    "QProcessEnvironment": ("keys", "toStringList"),
    "QMimeData": ("urls", "formats"),
}


def adaptValueClasses(qt: ModuleType) -> None:
    """Make the methods of some Qt classes answer as PythonQt's.

    Args:
        qt: the module whose classes are adapted in place.
    """
    for className, methods in LIST_METHODS.items():
        for method in methods:
            _returnTuple(getattr(qt, className), method)
    _plainSettings(qt)
    for name in ("QDialog", "QMenu", "QEventLoop", "QCoreApplication"):  # Slicer's code says `exec_()`
        kind = getattr(qt, name)
        if not hasattr(kind, "exec_"):
            kind.exec_ = kind.exec


def _returnTuple(kind, name):
    original = getattr(kind, name)

    @functools.wraps(original)
    def method(instance, *arguments):
        return asPythonQtValue(original(instance, *arguments))

    setattr(kind, name, method)


def _plainSettings(qt):
    original = qt.QSettings.value

    def value(settings, key, default=None):
        """PythonQt knows no `type=`; a stored list comes back as a tuple."""
        found = original(settings, key, default)
        return found if found is default else asPythonQtValue(found)

    qt.QSettings.value = value
