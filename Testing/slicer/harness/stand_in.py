"""Small tools to declare stand-ins of C++ widgets: stored Qt properties and their setters."""

from collections.abc import Iterable
from typing import Any

from PySide6 import QtCore, QtWidgets

from .pythonqt_attributes import asPythonQtValue

_PROPERTY = QtCore.Property


def stored(kind: type | str, name: str, default: Any, changed: str | None = None) -> Any:
    """A Qt property that is kept in the object.

    Args:
        kind: type of the property (`bool`, `int`, `float`, `str`, `"QStringList"`, …).
        name: name of the property.
        default: value before it is set.
        changed: name of the method called (without arguments) when the value has changed.

    Returns:
        The property, to be assigned to `name` in the class.
    """
    key = f"_{name}"

    def read(instance):
        return asPythonQtValue(instance.__dict__.get(key, default))

    def write(instance, value):
        if value != read(instance):
            instance.__dict__[key] = value
            if changed:
                getattr(instance, changed)()

    return _PROPERTY(kind, read, write)


def parentAmong(arguments: Iterable[Any]) -> QtWidgets.QWidget | None:
    """The parent widget among the arguments of a constructor (C++ has overloads for these)."""
    return next((argument for argument in arguments if isinstance(argument, QtWidgets.QWidget)), None)


def standIn(kind: type) -> type:
    """Class decorator: give every Qt property of the class the setter that C++ has (`setChecked` beside `checked`)."""

    def setterOf(name):
        def setter(instance, value):
            setattr(instance, name, value)

        return setter

    for name, value in list(vars(kind).items()):
        if isinstance(value, _PROPERTY):
            setterName = f"set{name[0].upper()}{name[1:]}"
            if setterName not in vars(kind):
                setattr(kind, setterName, setterOf(name))
    return kind
