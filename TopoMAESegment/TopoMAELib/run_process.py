"""Starting, stopping and following a training that goes on when Slicer is closed.

The process is detached from Slicer and writes into its run folder; Slicer only reads there. So a run that an
earlier Slicer started, or a person on a command line, is followed in the same way as one just started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from slicer.i18n import tr as _

from TopoMAELib.harmless import linkLeadingOut
from TopoMAELib.process_owners import ProcessOwner
from TopoMAELib.processes import NEUTRAL_FOLDER
from TopoMAELib.run_failure import RunFailure
from TopoMAELib.run_folder import DONE, RUNNING, NotARun, RunFolder
from TopoMAELib.run_records import DriverSeat, LaunchRecord
from TopoMAELib.waiting import Waiting

TERMINATE_AFTER = 60.0  # seconds from the wish to stop to SIGTERM; a step of a large network takes a while
KILL_AFTER = 600.0  # seconds to the kill; what is lost is done again when the run is resumed


class RunInUse(RuntimeError):
    """Somebody else works on the run, or drives it."""


class RunFailed(RuntimeError):
    """The training ended badly; `failure` tells why."""

    def __init__(self, failure: RunFailure):
        self.failure = failure
        super().__init__(str(failure))


class RunProcess:
    """A training, whoever started it.

    Args:
        runFolder: its folder.
        popen: the process, if this Slicer started it.
        clock: seconds, for tests.

    Attributes:
        runFolder: reads the folder.
        exitCode: of the process; None while it runs, and if another Slicer (or a person) started it.
        readOnly: the other Slicer process that drives the run, which can then only be watched here; or None.
    """

    def __init__(
        self,
        runFolder: RunFolder,
        popen: subprocess.Popen | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.runFolder = runFolder
        self.exitCode: int | None = None
        self.readOnly: ProcessOwner | None = None
        self._popen = popen
        self._ran = False
        self._clock = clock
        self._seat = DriverSeat(runFolder.path)
        self._stopAsked: float | None = None
        if self.running:
            self.takeSeat()

    def takeSeat(self) -> bool:
        """Become the Slicer that drives this run if no other does; tells whether it is."""
        try:
            self.readOnly = self._seat.take()
        except OSError as error:  # a folder one may only read: watching works
            logging.info(f"TopoMAE: cannot drive the run {self.runFolder.path}: {error}")
            self.readOnly = self.runFolder.driver or ProcessOwner(0, "", "")
        return self.readOnly is None

    def leaveSeat(self) -> None:
        """Stop driving; the run goes on. Nobody sits in the seat of a run that does not run."""
        self._seat.leave()
        self.readOnly = None

    @property
    def running(self) -> bool:
        """Whether the training is still going on. When it has ended the exit code is noted and the seat left."""
        if self._popen is not None and self.exitCode is None:
            self.exitCode = self._popen.poll()
            if self.exitCode is not None and self.exitCode != 0:
                logging.warning(f"TopoMAE: the run {self.runFolder.path} ended with exit code {self.exitCode}")
        running = self.runFolder.state() == RUNNING
        if self._ran and not running:
            self.leaveSeat()
        self._ran = running
        return running

    @property
    def stopping(self) -> bool:
        """Whether this Slicer asked the training to stop, and it still runs."""
        return self._stopAsked is not None

    def state(self) -> str:
        """State of the run folder, see `RunFolder.state`."""
        return RUNNING if self.running else self.runFolder.state()

    def failure(self) -> RunFailure | None:
        """Why the training ended badly; None if it runs, was stopped or is done."""
        if self.running:
            return None
        found = self.runFolder.lastError(self.exitCode)
        if found is None and self.exitCode and self.runFolder.state() != DONE and not self._stopAsked:
            return RunFailure(_("the training ended with exit code {code}").format(code=self.exitCode))
        return found

    def stop(self) -> None:
        """Ask the training to save a checkpoint and end. Call `hurry` now and then if it should not take forever.

        Raises:
            RunInUse: another Slicer drives the run.
            OSError: the run folder cannot be written to.
        """
        self._mustDrive()
        if self.running:
            (self.runFolder.path / "stop").touch()
            if self._stopAsked is None:
                self._stopAsked = self._clock()

    def hurry(self) -> None:
        """Be more insistent if a wish to stop has not been followed: SIGTERM after a minute, in the end kill."""
        if self._stopAsked is None:
            return
        if not self.running:
            self._stopAsked = None
            return
        waited = self._clock() - self._stopAsked
        if waited >= KILL_AFTER:
            self.kill()
        elif waited >= TERMINATE_AFTER and os.name != "nt":  # on Windows SIGTERM kills: no milder than `kill`
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the training at once; the steps since the last checkpoint are lost.

        Raises:
            RunInUse: another Slicer drives the run, or it runs on another machine.
        """
        self._mustDrive()
        owner = self.runFolder.owner
        if owner is not None and not owner.here:
            raise RunInUse(_("The training runs on {host}. Stop it there.").format(host=owner.host))
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def wait(self, seconds: float | None = None, onPoll: Callable[[], None] | None = None) -> RunProcess:
        """Wait for the end of the training while Slicer stays usable.

        Args:
            seconds: at most so long; None for as long as it takes.
            onPoll: called about five times a second.
        Raises:
            TimeoutError: it takes longer. It goes on.
            RunFailed: it ended badly.
            ApplicationClosed: the user has closed Slicer. It goes on.
        """
        deadline = None if seconds is None else self._clock() + seconds
        waiting = Waiting()
        while self.running:
            if deadline is not None and self._clock() > deadline:
                raise TimeoutError(_("The training takes longer than {seconds} s.").format(seconds=seconds))
            waiting.processEvents()
            self.hurry()
            if onPoll is not None:
                onPoll()
            time.sleep(0.2)
        if onPoll is not None:
            onPoll()
        failure = self.failure()
        if failure is not None:
            raise RunFailed(failure)
        return self

    def _mustDrive(self) -> None:
        if not self.takeSeat():
            raise RunInUse(drivenElsewhere(self.readOnly))

    def _signal(self, number: int) -> None:
        """To the process named in the engine's lock; the one that was started may be a mere launcher of it."""
        owner, launch = self.runFolder.owner, self.runFolder.launch
        if owner is None and launch is not None and launch.alive:
            owner = launch.process
        if owner is not None and owner.here and self._isCertain(owner):
            with contextlib.suppress(ProcessLookupError):
                os.kill(owner.pid, number)

    def _isCertain(self, owner: ProcessOwner) -> bool:
        """Whether a process is the one that works on the run, whatever a folder copied from elsewhere may say."""
        return bool(owner.started) or (self._popen is not None and self._popen.pid == owner.pid)


def startRun(command: Sequence[str], runFolder: str | Path, interpreter: object) -> RunProcess:
    """Start a training in the background, or go on with one that was stopped, failed or was interrupted.

    Args:
        command: kind and options of `topomae`, such as `["pretrain", "--data", folder]`; without `--run` and
            `--events`.
        runFolder: made if need be. What the process prints is added to `console.log` there.
        interpreter: the `Interpreter` to run.
    Raises:
        RunInUse: a process works on the folder, or another Slicer drives the run.
        NotARun: the folder holds other files and no run; nothing was written there.
        OSError: the folder cannot be written to, or the interpreter cannot be started.
    """
    folder = RunFolder(runFolder)
    kind, *arguments = (str(part) for part in command)
    _mustBeFree(folder)
    _mustBeContained(folder)
    fresh = not folder.path.exists()
    folder.path.mkdir(parents=True, exist_ok=True)
    process = RunProcess(folder)
    try:
        process._mustDrive()
        (folder.path / "stop").unlink(missing_ok=True)  # asked an earlier process, which was killed
        process._popen = _launch(kind, arguments, folder, interpreter)
    except BaseException:
        process.leaveSeat()
        if fresh:
            _removeUnused(folder.path)
        raise
    return process


def drivenElsewhere(driver: ProcessOwner) -> str:
    """Words for the user about a run that another Slicer drives."""
    if not driver.pid:
        return _("The run folder cannot be written to, so the run can only be watched.")
    where = _("process {pid}").format(pid=driver.pid)
    if not driver.here:
        where = _("process {pid} on {host}").format(pid=driver.pid, host=driver.host)
    return _("Another Slicer ({process}) drives this run. Here it can only be watched.").format(process=where)


def _mustBeFree(folder: RunFolder) -> None:
    owner = folder.owner
    if owner is not None:
        where = "" if owner.here else _(" on {host}").format(host=owner.host)
        raise RunInUse(
            _("The run {name} is being trained already (process {pid}{where}). Attach to it instead.").format(
                name=folder.name, pid=owner.pid, where=where
            )
        )
    if folder.path.is_dir() and not (folder.path / "settings.json").exists():
        # What the engine allows in the folder of a new run; it would refuse the others, but only after Slicer wrote.
        allowed = re.compile(r"lock.*|stop|plan\.json|.*\.log|\..*")
        strange = sorted(path.name for path in folder.path.iterdir() if not allowed.fullmatch(path.name))
        if strange:
            text = _("{path} holds other files, such as {name}, and no run. Choose a new or empty folder.")
            raise NotARun(text.format(path=folder.path, name=strange[0]))
    if folder.state() == RUNNING:
        raise RunInUse(_("The run {name} is just being started. Attach to it instead.").format(name=folder.name))


def _mustBeContained(folder: RunFolder) -> None:
    """A run folder may come from elsewhere; what is a link there, such as a log, must not have us write elsewhere."""
    name = linkLeadingOut(folder.path)
    if name:
        text = _("{name} in the run folder {path} leads out of it; put what it leads to in its place.")
        raise NotARun(text.format(name=name, path=folder.path))


def _launch(kind: str, arguments: list[str], folder: RunFolder, interpreter: object) -> subprocess.Popen:
    """Start the process, detached from Slicer, and note how."""
    console = folder.path / "console.log"
    before = console.stat().st_size if console.exists() else 0
    record = LaunchRecord.now(kind, arguments, before)
    program = [str(interpreter.executable), "-m", "topomae", kind, "--run", str(folder.path), *arguments]
    detached = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        if os.name == "nt"
        else {"start_new_session": True}
    )
    with open(console, "ab") as output:
        popen = subprocess.Popen(
            [*program, "--events", "json"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(interpreter.environment),
            # Not where Slicer was started, nor the run folder: "-m" imports from there first.
            cwd=str(interpreter.source) or NEUTRAL_FOLDER,
            **detached,
        )
    record.withProcess(popen.pid).save(folder.path)
    return popen


def _removeUnused(folder: Path) -> None:
    """Remove the folder of a run that could not be started, if nothing was written there."""
    with contextlib.suppress(OSError):
        console = folder / "console.log"
        if console.exists() and console.stat().st_size == 0:
            console.unlink()
        folder.rmdir()
