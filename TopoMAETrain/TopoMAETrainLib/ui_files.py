"""Where the Qt Designer files of this module lie, in the source tree and when it is installed."""

from __future__ import annotations

from pathlib import Path

import slicer


def loadPanel(name: str, layout: object) -> tuple[object, object]:
    """Load a .ui file of this module into a layout.

    Args:
        name: of the file, without suffix.
        layout: of the panel that it becomes a part of.
    Returns:
        The widget, and an object with its named children as attributes.
    """
    file = Path(__file__).resolve().parent.parent / "Resources" / "UI" / f"{name}.ui"
    widget = slicer.util.loadUI(str(file))
    widget.setMRMLScene(slicer.mrmlScene)
    layout.addWidget(widget)
    return widget, slicer.util.childWidgetVariables(widget)
