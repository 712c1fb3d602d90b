"""The panel that shows how a data set would be trained on, and why, and lets the user decide otherwise."""

from __future__ import annotations

from slicer.i18n import tr as _

from TopoMAETrainLib.context import DEVICES, SIZES, TrainContext
from TopoMAETrainLib.plan_service import PlanService
from TopoMAETrainLib.plan_table import PlanTable
from TopoMAETrainLib.plan_words import fieldWords
from TopoMAETrainLib.service_progress import showProgress
from TopoMAETrainLib.ui_files import loadPanel
from TopoMAETrainLib.words import durationWords, kindWords


class PlanPanel:
    """Shows and changes the plan of a `TrainContext`.

    A value that is edited becomes an override of the context once the engine has accepted it.

    Args:
        parentLayout: layout that the panel is put into.
        trainContext: gets network size, device and overrides of the plan.
        service: asks the engine; the one shared by the panels of the context by default.
    """

    def __init__(self, parentLayout: object, trainContext: TrainContext, service: PlanService | None = None) -> None:
        self._context = trainContext
        self.widget, self._ui = loadPanel("TopoMAETrainPlan", parentLayout)
        ui = self._ui
        self._service = service or PlanService.of(trainContext)
        self._table = PlanTable(ui.planTable, self._onEdited)
        self._filled: object = None
        sizes = {"small": _("small (a laptop, a CPU)"), "base": _("base (as published, a GPU)")}
        devices = {"auto": _("automatic"), "cpu": _("CPU"), "cuda": _("GPU (CUDA)")}
        for size in SIZES:
            ui.sizeComboBox.addItem(sizes[size], size)
        for device in DEVICES:
            ui.deviceComboBox.addItem(devices[device], device)
        self._follow()
        self._showAnswer()
        ui.sizeComboBox.currentTextChanged.connect(self._onSize)
        ui.deviceComboBox.currentTextChanged.connect(self._onDevice)
        ui.resetButton.clicked.connect(self._onResetAll)
        ui.estimateButton.clicked.connect(self._onEstimate)
        trainContext.changed.append(self._follow)
        self._service.changed.append(self._showAnswer)

    def cleanup(self) -> None:
        """Let go of everything."""
        if self._follow in self._context.changed:
            self._context.changed.remove(self._follow)
        self._service.cleanup()

    def sceneClosing(self) -> None:
        """The scene is about to be closed; a plan has nothing to do with it."""

    def _onSize(self, _text: str) -> None:
        self._context.set(size=str(self._ui.sizeComboBox.currentData))

    def _onDevice(self, _text: str) -> None:
        self._context.set(device=str(self._ui.deviceComboBox.currentData))

    def _onEdited(self, field: str, value: str) -> None:
        self._service.propose(field, value)

    def _onResetAll(self) -> None:
        self._service.forgetRejected()
        self._context.set(planOverrides={})

    def _onEstimate(self) -> None:
        if self._service.busy:
            self._service.cancel()
        else:
            self._service.estimate()

    def _follow(self) -> None:
        """Show what the context holds, whoever changed it."""
        for combo, value in (
            (self._ui.sizeComboBox, self._context.size),
            (self._ui.deviceComboBox, self._context.device),
        ):
            index = combo.findData(value)
            if index >= 0 and index != combo.currentIndex:
                combo.setCurrentIndex(index)
        self._showAnswer()

    def _showAnswer(self) -> None:
        """Show what the engine is doing, and what it said."""
        ui, service = self._ui, self._service
        showProgress(ui.planProgressBar, service)
        answer = service.answer
        plan = answer.plan if answer is not None else {}
        ui.planTable.setVisible(bool(plan))
        ui.planTable.setEnabled(not service.busy)
        ui.resetButton.setEnabled(bool(self._context.planOverrides) or service.rejected is not None)
        ui.estimateButton.setEnabled(bool(plan) or service.busy)
        ui.estimateButton.setText(_("Cancel") if service.busy else _("Estimate time and memory"))
        state = (id(answer), tuple(self._context.planOverrides.items()), service.rejected)
        if plan and state != self._filled:
            self._filled = state
            self._table.fill(plan, self._context.planOverrides, service.rejected)
        if not self._context.dataFolder:
            ui.planStateLabel.setText(_("Choose a data set first."))
        elif answer is None:
            ui.planStateLabel.setText(
                _("The engine looks at the data …") if service.busy else _("There is no plan yet.")
            )
        else:
            ui.planStateLabel.setText(answer.error or _("Planned for: {device}.").format(device=answer.device))
        ui.planMessageLabel.setText(_rejection(service.rejected))
        ui.planMessageLabel.setVisible(service.rejected is not None)
        ui.estimateLabel.setText(_estimates(answer))
        ui.estimateLabel.setVisible(bool(plan))


def _rejection(rejected: tuple[str, str, str] | None) -> str:
    if rejected is None:
        return ""
    field, value, reason = rejected
    text = _("{field} cannot be {value}; the value before still holds. {reason}")
    return text.format(field=fieldWords(field), value=value, reason=reason)


def _estimates(answer: object) -> str:
    """Time and memory of each kind of training, a line each."""
    if answer is None or not answer.estimates:
        return _("Time and memory have not been estimated for this plan.")
    lines = []
    for phase, one in answer.estimates.items():
        text = _("{kind}: {memory:g} GB of memory, {step:.2g} s per step, about {time} for {steps} steps.")
        seconds, steps = float(one["seconds_per_step"]), int(one["steps"])
        kind = kindWords(phase)
        lines.append(
            text.format(
                kind=kind[:1].upper() + kind[1:],
                memory=float(one["memory_gb"]),
                step=seconds,
                time=durationWords(seconds * steps),
                steps=steps,
            )
        )
    return "\n".join([*lines, _("On {device}, while nothing else runs.").format(device=answer.device)])
