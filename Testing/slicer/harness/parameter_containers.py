"""How lists, tuples, dictionaries and unions are kept in a parameter node, and which way fits a type."""

import enum
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any

import slicer

from .parameter_annotations import split
from .parameter_storage import EnumStorage, NodeStorage, NoneStorage, Storage, TextStorage


def makeStorage(annotation: Any) -> Storage:
    """The way of keeping values of a type; TypeError if Slicer has none, or the harness has none."""
    plain = split(annotation)[0]
    origin, arguments = typing.get_origin(plain), typing.get_args(plain)
    if origin in CONTAINERS and arguments:
        return CONTAINERS[origin]([makeStorage(argument) for argument in arguments])
    if plain is types.NoneType:
        return NoneStorage()
    if isinstance(plain, type):
        if issubclass(plain, slicer.vtkMRMLNode):
            return NodeStorage(plain)
        if issubclass(plain, enum.Enum):
            return EnumStorage(plain)
        if plain in (bool, int, float, str) or issubclass(plain, pathlib.PurePath):
            return TextStorage(plain)
    raise TypeError(f"A parameter node cannot keep values of type {plain} (or the harness cannot).")


class ListStorage(Storage):
    """Lists, element by element: NAME_len and NAME_0, NAME_1 and so on."""

    def __init__(self, members: list[Storage]) -> None:
        (self.element,) = members

    def default(self) -> list:
        return []

    def check(self, value: Any) -> None:
        for item in value:
            self.element.check(item)

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}_len"))

    def write(self, node: Any, name: str, value: Any) -> None:
        items, before = list(value), self._length(node, name)
        with slicer.util.NodeModify(node):
            for index, item in enumerate(items):
                self.element.write(node, f"{name}_{index}", item)
            for index in range(len(items), before):
                self.element.remove(node, f"{name}_{index}")
            node.SetParameter(f"{name}_len", str(len(items)))

    def read(self, node: Any, name: str) -> "ObservedList":
        items = [self.element.read(node, f"{name}_{index}") for index in range(self._length(node, name))]
        return ObservedList(items, lambda changed: self._save(node, name, changed))

    def _save(self, node: Any, name: str, items: list) -> None:
        self.check(items)
        self.write(node, name, items)

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}_len")) if self.isIn(node, name) else 0

    def remove(self, node: Any, name: str) -> None:
        for index in range(self._length(node, name)):
            self.element.remove(node, f"{name}_{index}")
        node.UnsetParameter(f"{name}_len")


class TupleStorage(Storage):
    """Tuples of fixed length: NAME_0, NAME_1 and so on."""

    def __init__(self, members: list[Storage]) -> None:
        self.members = members

    def default(self) -> tuple:
        return tuple(member.default() for member in self.members)

    def check(self, value: Any) -> None:
        for member, item in zip(self.members, value, strict=True):
            member.check(item)

    def isIn(self, node: Any, name: str) -> bool:
        return self.members[0].isIn(node, f"{name}_0")

    def write(self, node: Any, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            for index, (member, item) in enumerate(zip(self.members, value, strict=True)):
                member.write(node, f"{name}_{index}", item)

    def read(self, node: Any, name: str) -> tuple:
        return tuple(member.read(node, f"{name}_{index}") for index, member in enumerate(self.members))

    def remove(self, node: Any, name: str) -> None:
        for index, member in enumerate(self.members):
            member.remove(node, f"{name}_{index}")


class DictStorage(ListStorage):
    """Dictionaries, as lists of pairs."""

    def __init__(self, members: list[Storage]) -> None:
        super().__init__([TupleStorage(members)])

    def default(self) -> dict:
        return {}

    def check(self, value: Any) -> None:
        super().check(dict(value).items())

    def write(self, node: Any, name: str, value: Any) -> None:
        super().write(node, name, dict(value).items())

    def read(self, node: Any, name: str) -> "ObservedDict":
        return ObservedDict(dict(super().read(node, name)), lambda changed: self._save(node, name, changed))


class UnionStorage(Storage):
    """One of several types; the value is kept under NAME_INDEX of its type."""

    def __init__(self, members: list[Storage]) -> None:
        self.members = members

    def default(self) -> Any:
        optional = len(self.members) == 2 and isinstance(self.members[1], NoneStorage)
        return None if optional else self.members[0].default()

    def check(self, value: Any) -> None:
        self._memberFor(value)

    def isIn(self, node: Any, name: str) -> bool:
        return any(member.isIn(node, f"{name}_{index}") for index, member in enumerate(self.members))

    def write(self, node: Any, name: str, value: Any) -> None:
        chosen = self._memberFor(value)
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            self.members[chosen].write(node, f"{name}_{chosen}", value)

    def read(self, node: Any, name: str) -> Any:
        for index, member in enumerate(self.members):
            if member.isIn(node, f"{name}_{index}"):
                return member.read(node, f"{name}_{index}")
        return None

    def remove(self, node: Any, name: str) -> None:
        for index, member in enumerate(self.members):
            member.remove(node, f"{name}_{index}")

    def _memberFor(self, value: Any) -> int:
        order = sorted(range(len(self.members)), key=lambda index: not isinstance(self.members[index], NoneStorage))
        for index in order:
            try:
                self.members[index].check(value)
            except (TypeError, ValueError):
                continue
            return index
        raise TypeError(f"Unable to write value '{value}' of type '{type(value)}'")


class ObservedList(list):
    """A list that writes itself back to the parameter node when it is changed."""

    def __init__(self, items: list, save: Callable[[list], None]) -> None:
        super().__init__(items)
        self._save = save


class ObservedDict(dict):
    """A dictionary that writes itself back to the parameter node when it is changed."""

    def __init__(self, items: dict, save: Callable[[dict], None]) -> None:
        super().__init__(items)
        self._save = save


def _saving(kind: type, name: str) -> Any:
    plain = kind.__mro__[1]

    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        result = getattr(plain, name)(self, *arguments, **options)
        self._save(plain(self))
        return self if name == "__iadd__" else result

    return method


for _kind, _names in (
    (ObservedList, "append extend insert remove pop clear sort reverse __setitem__ __delitem__ __iadd__"),
    (ObservedDict, "pop popitem clear update setdefault __setitem__ __delitem__"),
):
    for _name in _names.split():
        setattr(_kind, _name, _saving(_kind, _name))

CONTAINERS = {
    list: ListStorage,
    tuple: TupleStorage,
    dict: DictStorage,
    typing.Union: UnionStorage,  # but not types.UnionType, which is what A | B makes: Slicer refuses it
}
