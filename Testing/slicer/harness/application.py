"""`slicer.app`: a real QApplication with the methods of qSlicerApplication that modules call."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def makeApplication(qt: ModuleType, temporaryFolder: Path) -> Any:
    """Make the one application object of this process.

    Args:
        qt: the `qt` module of the harness.
        temporaryFolder: where settings and temporary files go.

    Returns: an object that answers as `slicer.app`.
    """
    temporary, home = temporaryFolder / "temporary", temporaryFolder / "home"
    for folder in (temporary, home):
        folder.mkdir(parents=True, exist_ok=True)

    def constant(kind: type, value: Any) -> Any:
        return qt.Property(kind, lambda application: value)

    class qSlicerApplication(qt.QApplication):
        startupCompleted = qt.Signal()
        mrmlSceneChanged = qt.Signal(object)

        temporaryPath = constant(str, str(temporary))
        slicerHome = constant(str, str(home))
        applicationVersion = constant(str, "5.12.3")
        mainApplicationVersion = constant(str, "5.12.3")
        mainApplicationName = constant(str, "Slicer")
        majorVersion, minorVersion = constant(int, 5), constant(int, 12)
        revision = repositoryRevision = constant(str, "34000")
        os, arch, platform = constant(str, sys.platform), constant(str, "amd64"), constant(str, "harness")
        documentationBaseUrl = constant(str, "https://slicer.readthedocs.io/en/latest/")

        def __init__(self) -> None:
            super().__init__(["Slicer"])
            self._parts: dict[str, Any] = {}
            self._translator: Any = None
            self._pausedRenders = 0

        def testingEnabled(self) -> bool:
            return True

        def commandOptions(self) -> SimpleNamespace:
            return SimpleNamespace(testingEnabled=True, noMainWindow=False, runPythonAndExit=False)

        def translate(self, context: str, text: str) -> str:
            return self._translator(context, text) if self._translator else text

        def startupEnvironment(self) -> Any:
            return qt.QProcessEnvironment.systemEnvironment()

        def userSettings(self) -> Any:
            return qt.QSettings()

        def settings(self) -> Any:
            return qt.QSettings()

        def revisionUserSettings(self) -> Any:
            return qt.QSettings()

        def coreIOManager(self) -> Any:
            return self._parts["ioManager"]

        def ioManager(self) -> Any:
            return self._parts["ioManager"]

        def layoutManager(self) -> Any:
            return self._parts["layoutManager"]

        def moduleManager(self) -> Any:
            return self._parts["moduleManager"]

        def applicationLogic(self) -> Any:
            return self._parts["applicationLogic"]

        def mrmlScene(self) -> Any:
            return self._parts["scene"]

        def pauseRender(self) -> None:
            self._pausedRenders += 1

        def resumeRender(self) -> None:
            self._pausedRenders -= 1

        def isRenderPaused(self) -> bool:
            return self._pausedRenders > 0

        def moduleDocumentationUrl(self, name: str) -> str:
            return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    for scope in (qt.QSettings.UserScope, qt.QSettings.SystemScope):
        qt.QSettings.setPath(qt.QSettings.IniFormat, scope, str(temporaryFolder / "settings"))
    qt.QCoreApplication.setOrganizationName("SlicerHarness")
    qt.QCoreApplication.setApplicationName("Slicer")
    application = qSlicerApplication()
    application.setStyle("Fusion")
    return application
