"""The main window: module panel at the left, views at the right, as a user of Slicer sees it."""

from typing import Any

import qt
import slicer


class qSlicerModuleSelectorToolBar(qt.QToolBar):
    """Says which module is shown."""

    moduleSelected = qt.Signal(str)

    def __init__(self) -> None:
        super().__init__("Module selector")
        self._selected = ""
        self._combo = qt.QComboBox()
        self._combo.setMinimumWidth(240)
        self.addWidget(qt.QLabel("Modules: "))
        self.addWidget(self._combo)

    def selectModule(self, name: str) -> None:
        if slicer.app.moduleManager().module(name) is None:
            raise RuntimeError(f"Module {name} does not exist")
        if name != self._selected:
            self._selected = name
            self.moduleSelected.emit(name)

    def _show(self, title: str) -> None:
        self._combo.clear()
        self._combo.addItem(title)

    selectedModule = qt.Property(str, lambda self: self._selected)


class qSlicerMainWindow(qt.QMainWindow):
    """What `slicer.util.mainWindow()` finds by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer 5.12.3")
        self._selector = qSlicerModuleSelectorToolBar()
        self._selector.moduleSelected.connect(self._onModuleSelected)
        self.addToolBar(self._selector)
        self._panel = qt.QScrollArea()
        self._panel.setWidgetResizable(True)
        self._panel.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self._splitter = qt.QSplitter()
        self._splitter.addWidget(self._panel)
        self._splitter.addWidget(slicer.app.layoutManager().viewport())
        self._splitter.setStretchFactor(1, 1)
        self.setCentralWidget(self._splitter)
        self.statusBar().showMessage("")

    def moduleSelector(self) -> Any:
        return self._selector

    def _onModuleSelected(self, name: str) -> None:
        module = slicer.app.moduleManager().module(name)
        if hasattr(module, "widgetRepresentation"):
            self._showPanel(module.widgetRepresentation(), module.title)

    def _showPanel(self, widget: Any, title: str) -> None:
        if widget is self._panel.widget():
            return
        self._closePanel(forgetModule=False)
        self._panel.setWidget(widget)
        widget.show()
        self._selector._show(title)
        if hasattr(widget, "enter"):
            widget.enter()

    def _closePanel(self, forgetModule: bool = True) -> None:
        widget = self._panel.takeWidget()
        if forgetModule:
            self._selector._selected = ""
        if widget is not None:
            widget.hide()
            if hasattr(widget, "exit"):
                widget.exit()
