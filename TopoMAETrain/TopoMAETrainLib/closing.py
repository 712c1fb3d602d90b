"""What happens to a running training when Slicer is closed: the user is asked, and whatever comes, it is not lost."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib.run_process import RunProcess

KEEP_RUNNING, STOP_AND_SAVE, DO_NOT_CLOSE = "keep running", "stop and save", "do not close"
_FORGET_AFTER = 1000  # milliseconds


class CloseFilter(qt.QObject):
    """Looks at the main window's wish to close. It must be kept alive by whoever made it.

    Args:
        mayClose: called without arguments when the window is about to close; tells whether it may.
    """

    def __init__(self, mayClose: Callable[[], bool]):
        qt.QObject.__init__(self)
        self._mayClose = mayClose

    def eventFilter(self, watched: object, event: object) -> bool:
        """Qt calls this before the window sees an event; True keeps the event from it."""
        if event.type() == qt.QEvent.Close and not self._mayClose():
            event.ignore()
            return True
        return False


class ClosingGuard:
    """Asks once when Slicer is closed while trainings run. Without a main window it does nothing.

    Args:
        running: gives the trainings that this Slicer drives and that go on.
        ask: asks the user what to do with them; gives one of the constants above.
        window: the main window.
    """

    def __init__(
        self,
        running: Callable[[], Sequence[RunProcess]],
        ask: Callable[[Sequence[RunProcess]], str] | None = None,
        window: object = None,
    ):
        self._running = running
        self._ask = ask or askWhatToDo
        self._answered = False
        self._filter: CloseFilter | None = None
        self._window = window if window is not None else slicer.util.mainWindow()
        self._timer = qt.QTimer()
        self._timer.setInterval(_FORGET_AFTER)
        self._timer.timeout.connect(self._forget)
        if self._window is not None:
            self._filter = CloseFilter(self._mayClose)
            self._window.installEventFilter(self._filter)

    def remove(self) -> None:
        """Watch the window no longer."""
        self._timer.stop()
        if self._filter is not None:
            with contextlib.suppress(RuntimeError, ValueError):  # when Slicer ends, the window goes before the modules
                self._window.removeEventFilter(self._filter)
        self._filter = self._window = None

    def _mayClose(self) -> bool:
        if self._answered:  # the window gets a second close event on some systems
            return True
        running = list(self._running())
        if not running:
            return True
        answer = self._ask(running)
        if answer == DO_NOT_CLOSE:
            return False
        if answer == STOP_AND_SAVE:
            for process in running:
                try:
                    process.stop()
                except (RuntimeError, OSError) as error:
                    logging.warning(f"TopoMAETrain: {process.runFolder.path} could not be stopped: {error}")
        self._answered = True
        self._timer.start()
        return True

    def _forget(self) -> None:
        """Ask again next time if Slicer was not closed after all: its own question may have been cancelled."""
        if self._window is not None and self._window.visible and qt.QApplication.activeModalWidget() is None:
            self._answered = False
            self._timer.stop()


def askWhatToDo(running: Sequence[RunProcess]) -> str:
    """Ask the user what to do with running trainings; in testing mode they keep running."""
    return KEEP_RUNNING if slicer.app.testingEnabled() else showQuestion(running)


def showQuestion(running: Sequence[RunProcess]) -> str:
    """Show the question and wait for one of the three answers."""
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setIcon(qt.QMessageBox.Question)
    box.setWindowTitle(_("Training is running"))
    box.setTextFormat(qt.Qt.PlainText)
    names = ", ".join(process.runFolder.name for process in running)
    box.setText(_("These trainings are running: {names}").format(names=names))
    box.setInformativeText(
        _("They can go on without Slicer; at its next start the module shows them again. Stopping saves a checkpoint "
          "after the current step, from which they can be resumed.")
    )  # fmt: skip
    keep = box.addButton(_("Keep running"), qt.QMessageBox.AcceptRole)
    stop = box.addButton(_("Stop and save"), qt.QMessageBox.DestructiveRole)
    cancel = box.addButton(_("Do not close Slicer"), qt.QMessageBox.RejectRole)
    box.setDefaultButton(keep)
    box.setEscapeButton(cancel)
    box.exec_()
    clicked = box.clickedButton()
    box.deleteLater()
    if clicked == keep:
        return KEEP_RUNNING
    return STOP_AND_SAVE if clicked == stop else DO_NOT_CLOSE
