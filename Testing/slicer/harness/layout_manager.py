"""`slicer.app.layoutManager()`: the real layout logic decides which views there are, these widgets show them."""

from typing import Any

import qt
import slicer
import vtk

from .layout_views import WIDGET_CLASSES


class qSlicerLayoutManager(qt.QObject):
    """Builds the widgets of the current layout of the layout node."""

    layoutChanged = qt.Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._widgets: dict[str, Any] = {}  # by ID of the view node
        self._viewport = qt.QWidget()
        self._viewport.setLayout(qt.QVBoxLayout())
        self._viewport.layout().setContentsMargins(0, 0, 0, 0)
        self._shown: Any = None
        self._description = ""
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._node = self._logic.GetLayoutNode()
        self._node.SetViewArrangement(self._node.SlicerLayoutFourUpView)
        self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onLayoutModified)
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndCloseEvent, self._onSceneClosed)
        self._build()

    # ------------------------------------------------------------------------------------ layout

    def _getLayout(self) -> int:
        return self._node.GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        self._node.SetViewArrangement(layout)

    layout = qt.Property(int, _getLayout, setLayout)

    def layoutLogic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def viewport(self) -> Any:
        return self._viewport

    def _onLayoutModified(self, caller: Any = None, event: Any = None) -> None:
        if (self._node.GetCurrentLayoutDescription() or "") != self._description:
            self._build()
            self.layoutChanged.emit(self._getLayout())

    def _onSceneClosed(self, caller: Any = None, event: Any = None) -> None:
        self._description = ""
        self._onLayoutModified()

    def _build(self) -> None:
        self._description = self._node.GetCurrentLayoutDescription() or ""
        for widget in self._widgets.values():
            widget.setParent(None)
            widget.hide()
        if self._shown is not None:
            self._shown.setParent(None)
            self._shown.deleteLater()
        root = self._node.GetLayoutRootElement()
        self._shown = self._makeElement(root) if root is not None else qt.QWidget()
        self._viewport.layout().addWidget(self._shown)

    def _makeElement(self, element: Any) -> Any:
        if element.GetName() == "view":
            return self._makeView(element)
        if element.GetAttribute("type") == "tab":
            return self._makeTabs(element)
        parts = qt.QSplitter(qt.Qt.Vertical if element.GetAttribute("type") == "vertical" else qt.Qt.Horizontal)
        parts.setChildrenCollapsible(False)
        items = _nested(element)
        for item in items:
            for child in _nested(item):
                parts.addWidget(self._makeElement(child))
        parts.setSizes([int(item.GetAttribute("splitSize") or 500) for item in items])
        return parts

    def _makeTabs(self, element: Any) -> Any:
        tabs = qt.QTabWidget()
        for item in _nested(element):
            for child in _nested(item):
                tabs.addTab(self._makeElement(child), item.GetAttribute("name") or "")
        return tabs

    def _makeView(self, element: Any) -> Any:
        node = self._logic.GetViewFromElement(element)
        if node.GetID() not in self._widgets:
            self._widgets[node.GetID()] = WIDGET_CLASSES[node.GetClassName()](node)
        widget = self._widgets[node.GetID()]
        widget.show()
        return widget

    # ------------------------------------------------------------------------------------ views

    def _ofClass(self, className: str) -> list:
        return [widget for widget in self._widgets.values() if widget.mrmlViewNode().IsA(className)]

    def _visible(self) -> list:
        return [widget for widget in self._widgets.values() if widget.parent() is not None]

    def _plotWidgets(self) -> list:
        return [widget for widget in self._visible() if widget.mrmlViewNode().IsA("vtkMRMLPlotViewNode")]

    def _draw(self) -> None:
        for widget in self._visible():
            widget._draw()

    def sliceViewNames(self) -> tuple:
        return tuple(widget.mrmlViewNode().GetLayoutName() for widget in self._ofClass("vtkMRMLSliceNode"))

    def sliceWidget(self, name: str) -> Any:
        slices = self._ofClass("vtkMRMLSliceNode")
        return next((widget for widget in slices if widget.mrmlViewNode().GetLayoutName() == name), None)

    def threeDWidget(self, index: int) -> Any:
        return _nth(self._ofClass("vtkMRMLViewNode"), index)

    def plotWidget(self, index: int) -> Any:
        return _nth(self._ofClass("vtkMRMLPlotViewNode"), index)

    def tableWidget(self, index: int) -> Any:
        return _nth(self._ofClass("vtkMRMLTableViewNode"), index)

    def viewWidget(self, node: Any) -> Any:
        return self._widgets.get(node.GetID())

    def mrmlSliceLogics(self) -> Any:
        return slicer.app.applicationLogic().GetSliceLogics()

    def resetSliceViews(self) -> None:
        for widget in self._ofClass("vtkMRMLSliceNode"):
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        for widget in self._ofClass("vtkMRMLViewNode"):
            widget.threeDView().resetFocalPoint()

    threeDViewCount = qt.Property(int, lambda self: len(self._ofClass("vtkMRMLViewNode")))
    plotViewCount = qt.Property(int, lambda self: len(self._ofClass("vtkMRMLPlotViewNode")))
    tableViewCount = qt.Property(int, lambda self: len(self._ofClass("vtkMRMLTableViewNode")))


def _nested(element: Any) -> list:
    return [element.GetNestedElement(index) for index in range(element.GetNumberOfNestedElements())]


def _nth(widgets: list, index: int) -> Any:
    return widgets[index] if 0 <= index < len(widgets) else None
