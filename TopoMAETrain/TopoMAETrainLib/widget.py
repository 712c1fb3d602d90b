"""Puts the panels of the module together and keeps them in step with the scene."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import slicer
import vtk
from slicer.util import VTKObservationMixin

from TopoMAELib.run_folder import RunFolder
from TopoMAESegmentLib.engine_panel import EnginePanel
from TopoMAETrainLib.closing import ClosingGuard
from TopoMAETrainLib.context import TrainContext
from TopoMAETrainLib.data_panel import DataPanel
from TopoMAETrainLib.logic import TrainLogic
from TopoMAETrainLib.parameters import TrainParameters
from TopoMAETrainLib.plan_panel import PlanPanel
from TopoMAETrainLib.runs_panel import RunsPanel
from TopoMAETrainLib.training_panel import TrainingPanel

LAST_RUN_SETTING = "TopoMAE/LastRun"


class TrainWidget(VTKObservationMixin):
    """The panels, top to bottom: data set, plan, training, runs.

    Args:
        ui: the named widgets of TopoMAETrain.ui.
        logic: starts and finds trainings; also gives the module's parameter node.
        context: shared state of the panels.
        makePanels: makes the data and plan panels from two layouts and the context.
        checkInterpreter: tells what an interpreter lacks, see `EnginePanel`.
    """

    def __init__(
        self,
        ui: object,
        logic: TrainLogic,
        context: TrainContext | None = None,
        makePanels: Callable[[object, object, TrainContext], list] | None = None,
        checkInterpreter: Callable | None = None,
    ):
        VTKObservationMixin.__init__(self)
        self.ui, self.logic = ui, logic
        self.context = context or TrainContext()
        self._parameters: TrainParameters | None = None
        self._copying = False
        self.panels = (makePanels or _dataAndPlan)(ui.dataLayout, ui.planLayout, self.context)
        self.training = TrainingPanel(ui.trainingLayout, self.context, logic, self._onRunsChanged, self._onEdited)
        self.runs = RunsPanel(ui.runsLayout, self.context, logic, self.training)
        self.engine = EnginePanel(
            ui, onChecked=self.training.setEngineProblem, onChanged=self.context.notify, check=checkInterpreter
        )
        self.guard = ClosingGuard(logic.running)
        self.context.changed.append(self._onEdited)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneImported)
        self._takeParameters()
        self.attachToRunning()

    def enter(self) -> None:
        """The module is shown."""
        self._takeParameters()
        self.runs.enter()
        self.engine.checkOnce()

    def exit(self) -> None:
        """Another module is shown; trainings are followed on."""
        self.runs.exit()

    def cleanup(self) -> None:
        """The module is unloaded or reloaded; trainings go on."""
        self.logic.leave()
        self._letParametersGo()
        self.removeObservers()
        self.guard.remove()
        self.engine.cleanup()
        self.runs.cleanup()
        self.training.cleanup()
        for panel in self.panels:
            panel.cleanup()

    def openDataSet(self, folder: str) -> None:
        """Choose a data set; what was set by hand was meant for another one."""
        self.context.set(dataFolder=folder, modalityNames=[], planOverrides={})

    def attachToRunning(self) -> None:
        """Find a training that an earlier Slicer started: the newest running one, else the one shown last."""
        self.runs.refresh()
        found = self.runs.newestRunning()
        last = str(slicer.app.userSettings().value(LAST_RUN_SETTING) or "")
        if found is None and last and RunFolder(last).isRun:
            found = RunFolder(last)
        if found is not None:
            self.training.watch(self.logic.attach(found.path))
            self.runs.select(found.path)

    def _onRunsChanged(self) -> None:
        path = self.training.runPath
        if path is not None:
            slicer.app.userSettings().setValue(LAST_RUN_SETTING, str(path))
        self.runs.refresh()
        if path is not None:
            self.runs.select(path)

    def _takeParameters(self) -> None:
        """Show what the scene's parameter node holds, and follow it."""
        node = self.logic.getParameterNode()
        if self._parameters is not None and self._parameters.parameterNode is node:
            return
        self._letParametersGo()
        self._parameters = TrainParameters(node)
        # After the wrapper's own observers, which read the values anew: before them we would see the old ones.
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onNodeModified, priority=-1.0)
        self._showParameters()

    def _letParametersGo(self) -> None:
        if self._parameters is not None:
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onNodeModified)
        self._parameters = None

    def _showParameters(self) -> None:
        held = self._parameters
        self._copying = True
        try:
            self.context.set(
                dataFolder=held.dataFolder,
                modalityNames=list(held.modalityNames),
                leaveOutBad=held.leaveOutBad,
                size=held.size,
                device=held.device,
                planOverrides=_overrides(held.planOverrides),
            )
            self.training.form.setValues(held.kind, held.init, held.steps, held.runName, held.furtherSettings)
        finally:
            self._copying = False

    def _onEdited(self) -> None:
        """The user changed something: keep it in the scene."""
        if self._parameters is None or self._copying:
            return
        context = self.context
        values = {
            "dataFolder": context.dataFolder,
            "modalityNames": list(context.modalityNames),
            "leaveOutBad": context.leaveOutBad,
            "size": context.size,
            "device": context.device,
            "planOverrides": json.dumps(context.planOverrides, sort_keys=True),
            **self.training.form.values(),
        }
        self._copying = True
        try:
            with slicer.util.NodeModify(self._parameters.parameterNode):
                for name, value in values.items():
                    if getattr(self._parameters, name) != value:
                        setattr(self._parameters, name, value)
        finally:
            self._copying = False

    def _onNodeModified(self, _caller: object, _event: str) -> None:
        if self._parameters is not None and not self._copying:
            self._showParameters()

    def _onSceneStartClose(self, _caller: object, _event: str) -> None:
        self._letParametersGo()
        for panel in self.panels:
            panel.sceneClosing()

    def _onSceneImported(self, _caller: object, _event: str) -> None:
        self._takeParameters()

    def _onSceneEndClose(self, _caller: object, _event: str) -> None:
        self._takeParameters()
        self.training.sceneClosed()


def _dataAndPlan(dataLayout: object, planLayout: object, context: TrainContext) -> list:
    return [DataPanel(dataLayout, context), PlanPanel(planLayout, context)]


def _overrides(text: str) -> dict[str, str]:
    try:
        overrides = json.loads(text)
    except ValueError:
        logging.warning("TopoMAETrain: the plan kept in the scene cannot be read")
        return {}
    return {str(name): str(value) for name, value in overrides.items()} if isinstance(overrides, dict) else {}
