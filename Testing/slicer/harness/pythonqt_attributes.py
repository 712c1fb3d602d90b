"""How PythonQt looks up and sets attributes of Qt objects, on PySide6's classes."""

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore
from shiboken6 import isValid

# Virtual getters that C++ calls for every child of every layout: as properties they would be computed twice per level.
VIRTUAL_GETTERS = frozenset({"sizeHint", "minimumSizeHint", "heightForWidth"})

# Signals with a default argument: PythonQt always gives the slot that argument, if the slot takes one.
SIGNALS_WITH_DEFAULT = frozenset({"clicked", "triggered"})


class PropertyOfInstance:
    """Reads and writes a Qt property on an instance; gives the original method on the class (`QTimer.singleShot`)."""

    def __init__(self, name: str, original: Any, writable: bool):
        self.name, self.original, self.writable = name, original, writable
        self._reading: set[int] = set()

    def __get__(self, instance, owner=None):
        if instance is None:
            return self.original
        if id(instance) in self._reading:
            # Qt's getter is virtual (QProgressBar.text): C++ looks here whether Python overrides it. It does not.
            return self.original.__get__(instance, owner)
        self._reading.add(id(instance))
        try:
            return asPythonQtValue(QtCore.QObject.property(instance, self.name))
        finally:
            self._reading.discard(id(instance))

    def __set__(self, instance, value):
        what = f"Property '{self.name}' of {type(instance).__name__}"
        if not self.writable:
            raise AttributeError(f"{what} object is not writable")
        plain = list(value) if isinstance(value, tuple) else value
        if not QtCore.QObject.setProperty(instance, self.name, plain):
            raise AttributeError(f"{what} does not accept an object of type {type(value).__name__} ({value!r})")


def asPythonQtValue(value: Any) -> Any:
    """PythonQt hands every Qt list to Python as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def isQtClass(kind: type) -> bool:
    """Whether a class stands for a C++ class: one of PySide6's own or a stand-in of the harness."""
    return kind.__module__.startswith(("PySide6", "Shiboken", "shiboken6", "harness."))


def declareProperties(kind: type) -> None:
    """Replace the getters of the Qt properties that a class declares by attributes."""
    meta = kind.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        metaProperty = meta.property(index)
        name = metaProperty.name()
        if name not in VIRTUAL_GETTERS:
            setattr(kind, name, PropertyOfInstance(name, getattr(kind, name, None), metaProperty.isWritable()))


def hasProperty(kind: type, name: str) -> bool:
    """Whether a class has a Qt property, of Qt or of a stand-in.

    The meta objects of Python classes are not asked: PySide6 renews them at times, and the old ones are gone then.
    """
    declared = (vars(base).get(name) for base in kind.__mro__)
    return name in VIRTUAL_GETTERS or any(isinstance(each, PropertyOfInstance | QtCore.Property) for each in declared)


def isPropertyOfStandIn(kind: type, name: str) -> bool:
    """Whether a property was declared in Python, so that Qt does not know the enumerators it may be set to."""
    return any(isinstance(vars(base).get(name), QtCore.Property) for base in kind.__mro__)


def attributeGetter(original: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """`__getattribute__` of a class whose own is `original`."""

    def getAttribute(instance, name):
        found = original(instance, name)
        if name in ("connect", "disconnect"):
            return _withoutNames(name, found)
        return found[bool] if name in SIGNALS_WITH_DEFAULT and isinstance(found, QtCore.SignalInstance) else found

    return getAttribute


def _withoutNames(name, method):
    """`connect` and `disconnect` of a Qt object; in Slicer they take the signal as text, which this project avoids."""

    def refuse(*arguments):
        # QTimer.singleShot of PySide6 comes this way too, with the code that SIGNAL() puts before the name.
        if len(arguments) > 1 and isinstance(arguments[1], str) and arguments[1].startswith("2"):
            return method(*arguments)
        raise TypeError(f"string-typed {name}() is not allowed here: use object.signalName.{name}(callable)")

    return refuse


def getMissingAttribute(instance: QtCore.QObject, name: str) -> Any:
    """`__getattr__`: dynamic properties and children (by object name) are attributes in PythonQt."""
    if not name.startswith("__"):
        value = QtCore.QObject.property(instance, name)
        if value is not None:
            return asPythonQtValue(value)
        for child in QtCore.QObject.children(instance):
            if QtCore.QObject.property(child, "objectName") == name:
                return child
    raise AttributeError(f"{type(instance).__name__} has no attribute named '{name}'")


def setAttribute(instance: QtCore.QObject, name: str, value: Any) -> None:
    """`__setattr__`: set properties; refuse to replace Qt's methods and to put something new on a C++ object."""
    owner = next((base for base in type(instance).__mro__ if name in vars(base)), None)
    if owner is None:
        _setNewAttribute(instance, name, value)
        return
    descriptor = vars(owner)[name]
    if isinstance(descriptor, QtCore.Property):  # PySide6 sets these itself, without __set__
        descriptor = PropertyOfInstance(name, None, writable=True)
    if hasattr(type(descriptor), "__set__"):
        descriptor.__set__(instance, value)
    elif isQtClass(owner) and not name.startswith("_"):
        member = "Signal" if isinstance(descriptor, QtCore.Signal) else "Slot"
        raise AttributeError(f"{member} '{name}' can not be overwritten on {type(instance).__name__} object")
    else:
        instance.__dict__[name] = value


def _setNewAttribute(instance, name, value):
    kind = type(instance)
    if not isValid(instance):  # a class of the module that sets its attributes before it constructs the Qt object
        instance.__dict__[name] = value
    elif name in [bytes(key).decode() for key in instance.dynamicPropertyNames()]:
        QtCore.QObject.setProperty(instance, name, value)
    elif isinstance(value, QtCore.QObject) and QtCore.QObject.property(value, "objectName") == name:
        pass  # PySide6's QUiLoader leaves the children of a file on its top widget; they are found by name anyway
    elif isQtClass(kind) and not name.startswith("_"):
        raise AttributeError(
            f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
        )
    else:
        instance.__dict__[name] = value
