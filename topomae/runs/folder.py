"""A run folder: settings, events, curves, checkpoints; one writer at a time; resumes after any kill."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack, suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from topomae.errors import RunError
from topomae.events import Events, JsonLines, to_plain
from topomae.files import (
    drop_torn_line,
    refuse_long_path,
    remove_leftovers,
    told_as_run_error,
    write_json_atomic,
    write_text_atomic,
)
from topomae.parallel.distributed import Stopping, from_main, is_main, largest
from topomae.runs.checkpoints import Checkpoints
from topomae.runs.curves import Curves
from topomae.runs.links import check_contained
from topomae.runs.locks import Lock
from topomae.runs.random_state import rng_state, set_rng_state
from topomae.runs.stopping import StopRequest

__all__ = ["Run", "RunSettings", "RunStatus", "finished", "rng_state", "run_status", "set_rng_state"]

# What may lie in a folder before its first run: an edited plan, a log redirected there, what a start that
# was killed at once left behind.
_ALLOWED_BEFORE = ("lock*", "stop", "plan.json", "*.log", ".*")
_ROOM = 100  # characters that the path of a file may have below the folder: a prepared volume with a long case name


class RunSettings(BaseModel):
    """`settings.json`: what decides the results of a run."""

    format: Literal[1] = 1
    kind: str
    settings: dict[str, Any]


class RunStatus(BaseModel):
    """`status.json`: how far a run is. A run that was killed still says `running`, but holds no lock."""

    status: Literal["running", "ok", "stopped", "failed"]
    step: int = 0
    time: datetime


class Run:
    """One training run and its folder. Use `with Run.open(...) as run:`; it must not be shared by processes.

    Where several processes train together, the main one has the run, and the others have a `FollowedRun`.

    Attributes:
        folder: the run folder.
        events: hands events to the user and to `events.jsonl`.
        resuming: whether an earlier process worked on this run.
    """

    def __init__(self, folder: Path, events: Events, lock: Lock, *, resuming: bool, tensorboard: bool):
        self.folder = folder
        self.events = events
        self.resuming = resuming
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self._lock = lock
        before = run_status(folder)
        self._step = before.step if before else 0
        with ExitStack() as opened:
            opened.callback(lock.release)
            self._curves = Curves(folder / "metrics.csv", folder / "tensorboard" if tensorboard else None)
            opened.callback(self._curves.close)
            self._log = _event_log(folder / "events.jsonl")
            events.add(self._log)
            opened.callback(events.remove, self._log)
            self._stop = StopRequest(folder / "stop")
            opened.callback(self._stop.close)
            self._write_status("running")
            self._opened = opened.pop_all()

    @classmethod
    def open(
        cls,
        folder: str | Path,
        kind: str,
        settings: dict[str, Any],
        events: Events | None = None,
        *,
        extend: bool = False,
        changeable: Collection[str] = (),
        tensorboard: bool = True,
        **about: Any,
    ) -> Run:
        """Create a run, or go on with one of the same kind and settings, and lock its folder.

        Args:
            folder: run folder; new, empty or holding such a run.
            kind: what is done, such as "pretrain" or "finetune".
            settings: everything that decides the results, as JSON-able values (nested dicts allowed).
            events: where to tell what happens; nowhere but `events.jsonl` by default.
            extend: go on even if the run has finished (with more steps, say).
            changeable: settings, as "name" or "group.name", that may differ when a run goes on.
            tensorboard: whether to write a TensorBoard log.
            about: further fields of the `start` event, such as device.

        Raises:
            RunError: the folder is in use, holds something else, or a run that is finished, of another
                kind or with other settings; or it cannot be written to.
        """
        folder = Path(folder).resolve()
        if not is_main():
            from topomae.runs.followed import FollowedRun

            return FollowedRun(folder, resuming=from_main(False))
        events = events or Events()
        if folder.exists() and not folder.is_dir():
            raise RunError("is a file, not a run folder", hint="Choose another folder.", path=folder)
        refuse_long_path(folder, _ROOM)
        with told_as_run_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
        check_contained(folder)
        lock = Lock(folder / "lock")
        try:
            for part in ("", "checkpoints", "previews", "model", "preprocessed"):
                remove_leftovers(folder / part)
            resuming = _check_folder(folder, kind, to_plain(settings), extend, changeable)
            run = cls(folder, events, lock, resuming=resuming, tensorboard=tensorboard)
        except BaseException:
            lock.release()
            raise
        try:
            events.start(kind=kind, folder=folder, resuming=resuming, **about)
            from_main(resuming)
        except BaseException as error:
            run.__exit__(type(error), error, error.__traceback__)
            raise
        return run

    def __enter__(self) -> Run:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        left = isinstance(error, (KeyboardInterrupt, Stopping))
        status = "stopped" if self._stop.honoured or left else "ok"
        mine = not self._lock.lost
        if not mine:  # what is told from here on is not about the other's run
            self.events.remove(self._log)
        if error is not None and not left:
            status = "failed"
            self.events.error(error)
        try:
            if error is None:
                self._lock.check()
            if mine:
                self._write_status(status)
        except RunError as problem:
            status = "failed"
            self.events.error(problem)
            if error is None:
                raise
        finally:
            self.events.emit("end", status=status, step=self._step)
            self._opened.close()

    @property
    def stopped(self) -> bool:
        """Whether the run was asked to stop and knows it."""
        return self._stop.honoured

    def path(self, *parts: str) -> Path:
        """A path in the run folder.

        Raises:
            RunError: it would lie outside.
        """
        path = self.folder.joinpath(*parts)
        if not path.resolve().is_relative_to(self.folder):
            raise RunError("would be written outside the run folder", path=path)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file (NaN becomes null); returns its path."""
        path = self.path(name)
        write_json_atomic(path, to_plain(value))
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file; returns its path."""
        path = self.path(name)
        write_text_atomic(path, text)
        return path

    def log_metrics(self, step: int, phase: str, values: dict[str, float]) -> None:
        """Log values of a step to `metrics.csv`, TensorBoard and the events. Log a step before saving it.

        Raises:
            RunError: another process took over the folder, or the disk is full.
        """
        plain = {name: float(value) for name, value in values.items()}
        self._lock.check()
        self._curves.append(step, phase, plain)
        self.events.emit("metric", step=step, phase=phase, values=plain)

    def save_checkpoint(self, state: dict[str, Any], name: str = "last", *, step: int) -> Path:
        """Save everything needed to go on after `step` ("last"), or a model to keep (any other name).

        If both are due at a step, save "last" last: it says that everything up to its step is done.

        Args:
            state: nested dicts and lists of tensors, numbers and text.
            name: "last", "best", or other lower-case letters.
            step: steps done.

        Raises:
            TypeError: `state` holds something that could not be loaded without pickle.
            RunError: another process took over the folder, or the disk is full.
        """
        self._lock.check()
        self._curves.flush()
        saved = self.checkpoints.save(state, name, step)
        if name == "last":
            self._step = step
            self._write_status("running")
        self.events.emit("checkpoint", name=name, path=saved.path, step=step)
        return saved.path

    def load_checkpoint(self, name: str = "last") -> dict[str, Any] | None:
        """The newest undamaged checkpoint, its tensors on the CPU; None if there is none.

        Loading "last" turns the whole folder back to its step (to nothing if there is none): later rows of
        `metrics.csv` and later checkpoints are dropped, since those steps are to be done again.

        Raises:
            RunError: there are "last" checkpoints, and all are damaged.
        """
        found = self.checkpoints.load(name, self.events.warning)
        if name != "last":  # asked for by the main process only
            return None if found is None else found[0]
        if found is None and self.checkpoints.damaged(name):
            hint = "Start again in another folder."
            raise RunError("all checkpoints of the run are damaged", hint=hint, path=self.checkpoints.folder)
        state, self._step = found or (None, 0)
        self._curves.rewind(self._step if found else -1)
        self.checkpoints.forget_after(self._step if found else -1)
        from_main(self.checkpoints.of(name)[0].path.name if found else None)
        return state

    def stop_requested(self) -> bool:
        """Whether to save a checkpoint and leave: a file `stop` lies in the folder, or a signal arrived.

        Of several processes each may give another answer at a time; see `everyone_stops`.
        """
        return self._stop()

    def everyone_stops(self) -> bool:
        """Whether any process was asked to stop: the same answer for all, which ask at the same step."""
        (asked,) = largest([self.stop_requested()])
        self._stop.honoured = self._stop.honoured or asked > 0
        return asked > 0

    def leave_if_asked(self) -> None:
        """To be called now and then where nothing would be lost by leaving at once.

        Raises:
            Stopping: the run was asked to stop.
        """
        if self.stop_requested():
            raise Stopping

    def _write_status(self, status: str) -> None:
        now = datetime.now(timezone.utc)
        text = RunStatus(status=status, step=self._step, time=now).model_dump_json(indent=2)
        write_text_atomic(self.folder / "status.json", text + "\n")


def run_status(folder: str | Path) -> RunStatus | None:
    """How far the run in a folder is, without locking it; None if no run was ever opened there."""
    with suppress(OSError, ValidationError):
        return RunStatus.model_validate_json((Path(folder) / "status.json").read_bytes())
    return None


def finished(folder: str | Path) -> bool:
    """Whether the run in a folder is done, so that opening it again would be refused."""
    status = run_status(folder)
    return status is not None and status.status == "ok"


def _event_log(file: Path) -> JsonLines:
    drop_torn_line(file)
    with told_as_run_error(file):
        return JsonLines(open(file, "a", encoding="utf-8", newline="\n"), close_stream=True)


def _check_folder(
    folder: Path, kind: str, settings: dict[str, Any], extend: bool, changeable: Collection[str]
) -> bool:
    """Whether the folder holds a run to go on with; if not, one is begun."""
    file = folder / "settings.json"
    if not file.exists():
        strange = [path for path in folder.iterdir() if not any(path.match(p) for p in _ALLOWED_BEFORE)]
        if strange:
            hint = "Choose a new or empty folder."
            raise RunError(f"holds other files, such as {strange[0].name}, and no run", hint=hint, path=folder)
        write_json_atomic(file, RunSettings(kind=kind, settings=settings).model_dump())
        return False
    before = _read_settings(file)
    if before.kind != kind:
        hint = "Choose another folder."
        raise RunError(f"holds a {before.kind} run, not a {kind} run", hint=hint, path=folder)
    if finished(folder) and not extend:
        hint = "Choose another folder, or ask for it to be extended."
        raise RunError("the run has finished already", hint=hint, path=folder)
    differences = _differences(before.settings, settings)
    if refused := [text for name, text in differences.items() if name not in changeable]:
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        hint = "Use the same settings to go on, or another folder."
        raise RunError(f"the run was begun with {', '.join(refused[:5])}{more}", hint=hint, path=folder)
    if differences:
        write_json_atomic(file, RunSettings(kind=kind, settings=settings).model_dump())
    return True


def _differences(before: dict[str, Any], now: dict[str, Any], group: str = "") -> dict[str, str]:
    """For each setting that differs, its dotted name, and words for the user."""
    found = {}
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, "nothing"), now.get(name, "nothing")
        if isinstance(old, dict) and isinstance(new, dict):
            found |= _differences(old, new, f"{group}{name}.")
        elif old != new:
            found[f"{group}{name}"] = f"{group}{name} = {old} (now {new})"
    return found


def _read_settings(file: Path) -> RunSettings:
    try:
        return RunSettings.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        hint = "Restore the file, or choose another folder."
        raise RunError(f"is not a file of this version of TopoMAE: {reason}", hint=hint, path=file) from error
