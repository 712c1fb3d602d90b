"""What our modules offer in Slicer's module Sample Data: phantoms, made here and now, without network."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAELib.phantom_maker import PhantomMaker
from TopoMAELib.waiting import Waiting

CATEGORY = "TopoMAE"
_ICONS = "Resources/Icons"
_STEPS = 1000  # of the progress bar


def registerSample(name: str, icon: str, load: Callable[[object], None]) -> None:
    """Offer something in the module Sample Data; nothing happens if it is offered already, or without that module.

    Args:
        name: what its button says.
        icon: file in our Resources/Icons.
        load: called with the source when the user wants it.
    """
    try:
        import SampleData
    except ImportError:
        logging.info("TopoMAE: there is no module Sample Data here, so it offers no phantoms")
        return
    if any(source.sampleName == name for source in SampleData.SampleDataLogic.sampleDataSourcesByCategory(CATEGORY)):
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=name,
        uris=[],
        fileNames=[],
        customDownloader=load,
        thumbnailFileName=iconPath(icon),
    )


def iconPath(icon: str) -> str:
    """Where an icon of either module lies: installed, the modules share a folder of resources."""
    library = Path(__file__).resolve().parents[1]
    for folder in (library, library.parent / "TopoMAETrain"):
        if (folder / _ICONS / icon).is_file():
            return str(folder / _ICONS / icon)
    return ""


def makePhantoms(
    folder: str | Path, cases: int = 24, labelled: int = 4, seed: int = 0, maker: PhantomMaker | None = None
) -> bool:
    """Make a phantom data set while a window shows how far it is; the user may cancel.

    Args:
        folder: where; what a cancelled or failed try has begun there is removed, unless the folder was there before.
        cases, labelled, seed: see `PhantomMaker.make`.
        maker: for tests.

    Returns: whether it was made; False if the user cancelled it, or was told why it cannot be made.
    """
    folder, maker = Path(folder), maker or PhantomMaker()
    wasThere = folder.exists()
    problems: list[str] = []
    dialog = slicer.util.createProgressDialog(
        maximum=_STEPS, labelText=_("Starting the engine…"), windowTitle=_("TopoMAE phantoms")
    )
    waiting, cancelled = Waiting(), False
    try:
        dialog.show()
        maker.make(folder, problems.append, cases, labelled, seed)
        while maker.busy and not cancelled:
            maker.wait(0.1)
            if maker.fraction is not None:
                dialog.setLabelText(_("Making phantoms…"))
                # The dialog closes itself at the last step.
                dialog.setValue(min(round(_STEPS * maker.fraction), _STEPS - 1))
            cancelled = dialog.wasCanceled or waiting.isOver
        maker.cancel()
    except OSError as error:
        problems.append(_("The phantoms could not be made: {reason}").format(reason=error))
    finally:
        dialog.close()
        dialog.deleteLater()
    made = not cancelled and problems == [""]
    if not made and not wasThere:
        shutil.rmtree(folder, ignore_errors=True)
    if not made and not cancelled:
        slicer.util.errorDisplay(problems[-1], windowTitle=_("TopoMAE phantoms"), textFormat=qt.Qt.PlainText)
    return made
