"""Trainings from Python: everything the module does, without a widget."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slicer.i18n import tr as _

from TopoMAELib.interpreter import Interpreter, findInterpreter
from TopoMAELib.run_folder import DONE, NotARun, RunFolder, findRuns
from TopoMAELib.run_process import RunProcess, startRun
from TopoMAELib.run_removal import deleteRun
from TopoMAETrainLib.commands import finetuneCommand, pretrainCommand, resumeCommand
from TopoMAETrainLib.finished_models import FinishedModels

Progress = Callable[[int, int | None, float | None], None]


class TrainLogic:
    """Starts, follows and stops trainings.

    Example, in the Python console or with `Slicer --no-main-window --python-script`::

        logic = slicer.util.getModuleLogic("TopoMAETrain")
        logic.pretrain("/data/scans", "/runs/pretrain", {"steps": 500}, waitForCompletion=True)
        run = logic.finetune("/data/scans", "/runs/finetune", init="/runs/pretrain", waitForCompletion=True)
        print(run.runFolder.bestDice, run.runFolder.modelFolder())

    A run goes on when Slicer is closed; calling the same method again for its folder goes on with a run that
    was stopped, failed or was interrupted.

    Args:
        interpreterFinder: gives the Python that runs the engine.
        finishedModels: takes the models of finished fine-tunings.
    """

    def __init__(
        self,
        interpreterFinder: Callable[[], Interpreter] | None = None,
        finishedModels: FinishedModels | None = None,
    ):
        self.finishedModels = finishedModels or FinishedModels()
        self._findInterpreter = interpreterFinder or findInterpreter
        self._processes: dict[Path, RunProcess] = {}
        self._folders: dict[Path, RunFolder] = {}

    def pretrain(
        self,
        dataFolder: str | Path,
        runFolder: str | Path,
        settings: Mapping[str, object] | None = None,
        *,
        size: str = "small",
        device: str = "auto",
        modalityNames: Sequence[str] = (),
        planOverrides: Mapping[str, str] | None = None,
        leaveOutBad: bool = False,
        waitForCompletion: bool = False,
        onProgress: Progress | None = None,
    ) -> RunProcess:
        """Pre-train on the images of a data set, without labels, in a background process.

        Args:
            dataFolder: folder of the data set.
            runFolder: gets everything the run writes; new, empty, or that of a run to go on with.
            settings: settings of the engine by name, such as `{"steps": 500, "topology_weight": 0.5}`.
            size: network size, `small` or `base`.
            device: `auto`, `cpu` or `cuda`.
            modalityNames: names of the image channels where the data set does not name them, e.g. `["CT"]`.
            planOverrides: fields of the plan to set by hand, e.g. `{"spacing": "1,1,3"}`.
            leaveOutBad: go on without images that cannot be read.
            waitForCompletion: return only when the training has ended; Slicer stays usable.
            onProgress: called with (step, steps or None, seconds left or None) while waiting.
        Returns:
            The running (or, after waiting, ended) training.
        Raises:
            RunInUse: the run is being trained already.
            NotARun: the folder holds other files and no run.
            RunFailed: it ended badly (when waiting); the exception says why.
        """
        command = pretrainCommand(
            str(dataFolder),
            settings,
            size=size,
            device=device,
            modalityNames=modalityNames,
            planOverrides=planOverrides,
            leaveOutBad=leaveOutBad,
        )
        return self.start(command, runFolder, waitForCompletion=waitForCompletion, onProgress=onProgress)

    def finetune(
        self,
        dataFolder: str | Path,
        runFolder: str | Path,
        init: str | Path = "scratch",
        settings: Mapping[str, object] | None = None,
        *,
        size: str = "",
        device: str = "auto",
        modalityNames: Sequence[str] = (),
        planOverrides: Mapping[str, str] | None = None,
        waitForCompletion: bool = False,
        onProgress: Progress | None = None,
    ) -> RunProcess:
        """Train a segmentation model on the labelled cases of a data set, in a background process.

        When it is done its model is added to the models of TopoMAESegment.

        Args:
            init: run folder of a pre-training, folder of a model to train further, or `scratch`.
            size: network size; that of `init` if empty.
            dataFolder, runFolder, settings, device, modalityNames, planOverrides, waitForCompletion, onProgress:
                see `pretrain`.
        Returns, Raises:
            See `pretrain`.
        """
        command = finetuneCommand(
            str(dataFolder),
            str(init),
            settings,
            size=size,
            device=device,
            modalityNames=modalityNames,
            planOverrides=planOverrides,
        )
        return self.start(command, runFolder, waitForCompletion=waitForCompletion, onProgress=onProgress)

    def resume(
        self, runFolder: str | Path, *, waitForCompletion: bool = False, onProgress: Progress | None = None
    ) -> RunProcess:
        """Go on with a run that was stopped, failed or was interrupted, from its last checkpoint.

        Raises:
            ValueError: it is done, or it is not known how it was begun.
            RunInUse, RunFailed: see `pretrain`.
        """
        path = Path(os.path.abspath(runFolder))
        run = RunFolder(path)
        if run.state() == DONE:
            raise ValueError(_("The run {name} is done; there is nothing to go on with.").format(name=run.name))
        return self.start(resumeCommand(run), path, waitForCompletion=waitForCompletion, onProgress=onProgress)

    def start(
        self,
        command: Sequence[str],
        runFolder: str | Path,
        *,
        waitForCompletion: bool = False,
        onProgress: Progress | None = None,
    ) -> RunProcess:
        """Start any command of the engine that makes a run, see `run_process.startRun`.

        Args:
            command: kind and arguments, as `commands` makes them.
            runFolder, waitForCompletion, onProgress: see `pretrain`.
        Raises:
            RunInUse, RunFailed: see `pretrain`.
            OSError: the folder cannot be written to, or the interpreter cannot be started.
        """
        path = Path(os.path.abspath(runFolder))
        process = startRun(command, path, self._findInterpreter())
        self._processes[path] = process
        if waitForCompletion:
            process.wait(onPoll=_teller(path, onProgress) if onProgress else None)
            self.finishedModels.offer(process.runFolder)
        return process

    def attach(self, runFolder: str | Path) -> RunProcess:
        """Follow a run, whoever started it. One that another Slicer drives can only be watched (`readOnly`).

        Raises:
            NotARun: there is no run in the folder.
        """
        path = Path(os.path.abspath(runFolder))
        if not RunFolder(path).isRun:
            raise NotARun(_("{path} is not a run folder.").format(path=path))
        known = self._processes.get(path)
        if known is not None and (known.running or known.readOnly is None):
            return known
        process = RunProcess(RunFolder(path))
        self._processes[path] = process
        return process

    def running(self) -> list[RunProcess]:
        """Trainings that this Slicer drives and that go on now."""
        return [process for process in self._processes.values() if process.readOnly is None and process.running]

    def runs(self, root: str | Path) -> list[RunFolder]:
        """The run folders in a folder and its subfolders, by name. Models of finished ones are listed on the way."""
        runs = findRuns(root, self._folders)
        self._folders.update({run.path: run for run in runs})
        for run in runs:
            self.finishedModels.offer(run)
        return runs

    def exportScene(self, folder: str | Path, *arguments: object, **options: object) -> object:
        """Write volumes and segmentations of the scene as a data set; see `scene_export.exportScene`."""
        from TopoMAETrainLib.scene_export import exportScene

        return exportScene(folder, *arguments, **options)

    def deleteRun(self, runFolder: str | Path) -> None:
        """Delete a run folder for good, and take its model off the list of models.

        Raises:
            NotARun, RunInUse, OSError: see `run_removal.deleteRun`; nothing was deleted then.
        """
        path = Path(os.path.abspath(runFolder))
        deleteRun(path)
        self._processes.pop(path, None)
        self._folders.pop(path, None)
        self.finishedModels.forget(path)

    def leave(self) -> None:
        """Let other Slicers drive the runs; they go on."""
        for process in self._processes.values():
            process.leaveSeat()


def _teller(path: Path, onProgress: Progress) -> Callable[[], None]:
    """Reads the events of a run and tells of its progress when there are new ones."""
    reader = RunFolder(path)

    def tell() -> None:
        if reader.newEvents() and reader.progress.main is not None:
            onProgress(reader.progress.step, reader.progress.of, reader.progress.secondsLeft)

    return tell
