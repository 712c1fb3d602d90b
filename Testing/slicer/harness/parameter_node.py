"""Stand-in for `slicer.parameterNodeWrapper`: typed attributes kept in a parameter node and bound to widgets."""

import typing
import weakref
from typing import Any, ClassVar

import slicer
import vtk

from .parameter_annotations import (
    Choice,
    Decimals,
    Default,
    Exclude,
    IsInstance,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
    split,
)
from .parameter_containers import makeStorage
from .parameter_widgets import Connector, connectorFor

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "IsInstance",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

SlicerParameterNamePropertyName = "SlicerParameterName"


class _Parameter:
    """One attribute: its type, its way into the node, what it may be, and what it is at first."""

    def __init__(self, name: str, annotation: Any, classDefault: Any) -> None:
        self.name, self.annotation = name, annotation
        notes = split(annotation)[1]
        self.storage = makeStorage(annotation)
        self.validators = [note for note in notes if isinstance(note, Validator)]
        defaults = [note.value for note in notes if isinstance(note, Default)]
        self.default = classDefault if classDefault is not _MISSING else (*defaults, self.storage.default())[0]

    def write(self, node: Any, value: Any) -> None:
        self.storage.check(value)
        for validator in self.validators:
            validator.validate(value)
        self.storage.write(node, self.name, value)

    def read(self, node: Any) -> Any:
        if not self.storage.isIn(node, self.name):
            self.write(node, self.default)
        return self.storage.read(node, self.name)


_MISSING = object()


class _Wrapper:
    """What the decorator adds to a class."""

    allParameters: ClassVar[dict[str, _Parameter]] = {}

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        if prefix:
            raise NotImplementedError("The harness has no prefixes for parameter node wrappers.")
        self.parameterNode = parameterNode
        self._bindings: dict[int, dict[str, Connector]] = {}
        self._nextTag = 0
        self._updatingWidgets = False
        self._observed = False
        self._writing = ""
        self._values: dict[str, Any] = {}
        self._readValues()
        self._observe("_readValues")

    def _readValues(self) -> None:
        """Values are read when the node is modified, and only then, as in Slicer.

        So a node that a scene file names before it brings it is None until the next modification.
        """
        for name, parameter in self.allParameters.items():
            if name != self._writing:
                self._values[name] = parameter.read(self.parameterNode)

    def getValue(self, name: str) -> Any:
        self._parameter(name)
        return self._values[name]

    def setValue(self, name: str, value: Any) -> None:
        parameter, self._writing = self._parameter(name), name
        try:
            with slicer.util.NodeModify(self.parameterNode):
                parameter.write(self.parameterNode, value)
                self._values[name] = parameter.read(self.parameterNode)
        finally:
            self._writing = ""

    def default(self, name: str) -> Default:
        return Default(self._parameter(name).default)

    def isCached(self, name: str) -> bool:
        self._parameter(name)
        return True

    @classmethod
    def dataType(cls, name: str) -> Any:
        return cls._parameter(name).annotation

    @classmethod
    def _parameter(cls, name: str) -> _Parameter:
        if name not in cls.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}; there are {list(cls.allParameters)}")
        return cls.allParameters[name]

    # ------------------------------------------------------------------------------------ widgets

    def connectGui(self, gui: Any) -> None:
        """Bind all widgets that carry the dynamic property SlicerParameterName.

        As in Slicer (up to 5.13), this gives no tag, so it cannot be undone: where the widgets go before the
        parameter node goes, use connectParametersToGui.
        """
        import qt

        isWidget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if isWidget else vars(gui).values()
        named = ((widget.property(SlicerParameterNamePropertyName), widget) for widget in widgets)
        self.connectParametersToGui({name: widget for name, widget in named if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Bind widgets to parameters, both ways; returns a tag for disconnectGui."""
        connectors = {name: connectorFor(widget, self._parameter(name).annotation) for name, widget in mapping.items()}
        tag = self._nextTag
        self._nextTag += 1
        self._bindings[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect(self._makeOnChanged(name, connector))
        if not self._observed:
            self._observed = True
            self._observe("_updateWidgets")
        return tag

    def _observe(self, method: str) -> None:
        """Call a method when the node is modified; the observer goes when this object goes, the node may stay.

        The finalizer also keeps the callback: VTK lets Python's garbage collector clear callbacks of nodes that are
        still in the scene, and calling them then would crash.
        """
        weakly = weakref.ref(self)

        def onModified(caller: Any, event: Any) -> None:
            wrapper = weakly()
            if wrapper is not None:
                getattr(wrapper, method)()

        tag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, onModified)
        weakref.finalize(self, _removeObserver, self.parameterNode, tag, onModified)

    def disconnectGui(self, tag: int | None) -> None:
        """Undo a binding; does nothing for an unknown tag."""
        for connector in self._bindings.pop(tag, {}).values():
            connector.disconnect()

    def _makeOnChanged(self, name: str, connector: Connector) -> Any:
        def onChanged() -> None:
            if not self._updatingWidgets:
                self.setValue(name, connector.read())

        return onChanged

    def _updateWidgets(self) -> None:
        if self._updatingWidgets:
            return
        self._updatingWidgets = True
        try:
            with slicer.util.NodeModify(self):
                for connectors in self._bindings.values():
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updatingWidgets = False

    # ------------------------------------------------------------------------------------ the node

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> None:
        self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _removeObserver(node: Any, tag: int, callback: Any) -> None:
    node.RemoveObserver(tag)


_OFFERED = [name for name in vars(_Wrapper) if not name.startswith("__") and name != "allParameters"]


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Class decorator: its annotated attributes live in a parameter node."""
    return _wrap if classtype is None else _wrap(classtype)


def _wrap(cls: type) -> type:
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: _Parameter(name, hint, vars(cls).get(name, _MISSING)) for name, hint in hints.items()}
    for name in (*_OFFERED, "allParameters"):
        if name in vars(cls) or name in parameters:
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(cls, name, vars(_Wrapper)[name])
    cls.allParameters = parameters
    cls.__init__ = _Wrapper.__init__
    cls._is_parameter_node_wrapper = True
    for name in parameters:
        setattr(cls, name, _attribute(name))
    return cls


def _attribute(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def isParameterNodeWrapper(classOrObject: Any) -> bool:
    """Whether a class, or an object's class, was made by the decorator."""
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)
