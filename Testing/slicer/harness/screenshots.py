"""One picture of the whole window: module panel beside the views of the current layout."""

from pathlib import Path
from typing import Any


def screenshot(
    widget: Any,
    path: str | Path,
    size: tuple[int, int] = (1600, 1000),
    panelWidth: int = 500,
    scrollTo: Any = None,
) -> Path:
    """Save a picture of the main window with a panel in it.

    Args:
        widget: a module's widget (as `load` returns it), any QWidget, or None for the panel shown now.
        path: PNG file to write.
        size: width and height of the window in pixels.
        panelWidth: width of the module panel in pixels.
        scrollTo: a widget of the panel that is to be seen; None shows the panel from its top.

    Returns: the path.
    """
    import slicer

    from .pumping import pump

    window = slicer.util.mainWindow()
    panel = getattr(widget, "parent", None) if not hasattr(widget, "isWidgetType") else widget
    if panel is not None and panel is not window._panel.widget():
        window._showPanel(panel, getattr(widget, "moduleName", "") or panel.windowTitle)
    window.resize(*size)
    window.show()
    window._splitter.setSizes([panelWidth, size[0] - panelWidth])
    pump()
    window._panel.verticalScrollBar().setValue(0)
    if scrollTo is not None:
        window._panel.ensureWidgetVisible(scrollTo)
    slicer.app.layoutManager()._draw()
    pump()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not window.grab().save(str(path)):
        raise OSError(f"The picture {path} could not be written.")
    window.hide()
    return path
