"""What happened, as plain text with the time of day; the oldest lines are dropped."""

import time

import qt


class LogView:
    """Writes to a QPlainTextEdit, which never takes text for HTML and keeps a limited number of lines."""

    def __init__(self, textEdit: qt.QPlainTextEdit):
        self._textEdit = textEdit

    def add(self, message: str) -> None:
        """Add a message; line breaks stay."""
        self._textEdit.appendPlainText(f"{time.strftime('%H:%M:%S')}  {message}")

    def text(self) -> str:
        """All lines that are kept."""
        return self._textEdit.plainText
