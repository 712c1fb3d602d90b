"""The panels of the module, put together and kept in step with the parameter node of the scene."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import qt
import slicer
import vtk

from TopoMAESegmentLib.context import SegmentContext
from TopoMAESegmentLib.engine_panel import EnginePanel
from TopoMAESegmentLib.input_panel import InputPanel
from TopoMAESegmentLib.log_view import LogView
from TopoMAESegmentLib.logic import SegmentLogic
from TopoMAESegmentLib.model_panel import ModelPanel
from TopoMAESegmentLib.parameters import SegmentParameters, sceneIsBusy
from TopoMAESegmentLib.segment_panel import SegmentPanel


class SegmentWidget:
    """Content of the module's panel.

    Attributes:
        ui: widgets of TopoMAESegment.ui by name.
        context: what is chosen, for the topology and key-point panels.
    """

    def __init__(
        self,
        uiWidget: slicer.qMRMLWidget,
        logic: SegmentLogic,
        parameterNode: Callable[[], object],
        checkInterpreter: Callable | None = None,
    ):
        """Connect the widgets.

        Args:
            uiWidget: TopoMAESegment.ui, loaded.
            logic: does the work.
            parameterNode: gives the module's parameter node in the present scene.
            checkInterpreter: gives an `InterpreterCheck` for an `Interpreter`.
        """
        self._uiWidget = uiWidget
        self.ui: SimpleNamespace = slicer.util.childWidgetVariables(uiWidget)
        self.logic, self._parameterNode = logic, parameterNode
        self.context = SegmentContext()
        self.log = LogView(self.ui.logTextEdit)
        self.inputPanel = InputPanel(self.ui)
        self.modelPanel = ModelPanel(self.ui, logic.modelList, self._showProblem)
        self.segmentPanel = SegmentPanel(self.ui, logic, self.context, self.log)
        self.enginePanel = EnginePanel(self.ui, self._onEngineChecked, self._onPythonChanged, checkInterpreter)
        self.panels = self._makePanels()
        self._parameters: SegmentParameters | None = None
        self._parametersTag, self._updating = None, False
        scene = slicer.mrmlScene
        self._scene = scene
        self._sceneTags = [
            scene.AddObserver(scene.StartCloseEvent, self._onSceneStartClose),
            scene.AddObserver(scene.EndCloseEvent, self._onSceneChanged),
            scene.AddObserver(scene.EndImportEvent, self._onSceneChanged),
            scene.AddObserver(scene.EndBatchProcessEvent, self._onNodesChanged),
            scene.AddObserver(scene.NodeRemovedEvent, self._onNodesChanged),
        ]
        self.setParameters(SegmentParameters(self._parameterNode()))

    @property
    def parameters(self) -> SegmentParameters | None:
        """The choices in the present scene."""
        return self._parameters

    def enter(self) -> None:
        """The user opened the module."""
        if self._parameters is None:
            self.setParameters(SegmentParameters(self._parameterNode()))
        self.inputPanel.chooseByItself()
        self.enginePanel.checkOnce()

    def cleanup(self) -> None:
        """Let go of the scene, the model list and the worker's answers."""
        self.setParameters(None)
        for tag in self._sceneTags:
            self._scene.RemoveObserver(tag)
        self._sceneTags = []
        for panel in (*self.panels, self.segmentPanel, self.modelPanel, self.inputPanel, self.enginePanel):
            panel.cleanup()
        self.context.changed.clear()
        self._uiWidget.setMRMLScene(None)

    def setParameters(self, parameters: SegmentParameters | None) -> None:
        """Show another parameter node; None while there is no scene."""
        if self._parameters is not None:
            self._parameters.RemoveObserver(self._parametersTag)
        self._parameters = None  # what the panels change below is not yet for the new node's observer
        self.context.setParameters(parameters)
        self.modelPanel.setParameters(parameters)
        self._takeOverModel()
        self.inputPanel.setParameters(parameters)
        self.segmentPanel.setParameters(parameters)
        self._parameters = parameters
        if parameters is not None:
            self._parametersTag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
            self._onParametersModified()

    def _makePanels(self) -> list:
        """The topology and key-point panels."""
        from TopoMAESegmentLib.key_point_panel import KeyPointPanel
        from TopoMAESegmentLib.topology_panel import TopologyPanel

        return [
            TopologyPanel(self.ui.topologyCollapsibleButton.layout(), self.logic, self.context),
            KeyPointPanel(self.ui.keyPointCollapsibleButton.layout(), self.logic, self.context),
        ]

    def _takeOverModel(self) -> None:
        card = self.modelPanel.card()
        self.context.setModelCard(card)
        if card:
            self.inputPanel.setModalities(card.modalities, card.missingModalities)

    def _onParametersModified(self, *_arguments: object) -> None:
        if self._updating or self._parameters is None:
            return
        self._updating = True
        try:
            self.modelPanel.refresh()
            self._takeOverModel()
            self.inputPanel.refresh()
            self.segmentPanel.refresh()
        finally:
            self._updating = False
        self.context.notify()

    def _onSceneStartClose(self, *_arguments: object) -> None:
        self.segmentPanel.sceneClosing()
        for panel in self.panels:
            panel.sceneClosing()
        self.setParameters(None)

    def _onSceneChanged(self, *_arguments: object) -> None:
        self.setParameters(SegmentParameters(self._parameterNode()))

    def _onNodesChanged(self, *_arguments: object) -> None:
        if not sceneIsBusy():
            self._onParametersModified()

    def _onEngineChecked(self, problem: str) -> None:
        self.segmentPanel.setEngineProblem(problem)
        if problem:
            self.log.add(problem)
        else:
            self.logic.client.startUp()  # so that the first click does not wait for it

    def _onPythonChanged(self) -> None:
        self.logic.client.stop()  # the next request starts a worker in the other Python

    def _showProblem(self, problem: str) -> None:
        self.log.add(problem)
        slicer.util.warningDisplay(problem, textFormat=qt.Qt.PlainText)
