"""The module `ctk` of Slicer: stand-ins of the CTK widgets that scripted modules use."""

import types

from . import ctk_containers, ctk_numbers, ctk_paths
from .pythonqt import makeQtModule
from .stand_in import standIn, stored

qt = makeQtModule()


class ctkCheckBox(qt.QCheckBox):
    """A check box; CTK adds icons."""


class ctkPushButton(qt.QPushButton):
    """A push button; CTK adds alignment."""


@standIn
class ctkCheckablePushButton(ctkPushButton):
    """A button with a check box in it."""

    checkBoxControlsButton = stored(bool, "checkBoxControlsButton", True)
    checkBoxControlsButtonToggleState = stored(bool, "checkBoxControlsButtonToggleState", True)
    checkBoxUserCheckable = stored(bool, "checkBoxUserCheckable", True)
    checkState = stored(int, "checkState", 0)


class ctkMenuButton(qt.QPushButton):
    """A button with a menu beside it."""


@standIn
class ctkComboBox(qt.QComboBox):
    """A combo box that shows a default text while nothing is chosen."""

    defaultText = stored(str, "defaultText", "")
    scrollWheelEnabled = stored(bool, "scrollWheelEnabled", True)


@standIn
class ctkSearchBox(qt.QLineEdit):
    """A line to search in, with a magnifying glass."""

    showSearchIcon = stored(bool, "showSearchIcon", False)
    alwaysShowClearIcon = stored(bool, "alwaysShowClearIcon", False)


@standIn
class ctkFittedTextBrowser(qt.QTextBrowser):
    """A text as high as its contents."""

    collapsed = stored(bool, "collapsed", False)
    showDetailsText = stored(str, "showDetailsText", "Show details...")
    hideDetailsText = stored(str, "hideDetailsText", "Hide details")
    collapsibleText = qt.Property(str, lambda self: self.html, lambda self, text: self.setHtml(text))


@standIn
class ctkMessageBox(qt.QMessageBox):
    """A message box that can be switched off for the future."""

    dontShowAgain = stored(bool, "dontShowAgain", False)
    dontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)
    dontShowAgainSettingsKey = stored(str, "dontShowAgainSettingsKey", "")


class ctkSettingsPanel(qt.QWidget):
    """A page of the application settings."""


def makeCtkModule(qtModule):
    """Make the module `ctk`.

    Args:
        qtModule: the module of `makeQtModule`.

    Returns:
        The module, not yet put into `sys.modules`; a name that no stand-in has raises AttributeError.
    """
    assert qtModule is qt, "there is one Qt per process"
    ctk = types.ModuleType("ctk", "CTK as 3D Slicer's Python sees it.")
    for namespace in (vars(ctk_containers), vars(ctk_numbers), vars(ctk_paths), globals()):
        for name, value in namespace.items():
            if name.startswith("ctk") and isinstance(value, type):
                setattr(ctk, name, value)
    return ctk
