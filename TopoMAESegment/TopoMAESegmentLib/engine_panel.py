"""Whether the engine can run; if not, what is missing and what to do: install it, or use another Python."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib import interpreter as interpreters


class EnginePanel:
    """Checks the interpreter once, in the background; its frame is seen only when something is missing."""

    def __init__(
        self,
        ui: SimpleNamespace,
        onChecked: Callable[[str], None],
        onChanged: Callable[[], None],
        check: Callable | None = None,
        install: Callable | None = None,
        choosePython: Callable[[], str] | None = None,
    ):
        """Hide the frame; nothing is checked yet.

        Args:
            ui: widgets of TopoMAESegment.ui by name.
            onChecked: told why the engine cannot run, in a sentence; an empty text if it can.
            onChanged: told that another interpreter is to be used from now on.
            check: gives an `InterpreterCheck` for an `Interpreter`.
            install: installs what is missing into Slicer's own Python; raises RuntimeError with a sentence.
            choosePython: asks the user for a Python program; returns an empty text if none.
        """
        self._ui, self._onChecked, self._onChanged = ui, onChecked, onChanged
        self._check = check or interpreters.checkInterpreter
        self._install, self._choosePython = install or _install, choosePython or _askForPython
        self._isChecked = self._isChecking = False
        ui.engineFrame.setVisible(False)
        ui.installButton.clicked.connect(self._onInstall)
        ui.interpreterButton.clicked.connect(self._onChoose)
        ui.changePythonButton.clicked.connect(self._onChoose)
        ui.ownPythonButton.clicked.connect(self._onOwn)

    def checkOnce(self) -> None:
        """Check soon, unless the last check found everything in order."""
        if not self._isChecked and not self._isChecking:
            self._ui.pythonStateLabel.setText(_("Being checked…"))
            qt.QTimer.singleShot(0, self.check)

    def check(self) -> None:
        """Check now; the application stays alive meanwhile."""
        if self._isChecking or self._ui is None:
            return
        self._isChecking = True
        try:
            interpreter = interpreters.findInterpreter()
            found = self._check(interpreter)
        finally:
            self._isChecking = False
        if self._ui is None:  # the panel went away while the check ran
            return
        self._isChecked = found.ok
        self._ui.pythonStateLabel.setText(found.message if found.ok else _("Not ready; see the top of the panel."))
        self._ui.engineLabel.setText(found.message)
        self._ui.engineFrame.setVisible(not found.ok)
        self._ui.installButton.setVisible(interpreter.isSlicers)
        self._ui.ownPythonButton.setVisible(interpreter.origin == interpreters.FROM_SETTING)
        self._onChecked("" if found.ok else found.message)

    def cleanup(self) -> None:
        """The widgets go away."""
        self._ui = None

    def _onInstall(self, *_arguments: object) -> None:
        self._ui.installButton.setEnabled(False)
        try:
            self._install()
        except RuntimeError as error:
            self._ui.engineLabel.setText(str(error))
            return
        finally:
            self._ui.installButton.setEnabled(True)
        self.check()

    def _onChoose(self, *_arguments: object) -> None:
        program = self._choosePython()
        if program:
            self._use(program)

    def _onOwn(self, *_arguments: object) -> None:
        self._use("")

    def _use(self, program: str) -> None:
        interpreters.saveInterpreter(program)
        self._isChecked = False
        self._onChanged()
        self.check()


def _install() -> None:
    from TopoMAELib.dependencies import DependencyInstaller

    DependencyInstaller().install()


def _askForPython() -> str:
    dialog = qt.QFileDialog(slicer.util.mainWindow(), _("Python program"))
    dialog.setFileMode(qt.QFileDialog.ExistingFile)
    # The Python of a virtual environment is a link; what it leads to does not know the environment's packages.
    dialog.setOption(qt.QFileDialog.DontResolveSymlinks, True)
    chosen = dialog.selectedFiles() if dialog.exec_() else []
    dialog.deleteLater()
    return chosen[0] if chosen else ""
