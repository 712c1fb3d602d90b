"""Loading of Qt Designer files as Slicer does, but stricter: what Slicer lets pass half-working is refused."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .pythonqt import makeQtModule
from .pythonqt_attributes import hasProperty, isPropertyOfStandIn

qt = makeQtModule()

SCENE_SIGNAL, SCENE_SLOT = "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"


class UiFileError(RuntimeError):
    """A .ui file that would not work in Slicer."""


def makeUiLoader(qtModule: ModuleType, ctk: ModuleType, slicer: ModuleType) -> type:
    """Make the class that stands for `qt.QUiLoader`.

    Args:
        qtModule: the module of `makeQtModule`.
        ctk: the module of `makeCtkModule`.
        slicer: the package that holds the classes of `makeMrmlWidgets`.

    Returns:
        A class with `load(file)`, to be put into `qt` as `QUiLoader`.
    """

    def classNamed(className: str) -> type:
        for module in (slicer, ctk, qtModule):
            kind = vars(module).get(className)
            if isinstance(kind, type) and issubclass(kind, qt.QWidget):
                return kind
        raise UiFileError(f"Unknown widget class {className} in the .ui file: the harness has no stand-in for it.")

    class QUiLoader(qt.QUiLoader):
        """Makes the widgets of a .ui file, with stand-ins, and then its connections."""

        def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
            kind = classNamed(className)
            widget = kind(parent) if parent is not None else kind()
            widget.setObjectName(name)
            return widget

        def load(self, file: Any, parent: Any = None) -> Any:
            root = ElementTree.fromstring(_bytesOf(file))
            checkUi(root, classNamed)
            _numberEnumerators(root, classNamed)
            connections = root.findall("connections/connection")
            for element in root.findall("connections"):
                root.remove(element)  # Qt does not know the signals and slots of stand-ins
            buffer = qt.QBuffer()
            buffer.setData(ElementTree.tostring(root))
            buffer.open(qt.QIODevice.ReadOnly)
            widget = super().load(buffer, parent)
            if widget is None:
                raise UiFileError(f"Qt could not load the .ui file: {self.errorString()}")
            for connection in connections:
                _connect(widget, connection)
            return widget

    return QUiLoader


def checkUi(root: ElementTree.Element, classNamed: Callable[[str], type]) -> None:
    """Check what Slicer would not complain about until much later, if at all.

    Args:
        root: element `ui` of the file.
        classNamed: class of a class name; raises UiFileError for an unknown name.

    Raises:
        UiFileError: no widget, an unknown class or property, a name used twice, or an MRML widget that gets no scene.
    """
    top = root.find("widget")
    if top is None:
        raise UiFileError("The .ui file has no widget.")
    seen = set()
    for element in root.iter("widget"):
        name, className = element.get("name"), element.get("class")
        kind = classNamed(className)
        if name in seen:
            raise UiFileError(f"Two widgets are named {name} in the .ui file.")
        seen.add(name)
        _checkProperties(element, kind)
        if hasattr(kind, "setMRMLScene") and element is not top and name not in _givenScene(root):
            raise UiFileError(
                f"{className} {name} never gets the scene: the .ui file lacks the connection from {SCENE_SIGNAL} "
                f"of {top.get('name')} to {SCENE_SLOT} of {name}."
            )


def _givenScene(root):
    """Names of the widgets that are connected to the scene."""
    wanted = (SCENE_SIGNAL, SCENE_SLOT)
    connections = root.findall("connections/connection")
    return [
        each.findtext("receiver") for each in connections if (each.findtext("signal"), each.findtext("slot")) == wanted
    ]


def _checkProperties(element, kind):
    """Qt ignores a property that a class does not have; in a .ui file that is a slip of the pen."""
    for item in element.findall("property"):
        name = item.get("name")
        dynamic = item.get("stdset") == "0"  # how Qt Designer writes properties that a user added
        if not (dynamic or name == "buddy" or hasProperty(kind, name)):
            raise UiFileError(
                f"{element.get('class')} {element.get('name')} has no property {name} (in the .ui file)."
            )


def _numberEnumerators(root, classNamed):
    """Write enumerators of stand-ins (`ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable`) as the numbers they are."""
    for element in root.iter("widget"):
        kind = classNamed(element.get("class"))
        for item in element.findall("property"):
            value = item.find("set") if item.find("set") is not None else item.find("enum")
            if value is not None and isPropertyOfStandIn(kind, item.get("name")):
                names = [name.strip() for name in value.text.split("|")]
                value.tag, value.text = "number", str(sum({_enumerator(name, classNamed) for name in names}))


def _enumerator(name, classNamed):
    className, _, member = name.rpartition("::")
    kind = qt.Qt if className == "Qt" else classNamed(className)
    if not isinstance(getattr(kind, member, None), int):
        raise UiFileError(f"There is no enumerator {name}, which the .ui file names.")
    return int(getattr(kind, member))


def _bytesOf(file):
    if not (file.isOpen() or file.open(qt.QIODevice.ReadOnly)):
        raise UiFileError(f"The .ui file {file.fileName()} cannot be opened.")
    return file.readAll().data()


def _connect(top, connection):
    sender, receiver = (_named(top, connection.findtext(end)) for end in ("sender", "receiver"))
    signal, slot = (connection.findtext(end).split("(")[0] for end in ("signal", "slot"))
    for owner, member in ((sender, signal), (receiver, slot)):
        if not hasattr(owner, member):
            raise UiFileError(
                f"{owner.className()} {owner.name} has no {member}, which a connection of the .ui file names."
            )
    getattr(sender, signal).connect(getattr(receiver, slot))


def _named(top, name):
    found = top if top.name == name else top.findChild(qt.QObject, name)
    if found is None:
        raise UiFileError(f"A connection of the .ui file names {name}, which does not exist.")
    return found
