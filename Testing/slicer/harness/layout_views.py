"""The widgets of a layout: a coloured bar above, the drawn view below."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import qt
import slicer
import vtk

from .charts import ChartDrawing, idArray
from .pictures import pixmapOf
from .render_views import SliceRenderView, ThreeDRenderView


class ViewWidget(qt.QFrame):
    """A view of the layout, drawn when `_draw` is called, at the size the widget has."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node
        self._renderView: Any = None
        self.setMinimumSize(80, 80)
        self._bar = qt.QLabel()
        self._bar.setFixedHeight(18)
        self._content = self._makeContent()
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._bar)
        layout.addWidget(self._content)
        self._showName()

    def _makeContent(self) -> Any:
        picture = qt.QLabel()
        picture.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Ignored)
        picture.setStyleSheet("background-color: black")
        return picture

    def _makeRenderView(self) -> Any:
        raise NotImplementedError

    def _rendering(self) -> Any:
        """The render window and what draws into it, made at first use: most tests never look."""
        if self._renderView is None:
            self._renderView = self._makeRenderView()
        return self._renderView

    def _showName(self, more: str = "") -> None:
        red, green, blue = (int(255 * value) for value in self._node.GetLayoutColor())
        self._bar.setText(f" {self._node.GetLayoutLabel() or self._node.GetLayoutName()}    {more}")
        self._bar.setStyleSheet(f"background-color: rgb({red}, {green}, {blue}); color: black; font-size: 11px")

    def _draw(self) -> None:
        """Draw the view as it is now into the widget."""
        size = self._content.size
        self._content.setPixmap(pixmapOf(self._pixels(max(size.width(), 40), max(size.height(), 40))))

    def _pixels(self, width: int, height: int) -> np.ndarray:
        return self._rendering().pixels(width, height)

    def mrmlViewNode(self) -> Any:
        return self._node


class RenderedView(qt.QObject):
    """What `sliceView()` and `threeDView()` give."""

    def __init__(self, owner: Any) -> None:
        super().__init__(owner)
        self._owner = owner

    def renderWindow(self) -> Any:
        return self._owner._rendering().window

    def forceRender(self) -> None:
        self._owner._rendering().window.Render()

    def scheduleRender(self) -> None:
        """Nothing to do: views are drawn when they are looked at."""

    def displayableManagerByClassName(self, name: str) -> Any:
        group = self._owner._rendering().group
        managers = (group.GetNthDisplayableManager(i) for i in range(group.GetDisplayableManagerCount()))
        return next((manager for manager in managers if manager.IsA(name)), None)


class qMRMLSliceView(RenderedView):
    """The drawn part of a slice widget."""

    def mrmlSliceNode(self) -> Any:
        return self._owner._node


class qMRMLThreeDView(RenderedView):
    """The drawn part of a 3-D widget."""

    def mrmlViewNode(self) -> Any:
        return self._owner._node

    def cameraNode(self) -> Any:
        return slicer.modules.cameras.logic().GetViewActiveCameraNode(self._owner._node)

    def resetFocalPoint(self) -> None:
        self._owner._rendering().resetFocalPoint()

    def resetCamera(self) -> None:
        self._owner._rendering().resetFocalPoint()


class qMRMLSliceWidget(ViewWidget):
    """A slice of the volume."""

    def __init__(self, node: Any) -> None:
        super().__init__(node)
        applicationLogic = slicer.app.applicationLogic()
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        applicationLogic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetSliceNode(node)
        self._view = qMRMLSliceView(self)

    def _makeRenderView(self) -> SliceRenderView:
        return SliceRenderView(slicer, self._logic)

    def _draw(self) -> None:
        super()._draw()
        self._showName(f"{self._direction()}: {self._logic.GetSliceOffset():.3f} mm")

    def _direction(self) -> str:
        """Letter of the direction in which the offset grows."""
        normal = [self._node.GetSliceToRAS().GetElement(row, 2) for row in range(3)]
        axis = max(range(3), key=lambda row: abs(normal[row]))
        return ("LR", "PA", "IS")[axis][normal[axis] > 0]

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._node

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> Any:
        return self._view

    def sliceController(self) -> Any:
        return self._bar

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()


class qMRMLThreeDWidget(ViewWidget):
    """The 3-D view."""

    def __init__(self, node: Any) -> None:
        super().__init__(node)
        applicationLogic = slicer.app.applicationLogic()
        self._logic = slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        applicationLogic.GetViewLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.AddViewNode(node.GetLayoutName())  # a singleton: the same node
        self._view = qMRMLThreeDView(self)

    def _makeRenderView(self) -> ThreeDRenderView:
        return ThreeDRenderView(slicer, self._node)

    def viewLogic(self) -> Any:
        return self._logic

    def threeDView(self) -> Any:
        return self._view

    def threeDController(self) -> Any:
        return self._bar


class qMRMLPlotWidget(ViewWidget):
    """A chart."""

    def __init__(self, node: Any) -> None:
        super().__init__(node)
        self._selected: dict[str, list[int]] = {}

    def _makeContent(self) -> Any:
        view = slicer.qMRMLPlotView()
        view.setMRMLScene(slicer.mrmlScene)
        view.setMRMLPlotViewNode(self._node)
        self._picture = qt.QLabel(view)
        return view

    def _draw(self) -> None:
        size = self._content.size
        self._picture.setGeometry(0, 0, size.width(), size.height())
        self._picture.setPixmap(pixmapOf(self._pixels(max(size.width(), 40), max(size.height(), 40))))
        self._picture.show()

    def _pixels(self, width: int, height: int) -> np.ndarray:
        return ChartDrawing(self._node.GetPlotChartNode(), self._selected).pixels(width, height)

    def _shows(self, series: Any) -> bool:
        chart = self._node.GetPlotChartNode()
        return chart is not None and chart.HasPlotSeriesNodeID(series.GetID())

    def _select(self, series: Any, indices: Sequence[int]) -> None:
        """What a user's selection does: it is shown, and told with IDs and rows of all series that have one."""
        self._selected = {series.GetID(): list(indices)} if len(indices) else {}
        seriesIDs, rows = vtk.vtkStringArray(), vtk.vtkCollection()
        for seriesID, selected in self._selected.items():
            seriesIDs.InsertNextValue(seriesID)
            rows.AddItem(idArray(selected))
        self._content.dataSelected.emit(seriesIDs, rows)

    def mrmlPlotViewNode(self) -> Any:
        return self._node

    def plotView(self) -> Any:
        return self._content

    def plotController(self) -> Any:
        return self._bar


class qMRMLTableWidget(ViewWidget):
    """A table."""

    def _makeContent(self) -> Any:
        view = slicer.qMRMLTableView()
        view.setMRMLScene(slicer.mrmlScene)
        return view

    def _draw(self) -> None:
        self._content.setMRMLTableNode(self._node.GetTableNode())

    def mrmlTableViewNode(self) -> Any:
        return self._node

    def tableView(self) -> Any:
        return self._content

    def tableController(self) -> Any:
        return self._bar


WIDGET_CLASSES = {
    "vtkMRMLSliceNode": qMRMLSliceWidget,
    "vtkMRMLViewNode": qMRMLThreeDWidget,
    "vtkMRMLPlotViewNode": qMRMLPlotWidget,
    "vtkMRMLTableViewNode": qMRMLTableWidget,
}
