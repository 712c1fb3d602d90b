"""Slicer without the Slicer application, for tests: real MRML, VTK and Qt; small stand-ins for what is missing.

    import harness
    slicer = harness.start()
    widget = harness.load("TopoMAESegment")          # as the application loads it: file, panel, enter
    harness.answers.confirm(True)                    # what the user will answer; answers.shown: what was told
    harness.pump(lambda: widget.logic.done, seconds=10)
    harness.selectPoints(seriesNode, [3])            # what a mouse does in a chart
    harness.screenshot(widget, "window.png")         # the panel beside the views of the current layout
    harness.unload("TopoMAESegment")

`errors` holds what went wrong in callbacks of VTK and Qt, where no caller can catch it; conftest.py fails a test that
leaves any. Inside the real application (see run_in_application.py) the same calls use the application itself.
"""

from .answers import answers
from .charts import selectPoints
from .dicom import loadDicomFolder
from .language import markedLanguage
from .modules import load, unload
from .pumping import pump
from .quitting import quitApplication
from .screenshots import screenshot
from .session import insideApplication, start
from .uncaught import errors

__all__ = [
    "answers",
    "errors",
    "insideApplication",
    "load",
    "loadDicomFolder",
    "markedLanguage",
    "pump",
    "quitApplication",
    "screenshot",
    "selectPoints",
    "start",
    "unload",
]
