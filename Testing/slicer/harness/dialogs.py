"""Qt's own dialogs, which would wait for a user who is not there: `answers` answers them."""

from types import ModuleType
from typing import Any

from .answers import Message, answers


def install(qt: ModuleType) -> None:
    """Have file dialogs, message boxes and executed dialogs of `qt` answered by `answers`."""
    for name in ("getExistingDirectory", "getOpenFileName", "getSaveFileName"):
        setattr(qt.QFileDialog, name, staticmethod(_chooseOne))
    qt.QFileDialog.getOpenFileNames = staticmethod(_chooseSeveral)
    for name, kind in {
        "information": "info",
        "warning": "warning",
        "critical": "error",
        "question": "confirm",
    }.items():
        setattr(qt.QMessageBox, name, staticmethod(_messageBox(kind)))
    for name in ("getText", "getItem", "getInt", "getDouble", "getMultiLineText"):
        setattr(qt.QInputDialog, name, staticmethod(_refuse))
    for name in ("exec", "exec_"):
        setattr(qt.QMessageBox, name, _executeMessageBox)
        setattr(qt.QDialog, name, lambda dialog: answers.takeDialog(dialog))


def _chooseOne(*arguments: Any) -> str:
    return next(iter(answers.takeFiles(_title(arguments))), "")


def _chooseSeveral(*arguments: Any) -> tuple[str, ...]:
    return tuple(answers.takeFiles(_title(arguments)))


def _messageBox(kind: str) -> Any:
    def show(parent: Any, title: str, text: str, buttons: Any = None, *_: Any) -> Any:
        answers.shown.append(Message(kind, text, title))
        return answers._button(answers.takeConfirmation(True), buttons)

    return show


def _executeMessageBox(box: Any) -> Any:
    answers.shown.append(Message("box", box.text, box.windowTitle))
    return answers._button(answers.takeConfirmation(True), box.standardButtons)


def _refuse(*arguments: Any) -> None:
    raise RuntimeError("PythonQt's QInputDialog functions differ between Qt versions; use a dialog of your own.")


def _title(arguments: tuple) -> str:
    return next((argument for argument in arguments if isinstance(argument, str)), "")
