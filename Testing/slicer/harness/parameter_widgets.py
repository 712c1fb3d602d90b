"""Binding of widgets to parameters: which widgets Slicer binds to which types, and how."""

import enum
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from .parameter_annotations import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange, split


class Connector:
    """Reads and writes the value of one widget and hears its changes."""

    def __init__(self, signal: Any, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.read, self.write = read, write
        self._signal, self._callback = signal, None

    def connect(self, callback: Callable[[], None]) -> None:
        """Call back whenever the user changes the widget."""
        self._callback = callback
        self._signal.connect(self._onChanged)

    def disconnect(self) -> None:
        """Stop calling back."""
        if self._callback:
            self._signal.disconnect(self._onChanged)
            self._callback = None

    def _onChanged(self, *_: Any) -> None:
        if self._callback:
            self._callback()


def connectorFor(widget: Any, annotation: Any) -> Connector:
    """The binding of a widget to a parameter; RuntimeError where Slicer has none.

    Like Slicer, this compares the exact class of the widget: a ctkCheckBox is not bound as a QCheckBox.
    """
    plain, notes = split(annotation)
    make = _makers(plain).get(type(widget))
    if make is None:
        raise RuntimeError(f"Unable to create GUI connector from datatype '{plain}' to widget type '{type(widget)}'")
    return make(widget, plain, notes)


def _makers(plain: Any) -> dict:
    if plain is bool:
        return {qt.QCheckBox: _checked("stateChanged"), qt.QPushButton: _button, qt.QComboBox: _choice}
    if plain is int:
        return {qt.QSpinBox: _number, qt.QSlider: _number, qt.QComboBox: _choice}
    if plain is float:
        return {qt.QDoubleSpinBox: _number, ctk.ctkSliderWidget: _number, qt.QComboBox: _choice}
    if plain is str:
        return {qt.QLineEdit: _line, qt.QTextEdit: _plainText, qt.QComboBox: _choice}
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return {qt.QComboBox: _enumeration}
    if isinstance(plain, type) and issubclass(plain, pathlib.PurePath):
        return {ctk.ctkPathLineEdit: _path("currentPath"), ctk.ctkDirectoryButton: _path("directory")}
    if _nodeClasses(plain):
        return {slicer.qMRMLNodeComboBox: _node}
    return {}


def _property(widget: Any, signal: Any, name: str) -> Connector:
    return Connector(signal, lambda: getattr(widget, name), lambda value: setattr(widget, name, value))


def _checked(signalName: str) -> Callable:
    return lambda widget, plain, notes: _property(widget, getattr(widget, signalName), "checked")


def _button(widget: Any, plain: Any, notes: tuple) -> Connector:
    widget.checkable = True
    return _property(widget, widget.toggled, "checked")


def _number(widget: Any, plain: Any, notes: tuple) -> Connector:
    lowest, highest = (-(2**31), 2**31 - 1) if plain is int else (float("-inf"), float("inf"))
    bounded = 0
    for note in notes:
        if isinstance(note, Decimals):
            widget.decimals = note.value
        elif isinstance(note, SingleStep):
            widget.singleStep = note.value
        elif isinstance(note, WithinRange):
            lowest, highest, bounded = note.minimum, note.maximum, 2
        elif isinstance(note, Minimum):
            lowest, bounded = note.minimum, bounded + 1
        elif isinstance(note, Maximum):
            highest, bounded = note.maximum, bounded + 1
    if type(widget) in (qt.QSlider, ctk.ctkSliderWidget) and bounded < 2:
        raise RuntimeError(f"A {type(widget).__name__} needs a parameter with WithinRange, or Minimum and Maximum.")
    widget.minimum, widget.maximum = lowest, highest
    return _property(widget, widget.valueChanged, "value")


def _choice(widget: Any, plain: Any, notes: tuple) -> Connector:
    choices = next((note.choices for note in notes if isinstance(note, Choice)), None)
    if choices is None:
        raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
    return _list(widget, [(str(choice), choice) for choice in choices])


def _enumeration(widget: Any, plain: Any, notes: tuple) -> Connector:
    label = getattr(plain, "label", lambda member: member.name)
    return _list(widget, [(label(member), member) for member in plain])


def _list(widget: Any, entries: list[tuple[str, Any]]) -> Connector:
    values = [value for _, value in entries]
    widget.clear()
    for text, _ in entries:
        widget.addItem(text)
    return Connector(
        widget.currentIndexChanged,
        lambda: values[widget.currentIndex],
        lambda value: widget.setCurrentIndex(values.index(value)),
    )


def _line(widget: Any, plain: Any, notes: tuple) -> Connector:
    return _property(widget, widget.textChanged, "text")


def _plainText(widget: Any, plain: Any, notes: tuple) -> Connector:
    return Connector(widget.textChanged, widget.toPlainText, widget.setPlainText)


def _path(name: str) -> Callable:
    def make(widget: Any, plain: Any, notes: tuple) -> Connector:
        signal = getattr(widget, f"{name}Changed")
        return Connector(signal, lambda: plain(getattr(widget, name)), lambda value: setattr(widget, name, str(value)))

    return make


def _node(widget: Any, plain: Any, notes: tuple) -> Connector:
    widget.nodeTypes = [nodeClass().GetClassName() for nodeClass in _nodeClasses(plain)]
    return Connector(widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode)


def _nodeClasses(plain: Any) -> list[type]:
    members = typing.get_args(plain) if typing.get_origin(plain) in (typing.Union, types.UnionType) else (plain,)
    plains = [split(member)[0] for member in members]
    nodes = [member for member in plains if isinstance(member, type) and issubclass(member, slicer.vtkMRMLNode)]
    others = [member for member in plains if member not in nodes and member is not types.NoneType]
    return [] if others else nodes
