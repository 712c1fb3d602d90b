"""The form that says which training to start."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable

from slicer.i18n import tr as _

from TopoMAELib.model_folders import ModelList
from TopoMAELib.run_folder import RunFolder, findRuns
from TopoMAETrainLib.commands import finetuneCommand, parseSettings, pretrainCommand
from TopoMAETrainLib.context import TrainContext

# What the weights of a pre-training decide; the engine refuses to have it set.
_FIXED_BY_INIT = ("size", "crop_size", "patch_size", "stem_stride")
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


class TrainingForm:
    """Kind of training, what it starts from, steps, name, further settings.

    Args:
        ui: the named widgets of TopoMAETrainRun.ui.
        context: data, plan and folder of runs.
        models: models that a fine-tuning may start from.
        onChanged: called without arguments when the user changed something.
    """

    def __init__(self, ui: object, context: TrainContext, models: ModelList, onChanged: Callable[[], None]):
        self._ui, self._context, self._models, self._onChanged = ui, context, models, onChanged
        self._suggested = ""
        self._chosenInit = ""  # by the user, perhaps not in the list now; else the newest pre-training is offered
        ui.kindComboBox.addItem(_("Pre-train"), "pretrain")
        ui.kindComboBox.addItem(_("Fine-tune"), "finetune")
        self.refresh()
        ui.kindComboBox.currentIndexChanged.connect(self._onKindChanged)
        ui.initComboBox.currentIndexChanged.connect(self._onInitChanged)
        ui.stepsSpinBox.valueChanged.connect(self._onEdited)
        ui.runNameLineEdit.textChanged.connect(self._onEdited)
        ui.furtherLineEdit.textChanged.connect(self._onEdited)

    @property
    def kind(self) -> str:
        """`pretrain` or `finetune`."""
        return str(self._ui.kindComboBox.currentData or "pretrain")

    @property
    def init(self) -> str:
        """What a fine-tuning starts from: a folder or `scratch`."""
        return str(self._ui.initComboBox.currentData or "scratch")

    @property
    def runFolder(self) -> str:
        """The run folder to make."""
        return os.path.join(self._context.runsRoot, self._ui.runNameLineEdit.text.strip())

    def values(self) -> dict[str, object]:
        """What the user entered, for the parameter node. A suggested name is not part of it."""
        name = self._ui.runNameLineEdit.text.strip()
        return {
            "kind": self.kind,
            "init": self._chosenInit,
            "steps": int(self._ui.stepsSpinBox.value),
            "runName": "" if name == self._suggested else name,
            "furtherSettings": self._ui.furtherLineEdit.text,
        }

    def setValues(self, kind: str, init: str, steps: int, runName: str, furtherSettings: str) -> None:
        """Show what a parameter node holds."""
        ui = self._ui
        ui.kindComboBox.setCurrentIndex(max(0, ui.kindComboBox.findData(kind)))
        self._chosenInit = init
        ui.stepsSpinBox.setValue(steps)
        ui.furtherLineEdit.setText(furtherSettings)
        self.refresh()
        if runName:
            ui.runNameLineEdit.setText(runName)

    def refresh(self, runs: list[RunFolder] | None = None) -> None:
        """Follow the data set, the runs and the models.

        Args:
            runs: in the folder of runs; looked up if None.
        """
        runs = findRuns(self._context.runsRoot) if runs is None else runs
        pretrained = [run for run in runs if run.kind == "pretrain" and run.modelFolder() is not None]
        self._fillInits(sorted(pretrained, key=lambda run: run.changed, reverse=True))
        fineTuning = self.kind == "finetune"
        self._ui.initLabel.setVisible(fineTuning)
        self._ui.initComboBox.setVisible(fineTuning)
        self._ui.startButton.setText(_("Fine-tune") if fineTuning else _("Pre-train"))
        self._suggestName({run.name.lower() for run in runs})

    def problem(self) -> str:
        """Why no training can be started with this; "" if one can."""
        name = self._ui.runNameLineEdit.text.strip()
        if not self._context.dataFolder:
            return _("Choose a data set first.")
        if not name or name in (".", "..") or name.startswith(".") or _NOT_IN_NAMES.search(name):
            return _("Give the run a name that can be the name of a folder.")
        if os.path.exists(self.runFolder):
            return _(
                "There is a folder {name} already. Choose another name, or resume that run in the list of runs."
            ).format(name=name)
        try:
            parseSettings(self._ui.furtherLineEdit.text)
        except ValueError as error:
            return _("Further settings: {error}").format(error=error)
        return ""

    def command(self) -> list[str]:
        """Kind and arguments of the training.

        Raises:
            ValueError: the further settings cannot be read.
        """
        settings: dict[str, object] = dict(parseSettings(self._ui.furtherLineEdit.text))
        if self._ui.stepsSpinBox.value > 0:
            settings["steps"] = int(self._ui.stepsSpinBox.value)
        context = self._context
        common = {
            "device": context.device,
            "modalityNames": context.modalityNames,
            "planOverrides": context.planOverrides,
        }
        if self.kind == "pretrain":
            return pretrainCommand(
                context.dataFolder, settings, size=context.size, leaveOutBad=context.leaveOutBad, **common
            )
        size = context.size if self.init == "scratch" else ""
        if self.init != "scratch":
            common["planOverrides"] = {n: v for n, v in context.planOverrides.items() if n not in _FIXED_BY_INIT}
        return finetuneCommand(context.dataFolder, self.init, settings, size=size, **common)

    def _fillInits(self, pretrained: list[RunFolder]) -> None:
        combo = self._ui.initComboBox
        entries = [(_("Pre-training {name}").format(name=run.name), str(run.path)) for run in pretrained]
        entries += [(_("Model {name}").format(name=card.name), card.folder) for card in self._models.cards()]
        entries.append((_("From scratch"), "scratch"))
        wasBlocked = combo.blockSignals(True)
        if entries != [(combo.itemText(i), combo.itemData(i)) for i in range(combo.count)]:
            combo.clear()
            for text, folder in entries:
                combo.addItem(text, folder)
        combo.setCurrentIndex(max(0, combo.findData(self._chosenInit)))
        combo.blockSignals(wasBlocked)

    def _suggestName(self, taken: set[str]) -> None:
        edit = self._ui.runNameLineEdit
        if edit.text.strip() not in ("", self._suggested):
            return
        data = os.path.basename(os.path.normpath(self._context.dataFolder)) if self._context.dataFolder else ""
        stem = _NOT_IN_NAMES.sub("-", f"{data} {self.kind}".strip())
        names = itertools.chain([stem], (f"{stem} {number}" for number in itertools.count(2)))
        root = self._context.runsRoot
        free = (name for name in names if name.lower() not in taken and not os.path.exists(os.path.join(root, name)))
        self._suggested = next(free)
        edit.setText(self._suggested)

    def _onKindChanged(self, *_arguments: object) -> None:
        self.refresh()
        self._onChanged()

    def _onInitChanged(self, *_arguments: object) -> None:
        self._chosenInit = self.init
        self._onChanged()

    def _onEdited(self, *_arguments: object) -> None:
        self._onChanged()
