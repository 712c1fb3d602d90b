"""What can go wrong with the worker, in words for the user."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slicer.i18n import tr as _

from TopoMAELib.interpreter import FROM_SLICER, FROM_VARIABLE, VARIABLE, Interpreter, howToInstall
from TopoMAELib.processes import ProcessEnd, launcherSawACrash

_MISSING_MODULE = re.compile(r"No module named '?([\w.]+)'?")


class WorkerError(RuntimeError):
    """A request failed.

    Args:
        message: what happened; one sentence.
        hint: what the user can do; "" if there is nothing to say.
        kind: name of the engine's error class; "" if the worker itself failed.
    """

    def __init__(self, message: str, hint: str = "", kind: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message, self.hint, self.kind = message, hint, kind


class WorkerCancelled(RuntimeError):
    """A request was cancelled."""


def answeredError(answer: dict, interpreter: Interpreter) -> WorkerError:
    """The error that the worker reports for one request.

    Args:
        answer: with error (class), message and hint.
        interpreter: that of the worker.
    """
    kind, message = str(answer.get("error") or ""), str(answer.get("message") or "")
    hint = str(answer.get("hint") or "")
    if kind == "PackageError":  # the engine cannot know how packages are installed from here
        hint = howToInstall(interpreter)
    return WorkerError(message or _("The engine failed without a message ({kind}).").format(kind=kind), hint, kind)


def endedBeforeReady(end: ProcessEnd, interpreter: Interpreter, log: Sequence[str]) -> WorkerError:
    """Why a worker ended before it could take requests.

    Args:
        end: how it ended.
        interpreter: that of the worker.
        log: its last lines of stderr.
    """
    program = interpreter.executable
    if end.startError:
        return WorkerError(
            _("The Python interpreter {program} could not be started: {reason}.").format(
                program=program, reason=end.startError.rstrip(".")
            ),
            _chooseInterpreter(interpreter),
        )
    for line in reversed(log):
        missing = _MISSING_MODULE.search(line)
        if missing and missing.group(1).split(".")[0] == "topomae":
            return WorkerError(
                _('{program} cannot find the engine (the folder "topomae").').format(program=program),
                _("Install the extension TopoMAE anew."),
            )
        if missing:
            return _packageIsMissing(missing.group(1), interpreter)
    words, crashed = _lastWords(end, log)
    if crashed:
        message = _("The worker crashed while it started ({code}).").format(code=_exitCode(end))
    else:
        message = _("The worker ended while it started ({code}).").format(code=_exitCode(end))
    return WorkerError(f"{message} {words}".rstrip(), _chooseInterpreter(interpreter))


def endedAtWork(end: ProcessEnd, doing: str, log: Sequence[str]) -> WorkerError:
    """Why a worker ended with requests unanswered.

    Args:
        end: how it ended.
        doing: name of the request that it worked on.
        log: its last lines of stderr.
    """
    words, crashed = _lastWords(end, log)
    if crashed:
        message = _('The worker crashed at "{do}" ({code}).').format(do=doing, code=_exitCode(end))
        hint = _("Memory may have run out; otherwise try the device CPU. The next request starts a new worker.")
    else:
        message = _('The worker ended at "{do}" without an answer ({code}).').format(do=doing, code=_exitCode(end))
        hint = _("The next request starts a new worker.")
    return WorkerError(f"{message} {words}".rstrip(), hint)


def answeredNonsense(line: str) -> WorkerError:
    """The worker wrote something that is no answer.

    Args:
        line: what it wrote.
    """
    shown = line[:80] + ("…" if len(line) > 80 else "")
    return WorkerError(
        _("The worker answered with something that is no answer: {line}").format(line=shown),
        _("It was ended; the next request starts a new one. If this comes back, install the extension anew."),
    )


def otherProtocol(protocol: object, wanted: int, interpreter: Interpreter) -> WorkerError:
    """The engine is of another version than the modules."""
    return WorkerError(
        _("The engine that {program} finds does not fit these modules (protocol {found}, not {wanted}).").format(
            program=interpreter.executable, found=protocol, wanted=wanted
        ),
        _("Install the extension TopoMAE anew, and restart Slicer."),
    )


def notReadyInTime(seconds: float, interpreter: Interpreter, log: Sequence[str]) -> WorkerError:
    """The worker did not say that it is ready."""
    message = _("The worker did not start within {n} seconds.").format(n=round(seconds))
    words = next((line.strip() for line in reversed(log) if line.strip()), "")
    return WorkerError(f"{message} {words}".rstrip(), _chooseInterpreter(interpreter))


def _packageIsMissing(module: str, interpreter: Interpreter) -> WorkerError:
    return WorkerError(
        _('The Python package "{name}" is missing in {program}.').format(
            name=module.split(".")[0], program=interpreter.executable
        ),
        howToInstall(interpreter),
    )


def _chooseInterpreter(interpreter: Interpreter) -> str:
    if interpreter.origin == FROM_VARIABLE:
        return _("Change the environment variable {name}, or remove it.").format(name=VARIABLE)
    if interpreter.origin == FROM_SLICER:
        return _("See the log, or choose another Python interpreter.")
    return _("Choose another Python interpreter, or none for Slicer's own.")


def _lastWords(end: ProcessEnd, log: Sequence[str]) -> tuple[str, bool]:
    """The last line of stderr as an addition to a sentence, and whether the worker crashed."""
    lines = [line.strip() for line in log if line.strip()]
    said = [line for line in lines if not launcherSawACrash(line)]
    crashed = end.crashed or (bool(lines) and launcherSawACrash(lines[-1]))
    return (_("Its last words: {line}").format(line=said[-1]) if said else ""), crashed


def _exitCode(end: ProcessEnd) -> str:
    if end.crashed and 0 < end.exitCode < 65:  # elsewhere than on Windows, the signal that ended it
        return _("signal {n}").format(n=end.exitCode)
    return _("exit code {n}").format(n=end.exitCode)
