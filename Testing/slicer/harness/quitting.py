"""Closing the application: a user's try, which the window may refuse, and the real end."""

_ended = False


def quitApplication() -> bool:
    """Ask the main window to close; if nothing refuses, emit `slicer.app.aboutToQuit`.

    The process and the modules stay, so that tests can look at what is left.

    Returns: whether the application would have quit.
    """
    import slicer

    from .pumping import pump

    window = slicer.util.mainWindow()
    window.show()
    if not window.close():
        window.hide()
        return False
    slicer.app.aboutToQuit.emit()
    pump()
    return True


def shutDown() -> None:
    """End the application as Slicer does: tell `aboutToQuit`, then unload the modules. Does its work once."""
    global _ended
    if _ended:
        return
    _ended = True

    import slicer

    from .modules import unload
    from .pumping import pump

    slicer.app.aboutToQuit.emit()
    for name in reversed(slicer.app.moduleManager().modulesNames()):
        unload(name)
    pump()
