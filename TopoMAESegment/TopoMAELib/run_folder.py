"""A run folder as Slicer sees it: what kind of run, in which state, how far, how good. It only reads.

The engine (or `topomae` on a command line) writes the folder; `RunProcess` starts and stops it.
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from TopoMAELib.line_tail import LineTail
from TopoMAELib.process_owners import ProcessOwner, readOwner
from TopoMAELib.run_curves import CurveTable
from TopoMAELib.run_failure import RunFailure, consoleFailure
from TopoMAELib.run_progress import RunProgress, parsedEvent, wholeNumber
from TopoMAELib.run_records import DRIVER_FILE, KINDS, LAUNCH_FILE, LaunchRecord, readJson

RUNNING, STOPPED, FAILED, DONE, INTERRUPTED = "running", "stopped", "failed", "done", "interrupted"
PREVIEW_KINDS = ("input", "masked", "vit", "unetrpp")
_PREVIEW_FILE = re.compile(r"step_(\d+)_(input|masked|vit|unetrpp)\.nii\.gz")
_FIRST_READING = 1024 * 1024  # bytes of an old run's events: enough for its last words, quick to read


class NotARun(ValueError):
    """The folder is not, or not only, a run folder."""


@dataclass(frozen=True)
class RunPreview:
    """One masked crop as it goes in and as both branches reconstruct it.

    Args:
        step: training step.
        volumes: from "input", "masked", "vit" or "unetrpp" to NIfTI file.
        keyPoints: JSON file with `names` and the points `true`, `vit` and `unetrpp` in RAS mm.
    """

    step: int
    volumes: dict[str, Path] = field(default_factory=dict)
    keyPoints: Path | None = None


class RunFolder:
    """Reads one run folder, going on where it last stopped. Two readers need two objects.

    Args:
        path: the folder; need not exist yet.

    Attributes:
        progress: what the events read so far tell; brought up to date by `newEvents`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).absolute()
        self.progress = RunProgress()
        self._events = LineTail(self.path / "events.jsonl", atMost=_FIRST_READING)
        self._curves = CurveTable(self.path / "metrics.csv")

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def isRun(self) -> bool:
        """Whether this is the folder of a run: one begun by the engine, or one that failed to begin."""
        settings = readJson(self.path / "settings.json")
        begun = settings.get("kind") in KINDS and isinstance(settings.get("settings"), dict)
        return begun or (self.launch is not None and (self.path / "console.log").is_file())

    @property
    def kind(self) -> str:
        """`pretrain` or `finetune`; "" if this is no run."""
        kind = readJson(self.path / "settings.json").get("kind")
        if kind in KINDS:
            return kind
        return self.launch.kind if self.launch is not None else ""

    @property
    def settings(self) -> dict:
        """What the run was begun with, as the engine noted it; empty if it never began."""
        settings = readJson(self.path / "settings.json").get("settings")
        return settings if isinstance(settings, dict) else {}

    @property
    def launch(self) -> LaunchRecord | None:
        """How the run was last started from Slicer; None if it never was."""
        return LaunchRecord.load(self.path)

    @property
    def owner(self) -> ProcessOwner | None:
        """The living process that works in this folder, as the engine's lock names it."""
        owner = readOwner(self.path / "lock")
        return owner if owner is not None and owner.alive else None

    @property
    def driver(self) -> ProcessOwner | None:
        """The living Slicer process that drives this run."""
        driver = readOwner(self.path / DRIVER_FILE)
        return driver if driver is not None and driver.alive else None

    def state(self) -> str:
        """`running`, `stopped`, `failed`, `done` or `interrupted` (killed, or the computer was switched off)."""
        launch = self.launch
        if self.owner is not None or (launch is not None and launch.alive):
            return RUNNING
        status = readJson(self.path / "status.json")
        told = {"ok": DONE, "stopped": STOPPED, "failed": FAILED}.get(str(status.get("status")), INTERRUPTED)
        if told != DONE and launch is not None and not _later(status.get("time"), launch.time):
            return FAILED  # the last start did not even get to open the run
        return told

    @property
    def step(self) -> int:
        """Steps done, as far as the events or, for an old run, the last checkpoint tell."""
        saved = readJson(self.path / "status.json").get("step")
        return max(self.progress.step, wholeNumber(saved) or 0)

    @property
    def changed(self) -> float:
        """When the run last wrote something, seconds since 1970; 0 if unknown."""
        times = []
        for name in ("status.json", "events.jsonl", "console.log"):
            with contextlib.suppress(OSError):
                times.append((self.path / name).stat().st_mtime)
        return max(times, default=0.0)

    def newEvents(self) -> list[dict]:
        """Events since the last call, oldest first. Of an old run the first call gives only the latest ones."""
        events = [event for line in self._events.read() if (event := parsedEvent(line))]
        for event in events:
            self.progress.take(event)
        return events

    def curves(self) -> dict[tuple[str, str], tuple]:
        """From (phase, metric), such as ("validate", "dice"), to (steps, values), both (n,) float64."""
        return self._curves.read()

    @property
    def bestDice(self) -> float | None:
        """The best mean Dice of a validation; None if there was none."""
        _, values = self.curves().get(("validate", "dice"), ((), ()))
        finite = [value for value in values if math.isfinite(value)]
        return max(finite) if finite else None

    def previews(self) -> list[RunPreview]:
        """Complete previews, oldest first (the engine writes the key points last)."""
        steps: dict[int, dict[str, Path]] = {}
        for file in sorted((self.path / "previews").glob("step_*.nii.gz")):
            if match := _PREVIEW_FILE.fullmatch(file.name):
                steps.setdefault(int(match[1]), {})[match[2]] = file
        found = []
        for step, volumes in sorted(steps.items()):
            keyPoints = self.path / "previews" / f"step_{step:08d}_keypoints.json"
            if keyPoints.is_file() and "input" in volumes:
                found.append(RunPreview(step, volumes, keyPoints))
        return found

    def modelFolder(self) -> Path | None:
        """The folder with the finished network; None before the run is done."""
        whole = "pretrained.safetensors" if self.kind == "pretrain" else "models/model.safetensors"
        return self.path / "model" if (self.path / "model" / whole).is_file() else None

    def lastError(self, exitCode: int | None = None) -> RunFailure | None:
        """Why the run failed or was interrupted, in words; None if it did neither.

        Args:
            exitCode: of its process, if known.
        """
        state = self.state()
        if state not in (FAILED, INTERRUPTED):
            return None
        reader = RunFolder(self.path)  # events that this object has not given out yet are not to be lost
        reader.newEvents()
        told = reader.progress.error
        launch = self.launch
        if told and (launch is None or _later(told.get("time"), launch.time)):
            return RunFailure.ofEvent(told)
        start = launch.consoleStart if launch is not None else 0
        return consoleFailure(self.path / "console.log", start, state == INTERRUPTED, reader.step, exitCode)


def findRuns(root: str | Path, known: dict[Path, RunFolder] | None = None) -> list[RunFolder]:
    """Run folders in a folder and in its subfolders, by name.

    Args:
        root: the folder; need not exist.
        known: readers to use again, by path; what they have read need not be read once more.
    """
    known = known or {}
    folders = _subfolders(Path(root).absolute())
    begun = [folder for folder in folders if _looksLikeRun(folder)]
    others = [folder for folder in folders if folder not in set(begun)]
    begun += [deeper for folder in others for deeper in _subfolders(folder) if _looksLikeRun(deeper)]
    runs = [known.get(folder) or RunFolder(folder) for folder in begun]
    return [run for run in runs if run.isRun]


def _looksLikeRun(folder: Path) -> bool:
    """A quick look, so that a folder with many others in it can be looked through every few seconds."""
    return (folder / "settings.json").exists() or (folder / LAUNCH_FILE).exists()


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _later(first: object, second: object) -> bool:
    """Whether one time, as ISO 8601 text, is after another; not if either cannot be read."""
    try:
        # Python 3.10 does not read the Z that pydantic writes for UTC.
        one, two = (datetime.fromisoformat(str(text).replace("Z", "+00:00")) for text in (first, second))
        return one > two
    except (ValueError, TypeError):
        return False
