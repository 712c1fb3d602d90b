"""A button that starts something and becomes Cancel, with a progress bar and a line that says what happens."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _


class RunControl:
    """Ties one task at a time to three widgets."""

    def __init__(
        self, button: qt.QPushButton, progressBar: qt.QProgressBar, statusLabel: qt.QLabel, start: Callable[[], object]
    ):
        """Take over the widgets.

        Args:
            button: starts, or cancels while a task runs.
            progressBar: hidden while nothing runs.
            statusLabel: says what happens or what went wrong.
            start: starts and returns a task, or returns None; a ValueError or RuntimeError it raises is shown.
        """
        self.button, self.progressBar, self.statusLabel = button, progressBar, statusLabel
        self.task = None
        self._start, self._caption, self._closed = start, button.text, False
        statusLabel.setTextFormat(qt.Qt.PlainText)
        statusLabel.setWordWrap(True)
        progressBar.setVisible(False)
        statusLabel.setVisible(False)
        button.clicked.connect(self._onClicked)

    @property
    def running(self) -> bool:
        """Whether a task runs."""
        return self.task is not None and self.task.state == "running"

    def run(self) -> None:
        """Start, as if the button was clicked; nothing happens while a task runs."""
        if self.running:
            return
        try:
            self.task = self._start()
        except (ValueError, RuntimeError, OSError) as error:
            self.say(str(error))
            return
        if self.running:
            self.button.setText(_("Cancel"))
            self.progressBar.setRange(0, 0)
            self.progressBar.setVisible(True)

    def cancel(self) -> None:
        """Cancel what runs."""
        if self.running:
            self.task.cancel()

    def cleanup(self) -> None:
        """Cancel what runs, and leave the widgets alone from now on: they may be gone when the answer comes."""
        self._closed = True
        self.cancel()

    def onProgress(self, fraction: float | None, secondsLeft: float | None, phase: str) -> None:
        """Show how far a task is; to be handed to it."""
        if self._closed:
            return
        if fraction is None:
            self.progressBar.setRange(0, 0)
        else:
            self.progressBar.setRange(0, 100)
            self.progressBar.setValue(round(100 * fraction))
        if secondsLeft is not None:
            self.say(_("About {seconds} s left.").format(seconds=max(1, round(secondsLeft))))

    def finish(self, task: object) -> bool:
        """Put the widgets back when a task has ended, and say so if it failed.

        Returns:
            Whether the task is done, so that its value can be used.
        """
        if self._closed:
            return False
        self.button.setText(self._caption)
        self.progressBar.setVisible(False)
        if task.state == "done":
            self.say("")
            return True
        self.say(str(task.error) if task.error is not None else _("Cancelled."))
        return False

    def say(self, text: str) -> None:
        """Show a line of text; none takes no room."""
        if self._closed:
            return
        self.statusLabel.setText(text)
        self.statusLabel.setVisible(bool(text))

    def _onClicked(self, checked: bool = False) -> None:
        if self.running:
            self.cancel()
        else:
            self.run()
