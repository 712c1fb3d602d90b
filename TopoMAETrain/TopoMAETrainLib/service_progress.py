"""The progress of the engine's looking at a data set, on a progress bar."""

from __future__ import annotations

from collections.abc import Collection

from slicer.i18n import tr as _

from TopoMAETrainLib.plan_service import ESTIMATE, PROPOSE, READ, PlanService
from TopoMAETrainLib.words import durationWords


def showProgress(bar: object, service: PlanService, purposes: Collection[str] = (READ, PROPOSE, ESTIMATE)) -> bool:
    """Show what a service is doing.

    Args:
        bar: QProgressBar; hidden while nothing is done.
        service: that asks the engine.
        purposes: what is shown here.
    Returns:
        Whether there is something to show.
    """
    shown = service.busy and service.purpose in purposes
    bar.setVisible(shown)
    if not shown:
        return False
    known = service.fraction is not None
    bar.setMaximum(1000 if known else 0)  # 0: it only shows that something is going on
    bar.setValue(int(1000 * service.fraction) if known else 0)
    what = {"check data": _("Reading the data"), "estimate": _("Trying training steps")}.get(
        service.phase, _("Starting the engine")
    )
    if service.secondsLeft:
        what = _("{what}: {time} left").format(what=what, time=durationWords(service.secondsLeft))
    bar.setFormat(what)
    return True
