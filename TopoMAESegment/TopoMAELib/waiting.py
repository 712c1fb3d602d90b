"""Waiting while the application stays alive, and not after the user has closed it."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _


class ApplicationClosed(RuntimeError):
    """The user has closed Slicer while something was waited for."""


class Waiting:
    """One wait. A loop that handles events keeps the application from ending, even when its window is gone.

    Without a main window, or before it is shown, a script decides itself when Slicer ends.
    """

    def __init__(self) -> None:
        window = slicer.util.mainWindow()
        self._window = window if window is not None and window.visible else None

    @property
    def isOver(self) -> bool:
        """Whether the window that was there in the beginning has been closed."""
        try:
            return self._window is not None and not self._window.visible
        except (RuntimeError, ValueError):  # what is left is a wrapper of a window that is deleted
            return True

    def processEvents(self) -> None:
        """Let the application handle what has happened.

        Raises:
            ApplicationClosed: the user has closed Slicer.
        """
        slicer.app.processEvents()
        if self.isOver:
            raise ApplicationClosed(_("Slicer was closed."))
