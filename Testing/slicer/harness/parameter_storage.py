"""How single values are kept in a vtkMRMLScriptedModuleNode, in the form Slicer keeps them."""

from typing import Any


class Storage:
    """Keeps a value as one parameter."""

    def default(self) -> Any:
        return None

    def check(self, value: Any) -> None:
        """Raise if the value is of the wrong type."""

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        raise NotImplementedError

    def read(self, node: Any, name: str) -> Any:
        raise NotImplementedError

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)


class TextStorage(Storage):
    """Booleans, numbers, texts and paths."""

    def __init__(self, plainType: type) -> None:
        self.type = plainType

    def default(self) -> Any:
        return self.type()

    def check(self, value: Any) -> None:
        accepted = (int, float) if self.type is float else self.type
        if value is None:
            raise ValueError("Value must not be None")
        if not isinstance(value, accepted):
            raise TypeError(f"Value must be of type '{accepted}', is type '{type(value)}' value '{value}'")

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, str(value))

    def read(self, node: Any, name: str) -> Any:
        text = node.GetParameter(name)
        return text == "True" if self.type is bool else self.type(text)


class EnumStorage(TextStorage):
    """Members of an enumeration, by name."""

    def default(self) -> Any:
        return next(iter(self.type))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, value.name)

    def read(self, node: Any, name: str) -> Any:
        return self.type[node.GetParameter(name)]


class NodeStorage(Storage):
    """Nodes of the scene, by node reference; the empty parameter says that a value, maybe None, was set."""

    def __init__(self, nodeClass: type) -> None:
        self.type = nodeClass

    def check(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.type):
            raise TypeError(f"Value must be of type '{self.type}', is type '{type(value)}'")

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class NoneStorage(Storage):
    """None, as a member of a union."""

    def check(self, value: Any) -> None:
        if value is not None:
            raise ValueError("Value must be None")

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "True")

    def read(self, node: Any, name: str) -> None:
        return None
