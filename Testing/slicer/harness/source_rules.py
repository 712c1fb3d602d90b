"""Rules of PythonQt that no run on PySide6 can check, checked in the source text of the modules."""

import ast
import enum
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What PySide6 or the harness has and the Qt of Slicer's Python has not.
NOT_IN_SLICER = {
    "qt.Signal": "PythonQt has no signals of Python classes: keep a list of callables",
    "qt.Slot": "PythonQt needs no declaration of slots",
    "qt.Property": "PythonQt has no properties of Python classes",
    "qt.ClassInfo": "PySide6 only",
    "qt.QEnum": "PySide6 only",
    "qt.QFlag": "PySide6 only",
}
# Methods that only Qt objects have, so that keyword arguments in a call can be told to be wrong.
METHODS_OF_QT = frozenset({"value", "findChild", "findChildren", "addWidget", "addRow", "addItem", "singleShot"})
# Members that came with Qt 6, so that Slicer's packages with Qt 5.15 fail on them.
QT6_ONLY = frozenset({"checkStateChanged", "globalPosition", "scenePosition", "setPlaceholderTextColor"})
# Members that went with Qt 6; some still exist in PySide6 under the same name with another meaning.
QT5_ONLY = frozenset({"setMargin", "exec_loop"})


def violations(path: Path) -> list[str]:
    """What a source file does that would fail in Slicer.

    Args:
        path: Python file of a module; `qt`, `ctk` and `slicer` must be importable (harness started).

    Returns:
        One sentence per violation, with file name and line number.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found = [problem for node in ast.walk(tree) for problem in _problems(node)]
    return [f"{path.name}:{line}: {text}" for line, text in sorted(set(found))]


def _problems(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Attribute):
        yield from _nameProblems(node)
    elif isinstance(node, ast.Call):
        yield from _callProblems(node)


def _nameProblems(node):
    """Names below `qt`, `ctk` and the widgets of `slicer` that do not exist there."""
    if node.attr in QT6_ONLY | QT5_ONLY:
        yield node.lineno, f"{node.attr} does not exist in both Qt 5.15 and Qt 6"
    names = _dotted(node)
    if not names or names[0] not in ("qt", "ctk", "slicer"):
        return
    dotted = ".".join(names)
    if dotted in NOT_IN_SLICER:
        yield node.lineno, f"{dotted}: {NOT_IN_SLICER[dotted]}"
    if names[0] == "slicer" and not names[1].startswith(("qMRML", "qSlicer")):
        return
    owner, exists = _resolve(names)
    if not exists:
        yield node.lineno, f"{dotted} does not exist (or the harness has no stand-in for it)"
    elif isinstance(owner, type) and issubclass(owner, enum.Enum):
        outer = ".".join([*names[:-2], names[-1]])
        yield node.lineno, f"{dotted}: enumerators of PythonQt belong to the class: {outer}"


def _callProblems(node):
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("connect", "disconnect"):
        if any(isinstance(argument, ast.Constant) and isinstance(argument.value, str) for argument in node.args):
            yield node.lineno, "string-typed connect: use object.signalName.connect(callable)"
    elif isinstance(node.func, ast.Attribute) and node.func.attr in METHODS_OF_QT and node.keywords:
        yield node.lineno, f"{node.func.attr}(): PythonQt takes no keyword arguments"
    names = _dotted(node.func)
    if names and names[0] in ("qt", "ctk") and node.keywords:
        yield node.lineno, f"{'.'.join(names)}: PythonQt takes no keyword arguments"
    if isinstance(node.func, ast.Name) and node.func.id in ("bytes", "str") and _readsBytes(node.args):
        yield node.lineno, f"{node.func.id}() of a QByteArray: use its data(), which is bytes on every version"
    if isinstance(node.func, ast.Name) and node.func.id == "_" and not all(_isPlainText(each) for each in node.args):
        yield node.lineno, "_() takes a plain text: put placeholders in and call .format(name=value) on the result"


def _readsBytes(arguments):
    calls = [each for each in arguments if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)]
    return any(call.func.attr.startswith("readAll") for call in calls)


def _isPlainText(argument):
    return isinstance(argument, ast.Constant) and isinstance(argument.value, str)


def _dotted(node) -> list[str]:
    """`qt.Qt.UserRole` as ["qt", "Qt", "UserRole"]; empty for anything that is not a chain of names."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def _resolve(names) -> tuple[Any, bool]:
    """The owner of the last name, and whether the name exists; beyond modules and classes nothing is known."""
    owner: Any = None
    found: Any = sys.modules[names[0]]
    for name in names[1:]:
        if not isinstance(found, type) and found is not sys.modules[names[0]]:
            return None, True
        owner = found
        if not hasattr(owner, name):
            return owner, False
        found = getattr(owner, name)
    return owner, True
