"""A complete phantom data set, ready to be planned and trained on."""

from __future__ import annotations

from pathlib import Path

import slicer

from TopoMAELib.sample_data import makePhantoms, registerSample
from TopoMAETrainLib.context import TrainContext

NAME = "TopoMAE phantom data set"
FOLDER_NAME = "Phantom data set"
_ICON = "TopoMAEPhantomDataSet.png"


def register() -> None:
    """Offer the data set in the module Sample Data."""
    registerSample(NAME, _ICON, _open)


def makePhantomDataSet(context: TrainContext | None = None) -> str:
    """Write the data set beside the runs, where the user finds it; one that is there already is taken as it is.

    Args:
        context: says where the runs are.

    Returns: its folder; "" if the user cancelled it, or was told why it cannot be made.
    """
    folder = Path((context or TrainContext()).runsRoot) / FOLDER_NAME
    return str(folder) if makePhantoms(folder) else ""


def _open(_source: object) -> None:
    """Make it, and show it in the module TopoMAE Train."""
    folder = makePhantomDataSet()
    if folder:
        slicer.util.selectModule("TopoMAETrain")
        slicer.util.getModuleWidget("TopoMAETrain").content.openDataSet(folder)
