"""Installs what the engine needs into Slicer's own Python, without replacing what Slicer came with."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from subprocess import CalledProcessError
from types import ModuleType

import slicer
from slicer.i18n import tr as _

from TopoMAELib.check_interpreter import missingRequirements, readRequirements, requirementName
from TopoMAELib.exchange import Exchange
from TopoMAELib.interpreter import REQUIREMENTS, Interpreter, checkInterpreter, findInterpreter, howToInstall

# Slicer came with these and other modules rely on them: pip may not replace them.
PROTECTED = ("numpy", "scipy", "SimpleITK", "requests", "packaging", "pydicom")

REQUESTER = "TopoMAE"


class InstallError(RuntimeError):
    """Packages could not be installed; the message says why and what to do."""


class DependencyInstaller:
    """Finds and installs the packages of the engine.

    Args:
        interpreter: where they are needed; by default the one that is in use when a method is called.
        requirements: requirements such as `monai>=1.5`; by default those of the engine.
        makePyTorchLogic: makes the logic of the PyTorch extension; raises ModuleNotFoundError without the extension.
        packaging: module with `pip_ensure`; by default `slicer.packaging`, which Slicer has since 5.12.
        onInstalled: called after packages were installed; by default ends the worker, which has none of them loaded.
    """

    def __init__(
        self,
        interpreter: Interpreter | None = None,
        requirements: Iterable[str] | None = None,
        makePyTorchLogic: Callable[[], object] | None = None,
        packaging: ModuleType | None = None,
        onInstalled: Callable[[], None] | None = None,
    ) -> None:
        self._interpreter = interpreter
        self._requirements = list(requirements if requirements is not None else readRequirements(REQUIREMENTS))
        self._makePyTorchLogic = makePyTorchLogic or _pyTorchLogic
        self._packaging = packaging or _slicerPackaging()
        self._onInstalled = onInstalled or _stopWorker

    def missing(self) -> list[str]:
        """Requirements that are not met in the interpreter. In Slicer's own Python nothing is run or imported."""
        interpreter = self._interpreter or findInterpreter()
        if interpreter.isSlicers:
            importlib.invalidate_caches()
            return missingRequirements(self._requirements)
        return checkInterpreter(interpreter).missing

    def install(self, confirm: Callable[[str], bool] | None = None) -> bool:
        """Install what is missing into Slicer's own Python. Takes minutes.

        Args:
            confirm: asks the user a question; by default a dialog.

        Returns: whether everything is there now; False if the user did not want it.

        Raises:
            InstallError: it did not work, or another interpreter is in use.
        """
        interpreter = self._interpreter or findInterpreter()
        if not interpreter.isSlicers:
            raise InstallError(
                _(
                    "Packages are installed here only into Slicer's own Python, but another one is in use. {what}"
                ).format(what=howToInstall(interpreter))
            )
        missing = self.missing()
        if not missing:
            return True
        _refuseImpossible(missing)
        if not (confirm or slicer.util.confirmOkCancelDisplay)(_question(missing)):
            return False
        try:
            torch = [one for one in missing if requirementName(one) == "torch"]
            if torch and not self._installTorch(torch[0]):
                return False
            self._installWithPip([one for one in missing if one not in torch])
        finally:
            self._onInstalled()
        missing = self.missing()
        if missing:
            raise InstallError(
                _("These packages are still missing: {packages}. See the Python console for what pip said.").format(
                    packages=", ".join(missing)
                )
            )
        return True

    def _installTorch(self, requirement: str) -> bool:
        """Through the PyTorch extension, which knows the build for the graphics card; False if the user declines."""
        try:
            logic = self._makePyTorchLogic()
        except ModuleNotFoundError as error:
            raise InstallError(
                _(
                    "PyTorch is installed by the extension PyTorch, which is missing. Open the Extensions Manager, "
                    'install "PyTorch", restart Slicer and press Install again.'
                )
            ) from error
        try:
            module = logic.installTorch(
                askConfirmation=True, torchVersionRequirement=requirement.removeprefix(requirementName(requirement))
            )
        except Exception as error:  # whatever pip, the network or the new torch raises
            raise InstallError(
                _("PyTorch could not be installed: {reason}. See the Python console for what pip said.").format(
                    reason=_reason(error)
                )
            ) from error
        return module is not None

    def _installWithPip(self, requirements: list[str]) -> None:
        if not requirements:
            return
        with Exchange() as exchange:
            constraints = exchange.folder / "constraints.txt"
            constraints.write_text("\n".join(constraintLines()) + "\n", encoding="utf-8")
            try:
                if self._packaging is not None:
                    self._packaging.pip_ensure(
                        requirements, constraints=constraints, prompt_install=False, requester=REQUESTER
                    )
                else:
                    slicer.util.pip_install(["--constraint", str(constraints), *requirements])
            except (CalledProcessError, RuntimeError, OSError) as error:
                raise InstallError(
                    _(
                        "Packages could not be installed: {reason}. The Python console shows what pip said. If pip "
                        "found no versions that fit Slicer's own packages, use another Python interpreter."
                    ).format(reason=_reason(error))
                ) from error


def constraintLines(packages: Iterable[str] = PROTECTED) -> list[str]:
    """Lines of a constraints file that hold packages at the versions they have in this Python.

    Args:
        packages: their names; those that are not installed are left out.
    """
    lines = []
    for name in packages:
        try:
            lines.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return lines


def _refuseImpossible(missing: Iterable[str]) -> None:
    """Say so before minutes of download where it cannot work."""
    names = {requirementName(one): one for one in missing}
    for line in constraintLines(name for name in PROTECTED if name in names):
        name, version = line.split("==")
        raise InstallError(
            _(
                "This Slicer comes with {name} {version}, but {wanted} is needed. Use a newer Slicer, or another "
                "Python interpreter."
            ).format(name=name, version=version, wanted=names[name])
        )
    if "torch" in names and platform.system() == "Darwin" and platform.machine() == "x86_64":
        raise InstallError(
            _(
                "For Slicer's own Python on this Mac (x86_64) there is no PyTorch as new as {wanted}. Use another "
                "Python interpreter, made for Apple silicon."
            ).format(wanted=names["torch"].removeprefix("torch>="))
        )


def _question(missing: list[str]) -> str:
    return _(
        "These Python packages are downloaded and installed into Slicer's own Python:\n\n{packages}\n\n"
        "With PyTorch this takes some minutes and up to several gigabytes. Go on?"
    ).format(packages="\n".join(missing))


def _reason(error: Exception) -> str:
    if isinstance(error, CalledProcessError):
        return _("pip ended with exit code {code}").format(code=error.returncode)
    return (str(error) or type(error).__name__).rstrip(".")


def _pyTorchLogic() -> object:
    from PyTorchUtils import PyTorchUtilsLogic

    return PyTorchUtilsLogic()


def _slicerPackaging() -> ModuleType | None:
    try:
        return importlib.import_module("slicer.packaging")
    except ModuleNotFoundError:
        return None


def _stopWorker() -> None:
    from TopoMAELib.worker_client import stopSharedWorker

    stopSharedWorker()
