"""Waiting as an application does: events are processed until something has happened."""

import time
from collections.abc import Callable


def pump(condition: Callable[[], object] | None = None, seconds: float = 5.0) -> bool:
    """Process events until a condition holds.

    Args:
        condition: called between events; None processes what is pending and returns.
        seconds: give up after this long.

    Returns: whether the condition holds.
    """
    import qt
    import slicer

    end = time.monotonic() + seconds
    while True:
        slicer.app.processEvents()
        qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)  # as the application's own loop does
        if condition is None or condition():
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
