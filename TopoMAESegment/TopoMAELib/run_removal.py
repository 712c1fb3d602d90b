"""Deleting a run folder: only what is a run, and never one that is at work."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from slicer.i18n import tr as _

from TopoMAELib.process_owners import ProcessOwner, removeLock, takeLock
from TopoMAELib.run_folder import RUNNING, NotARun, RunFolder
from TopoMAELib.run_process import RunInUse, drivenElsewhere

_OF_A_RUN = {
    "checkpoints", "console.log", "data.json", "events.jsonl", "lock", "lock.takeover", "metrics.csv", "model",
    "plan.json", "preprocessed", "previews", "report.html", "settings.json", "status.json", "stop", "tensorboard",
}  # fmt: skip


def deleteRun(path: str | Path) -> None:
    """Delete a run folder for good. Nobody can start the run meanwhile: the engine's lock is held.

    Raises:
        NotARun: it is no run folder, a link to one, or it holds other files too, which are then all kept.
        RunInUse: the run is running, or another Slicer drives it.
        OSError: a file cannot be deleted.
    """
    folder = Path(path)
    run = RunFolder(folder)
    _check(run)
    me = ProcessOwner.ofProcess(os.getpid())
    other = takeLock(folder / "lock", me)
    if other is not None:
        raise RunInUse(_("The run {name} has just been started.").format(name=run.name))
    # Under its new name nobody takes it for a run any more, should deleting stop halfway.
    doomed = folder.with_name(f".deleted-{folder.name}-{secrets.token_hex(4)}")
    try:
        os.rename(folder, doomed)
    except OSError:
        removeLock(folder / "lock", me)
        raise
    shutil.rmtree(doomed)


def _check(run: RunFolder) -> None:
    if run.path.is_symlink() or not run.isRun:
        raise NotARun(_("{path} is not a run folder; nothing was deleted.").format(path=run.path))
    if run.state() == RUNNING:
        raise RunInUse(_("The run {name} is running. Stop it first.").format(name=run.name))
    driver = run.driver
    if driver is not None and not driver.isProcess(os.getpid()):
        raise RunInUse(drivenElsewhere(driver))
    strange = sorted(p.name for p in run.path.iterdir() if p.name not in _OF_A_RUN and not p.name.startswith("."))
    if strange:
        raise NotARun(
            _("The run folder {path} also holds {name}. Move that elsewhere, or delete the folder by hand.").format(
                path=run.path, name=strange[0]
            )
        )
