"""Stand-ins of the plain qMRML widgets: what holds a scene and hands it on."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from PySide6 import QtCore

from . import ctk_containers, ctk_numbers
from .pythonqt import makeQtModule

qt = makeQtModule()


class Observer:
    """Mixed into widgets that follow MRML objects."""

    def _observe(self, observed: Any, events: Iterable[Any], callback: Callable[..., None]) -> None:
        """Observe one object (a scene, a node, None) by this callback and no other object any more."""
        self._observeAll([observed] if observed is not None else [], events, callback)

    def _observeAll(self, objects: Iterable[Any], events: Iterable[Any], callback: Callable[..., None]) -> None:
        """Observe these objects by this callback and no others any more."""
        tags = self.__dict__.setdefault("_observerTags", {})
        for earlier, tag in tags.pop(callback.__name__, []):
            earlier.RemoveObserver(tag)
        weak, kinds = _whileAlive(callback), tuple(events)
        tags[callback.__name__] = [(each, each.AddObserver(event, weak)) for each in objects for event in kinds]


def _whileAlive(callback: Callable[..., None]) -> Callable[..., None]:
    """A callback that does not keep its widget alive and is silent once Qt has deleted it, as the C++ ones.

    While it runs the widget stays whole: Python's garbage collector may come at any moment, and where it finds a panel
    that nobody needs any more, Qt deletes the panel's widgets too, of which one may be at work just then.
    """
    method = weakref.WeakMethod(callback)

    def call(caller: Any, event: Any) -> None:
        bound = method()
        if bound is None:
            return
        try:
            owners = _ownersOf(bound.__self__)
        except RuntimeError:  # deleted by Qt: a node that a dead widget held would outlive the scene
            for tags in bound.__self__.__dict__.pop("_observerTags", {}).values():
                for observed, tag in tags:
                    observed.RemoveObserver(tag)
            return
        bound(caller, event)
        owners.clear()

    return call


def _ownersOf(widget: Any) -> list[Any]:
    """The objects with which Qt would delete a widget: itself and its parents. RuntimeError if it is deleted."""
    owners = []
    while widget is not None:
        owners.append(widget)
        widget = QtCore.QObject.parent(widget)
    return owners


class SceneHolder(Observer):
    """Mixed into every widget that C++ gives `setMRMLScene` and `mrmlScene`."""

    def mrmlScene(self) -> Any:
        return self.__dict__.get("_scene")

    def setMRMLScene(self, scene: Any) -> None:
        before = self.mrmlScene()
        if scene is not before:
            self._scene = scene
            self._sceneReplaced(before, scene)

    def _sceneReplaced(self, before: Any, scene: Any) -> None:
        """What the widget does with a new scene."""


class qMRMLWidget(SceneHolder, qt.QWidget):
    """Tells the scene to the widgets that are connected to `mrmlSceneChanged` (and to no other, as in Slicer)."""

    mrmlSceneChanged = qt.Signal(object)

    def _sceneReplaced(self, before, scene):
        self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    """Base of the module widgets."""


class qMRMLCollapsibleButton(SceneHolder, ctk_containers.ctkCollapsibleButton):
    """A collapsible button that knows the scene."""

    mrmlSceneChanged = qt.Signal(object)

    def _sceneReplaced(self, before, scene):
        self.mrmlSceneChanged.emit(scene)


class qMRMLSliderWidget(SceneHolder, ctk_numbers.ctkSliderWidget):
    """A slider that would show the units of the scene."""


class qMRMLSpinBox(SceneHolder, ctk_numbers.ctkDoubleSpinBox):
    """A spin box that would show the units of the scene."""


class qMRMLRangeWidget(SceneHolder, ctk_numbers.ctkRangeWidget):
    """A range that would show the units of the scene."""


class qMRMLCoordinatesWidget(SceneHolder, ctk_numbers.ctkCoordinatesWidget):
    """Coordinates that would show the units of the scene."""
