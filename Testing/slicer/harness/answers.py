"""Message boxes and dialogs in tests: written down, and answered as the test says."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Message:
    """One message shown to the user; kind is info, warning, error, confirm, box, delay, file or dialog."""

    kind: str
    text: str
    title: str = ""


class Answers:
    """The user of the tests.

    `shown` holds every message. `confirm`, `chooseFiles` and `answerDialog` queue answers for what is asked later.
    A confirmation that nothing is queued for is answered as Slicer's testing mode does (OK, Yes; Retry is declined),
    a file dialog is cancelled, and any other dialog is an error, because it would wait for ever.
    """

    def __init__(self) -> None:
        self.shown: list[Message] = []
        self._confirmations: list[bool] = []
        self._files: list[list[str]] = []
        self._dialogs: list[Callable[[Any], Any]] = []

    def reset(self) -> None:
        """Forget messages and queued answers."""
        for kept in (self.shown, self._confirmations, self._files, self._dialogs):
            kept.clear()

    def confirm(self, *values: bool) -> None:
        """Answer the next confirmations (OK or Yes: True) with these values, one each."""
        self._confirmations.extend(values)

    def chooseFiles(self, *paths: str | Path) -> None:
        """Choose these files, or this folder, in the next file dialog; without any it is cancelled."""
        self._files.append([str(path) for path in paths])

    def answerDialog(self, answer: Callable[[Any], Any]) -> None:
        """Call `answer` with the next dialog that is executed; what it returns is the result of the dialog."""
        self._dialogs.append(answer)

    def texts(self, kind: str | None = None) -> list[str]:
        """Texts of the messages shown so far, of one kind or all."""
        return [message.text for message in self.shown if kind in (None, message.kind)]

    def install(self, slicer: ModuleType) -> None:
        """Take the place of the functions of `slicer.util` that show something."""
        slicer.util._messageDisplay = self._onMessage
        slicer.util.messageBox = self._onBox
        slicer.util.delayDisplay = self._onDelay

    def takeConfirmation(self, unasked: bool) -> bool:
        """The next queued answer, or the given one if there is none."""
        return self._confirmations.pop(0) if self._confirmations else unasked

    def takeFiles(self, title: str) -> list[str]:
        """The next chosen files; empty if the dialog is cancelled."""
        self.shown.append(Message("file", title))
        return self._files.pop(0) if self._files else []

    def takeDialog(self, dialog: Any) -> Any:
        """Have the next dialog answered.

        Raises: RuntimeError if the test answers no dialog.
        """
        self.shown.append(Message("dialog", dialog.windowTitle))
        if not self._dialogs:
            raise RuntimeError(f"The dialog '{dialog.windowTitle}' would wait for ever: answer it with answerDialog.")
        return self._dialogs.pop(0)(dialog)

    def _onMessage(self, logLevel: int, text: str, testingReturnValue: Any, *_: Any, **options: Any) -> Any:
        """In the place of slicer.util._messageDisplay, which all its display functions call."""
        logging.log(logLevel, text)
        title = options.get("windowTitle") or ""
        if testingReturnValue is None:
            self.shown.append(Message(logging.getLevelName(logLevel).lower(), text, title))
            return None
        self.shown.append(Message("confirm", text, title))
        return self._button(self.takeConfirmation(testingReturnValue), options.get("standardButtons"))

    def _onBox(self, text: str, parent: Any = None, **options: Any) -> Any:
        self.shown.append(Message("box", text, options.get("windowTitle", "")))
        return self._button(self.takeConfirmation(True), options.get("standardButtons"))

    def _onDelay(self, message: str, *_: Any, **__: Any) -> None:
        self.shown.append(Message("delay", message))

    @staticmethod
    def _button(agreed: bool, offered: Any) -> Any:
        import qt

        box = qt.QMessageBox
        names = ("Ok", "Yes", "Retry", "Save") if agreed else ("Cancel", "No", "Close", "Discard")
        wanted = [getattr(box, name) for name in names]
        return next((button for button in wanted if offered is not None and int(offered) & int(button)), wanted[0])


answers = Answers()
