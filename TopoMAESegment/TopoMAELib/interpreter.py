"""Which Python runs the engine: Slicer's own, or one that the user names."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from TopoMAELib.processes import Process

VARIABLE = "TOPOMAE_PYTHON"
SETTING = "TopoMAE/Python"

# How an interpreter was found.
FROM_VARIABLE, FROM_SETTING, FROM_SLICER = "variable", "setting", "Slicer"

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "TopoMAERequirements.txt"

# Slicer's own values of these would make another Python load Slicer's libraries.
_PATH_LISTS = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_PLAIN_OUTPUT = {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Interpreter:
    """A Python and how it is started.

    Args:
        executable: path of the program.
        source: folder that holds the engine (`topomae`), also the working folder of its processes; "" if the engine
            is expected to be installed in the interpreter.
        environment: all environment variables of its processes; other modules may change those of Slicer meanwhile,
            which makes it no other interpreter.
        origin: how it was found: FROM_VARIABLE, FROM_SETTING or FROM_SLICER.
    """

    executable: str
    source: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    origin: str = FROM_SLICER

    @property
    def isSlicers(self) -> bool:
        """Whether it is Slicer's own Python, in which the modules can install packages."""
        return self.origin == FROM_SLICER


@dataclass(frozen=True)
class InterpreterCheck:
    """What `checkInterpreter` has found.

    Args:
        ok: whether the engine can run.
        message: one or two sentences for the user.
        missing: requirements that are not met, such as `monai>=1.5`.
        pythonVersion, torchVersion: "" if unknown.
        device: name of the graphics card, "CPU", or "" if unknown.
    """

    ok: bool
    message: str
    missing: list[str] = field(default_factory=list)
    pythonVersion: str = ""
    torchVersion: str = ""
    device: str = ""


def findInterpreter() -> Interpreter:
    """The Python to use: that of the environment variable, else that of the settings, else Slicer's own.

    Whether it exists and works is not looked at; see `checkInterpreter`.
    """
    for named, origin in ((os.environ.get(VARIABLE, ""), FROM_VARIABLE), (savedInterpreter(), FROM_SETTING)):
        if named.strip():
            return makeInterpreter(named.strip(), origin)
    return _slicersOwn()


def makeInterpreter(path: str | Path, origin: str = FROM_SETTING) -> Interpreter:
    """An interpreter at a given place.

    Args:
        path: the program, or the folder of a virtual environment.
        origin: how it was found.
    """
    source = engineFolder()
    return Interpreter(_programIn(os.path.expanduser(str(path))), source, environmentOf(source), origin)


def _slicersOwn() -> Interpreter:
    """Slicer's own Python: started by its launcher, but under Windows, where that hands on no standard input.

    The variables that the launcher would set are there already: Slicer itself was started with them.
    """
    launcher = Path(shutil.which("PythonSlicer") or sys.executable)
    program = launcher.with_name("python-real.exe")
    if sys.platform != "win32" or not program.is_file():
        return makeInterpreter(launcher, FROM_SLICER)
    source = engineFolder()
    paths = [path for path in (source, os.environ.get("PYTHONPATH", "")) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **_PLAIN_OUTPUT}
    return Interpreter(str(program), source, environment, FROM_SLICER)


def savedInterpreter() -> str:
    """Path of the interpreter in the application's settings; "" if there is none."""
    return str(slicer.app.userSettings().value(SETTING, "") or "")


def saveInterpreter(path: str) -> None:
    """Remember an interpreter in the application's settings; "" for Slicer's own."""
    slicer.app.userSettings().setValue(SETTING, path)


def engineFolder() -> str:
    """Folder that holds the package `topomae`: that of the installed modules, or the root of the source tree."""
    for folder in Path(__file__).resolve().parents[1:3]:
        if (folder / "topomae" / "__main__.py").is_file():
            return str(folder)
    return ""


def environmentOf(source: str) -> dict[str, str]:
    """Environment variables for processes of the engine; those of Slicer's process stay as they are.

    Args:
        source: folder that holds the engine.

    Returns: what Slicer was started with, without what makes a Python load Slicer's libraries. Slicer's own Python
        is started by a launcher that adds them again.
    """
    environment = dict(slicer.util.startupEnvironment())
    home = str(slicer.app.slicerHome or os.devnull)
    for name in _PATH_LISTS:
        if name in environment:
            kept = [part for part in environment[name].split(os.pathsep) if part and not _isUnder(part, home)]
            environment[name] = os.pathsep.join(kept)
            if not kept:
                del environment[name]
    for name in ("PYTHONHOME", "PYTHONPATH"):
        environment.pop(name, None)
    if source:
        environment["PYTHONPATH"] = source
    environment.update(_PLAIN_OUTPUT)
    return environment


def checkInterpreter(interpreter: Interpreter, seconds: float = 120.0) -> InterpreterCheck:
    """Run a small script in an interpreter to see whether the engine can run there.

    The application stays alive meanwhile; importing torch can take half a minute the first time.

    Args:
        interpreter: the interpreter.
        seconds: give up after this long.
    """
    answers, log = [], []
    process = Process(answers.append, log.append)
    script = Path(__file__).resolve().with_name("check_interpreter.py")
    process.start(interpreter.executable, [str(script), str(REQUIREMENTS)], interpreter.environment)
    if not process.wait(seconds):
        process.kill()
        return InterpreterCheck(
            False,
            _("{program} did not answer within {n} seconds.").format(program=interpreter.executable, n=round(seconds)),
        )
    end = process.end
    if end.startError:
        return InterpreterCheck(
            False,
            _("{program} could not be started: {reason}. Name a Python interpreter that exists.").format(
                program=interpreter.executable, reason=end.startError.rstrip(".")
            ),
        )
    for line in reversed(answers):
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict) and "missing" in answer:
            return _judged(interpreter, answer)
    lastWords = next((line.strip() for line in reversed(log) if line.strip()), "")
    return InterpreterCheck(
        False,
        _("{program} does not work as a Python interpreter (exit code {code}). {words}")
        .format(program=interpreter.executable, code=end.exitCode, words=lastWords)
        .rstrip(),
    )


def _judged(interpreter: Interpreter, answer: dict) -> InterpreterCheck:
    """The answer of the script in words; the first thing that is wrong is told."""
    found = (answer["missing"], answer["python"], answer["torch"] or "", answer["device"] or "")
    program = interpreter.executable
    if not answer["pythonFits"]:
        message = _("{program} is Python {version}; Python 3.10 to 3.13 is needed.").format(
            program=program, version=answer["python"]
        )
    elif answer["missing"]:
        message = _("Missing in Python {version}: {packages}. {what}").format(
            version=answer["python"], packages=", ".join(answer["missing"]), what=howToInstall(interpreter)
        )
    elif answer["torchError"]:
        message = _("PyTorch is installed but does not work: {reason}. Install it anew.").format(
            reason=answer["torchError"]
        )
    elif not answer["engine"]:
        message = _('{program} cannot find the engine (the folder "topomae"). Install the extension anew.').format(
            program=program
        )
    else:
        message = _("Ready: Python {version}, PyTorch {torch}, {device}.").format(
            version=answer["python"], torch=answer["torch"], device=answer["device"]
        )
        return InterpreterCheck(True, message, *found)
    return InterpreterCheck(False, message, *found)


def howToInstall(interpreter: Interpreter) -> str:
    """What the user has to do for packages that are missing in an interpreter; one sentence."""
    if interpreter.isSlicers:
        return _("Press the button Install.")
    return _('Install them there: "{program}" -m pip install -r "{file}"').format(
        program=interpreter.executable, file=REQUIREMENTS
    )


def _programIn(path: str) -> str:
    """The Python of a virtual environment, if its folder was named, else the path itself."""
    if os.path.isdir(path):
        for inside in ("bin/python", "Scripts/python.exe", "python.exe"):
            program = os.path.join(path, *inside.split("/"))
            if os.path.isfile(program):
                return program
    return path


def _isUnder(path: str, folder: str) -> bool:
    path, folder = (os.path.normcase(os.path.abspath(one)) for one in (path, folder))
    return path == folder or path.startswith(folder + os.sep)
