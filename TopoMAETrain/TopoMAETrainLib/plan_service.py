"""What the panels know about the chosen data set: asked of the engine in the background, kept up to date."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from TopoMAETrainLib.context import TrainContext
from TopoMAETrainLib.engine_plan import PlanAnswer, PlanProcess, PlanQuestion

# The user may still be typing a path.
_DELAY_MS = 400

READ, PROPOSE, ESTIMATE = "read", "propose", "estimate"

_services: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class PlanService:
    """Follows the context: whenever data set, channels, size, device or plan change, the engine is asked anew.

    Attributes:
        answer: the last answer of the engine; None before the first one of a data set.
        busy: whether the engine is at work. purpose: what for, READ, PROPOSE or ESTIMATE.
        phase, fraction, secondsLeft: what it is at.
        rejected: field of the plan, value and reason of the user's last edit, if the engine refused it.
        changed: called without arguments after each change of any of these.

    Args:
        context: what the user has chosen.
        processFactory: makes a `PlanProcess`; for tests.
    """

    def __init__(self, context: TrainContext, processFactory: Callable = PlanProcess) -> None:
        self.context = context
        self.answer: PlanAnswer | None = None
        self.busy, self.purpose = False, READ
        self.phase, self.fraction, self.secondsLeft = "", None, None
        self.rejected: tuple[str, str, str] | None = None
        self.changed: list[Callable[[], None]] = []
        self._newProcess = processFactory
        self._process: PlanProcess | None = None
        self._asked: PlanQuestion | None = None
        self._dataFolder = ""  # that `answer` is about
        self._proposal: tuple[str, str] | None = None
        self._folder: Path | None = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        self._timer.timeout.connect(self._ask)
        context.changed.append(self._onContextChanged)
        self._onContextChanged()

    @classmethod
    def of(cls, context: TrainContext) -> PlanService:
        """The service that the panels of a context share."""
        if context not in _services:
            _services[context] = cls(context)
        return _services[context]

    def refresh(self) -> None:
        """Ask again although nothing was changed here: files may have."""
        self._asked = None
        self._schedule()

    def estimate(self) -> None:
        """Have the engine do a few steps, to tell how long training takes and how much memory."""
        if self._question().dataFolder:
            self._start(replace(self._question(), estimate=True))

    def propose(self, field: str, value: str) -> None:
        """Try a value of a field of the plan; it is kept in the context if the engine accepts it.

        Args:
            field: of the plan.
            value: as given to `--set`; "" for what the engine chooses itself.
        """
        self.rejected = None
        self._proposal = (field, value)
        self._start(self._question())

    def forgetRejected(self) -> None:
        """The user has seen why an edit was refused."""
        if self.rejected is not None:
            self.rejected = None
            self._notify()

    def cancel(self) -> None:
        """Stop what the engine is doing; what was known stays."""
        self._timer.stop()
        self._stop()
        self._notify()

    def cleanup(self) -> None:
        """Stop for good, and remove what was remembered."""
        self._timer.stop()
        self._stop()
        if self._onContextChanged in self.context.changed:
            self.context.changed.remove(self._onContextChanged)
        self.changed.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        _services.pop(self.context, None)

    def _question(self) -> PlanQuestion:
        """What is to be asked now, with a proposed value in its place."""
        context = self.context
        overrides = dict(context.planOverrides)
        if self._proposal is not None:
            field, value = self._proposal
            overrides.pop(field, None)
            if value:
                overrides[field] = value
        return PlanQuestion(
            dataFolder=os.path.abspath(context.dataFolder) if context.dataFolder else "",
            size=context.size,
            device=context.device,
            modalityNames=tuple(context.modalityNames),
            overrides=tuple(overrides.items()),
        )

    def _onContextChanged(self) -> None:
        question = self._question()
        if question.dataFolder != self._dataFolder:
            self._dataFolder = question.dataFolder
            self._stop()
            self.answer, self.rejected = None, None
            self._notify()
        if question != self._asked:
            self._schedule()

    def _schedule(self) -> None:
        if self.context.dataFolder:
            self._timer.start()

    def _ask(self) -> None:
        question = self._question()
        if question.dataFolder and question != self._asked:
            self._start(question)

    def _start(self, question: PlanQuestion) -> None:
        proposal = self._proposal
        self._stop()
        self._proposal = proposal
        self._timer.stop()
        self._asked = replace(question, estimate=False)
        self.purpose = ESTIMATE if question.estimate else PROPOSE if proposal is not None else READ
        self.busy, self.phase, self.fraction, self.secondsLeft = True, "", None, None
        try:
            self._process = self._newProcess(
                self.context.interpreter(), self._workFolder(), self._onProgress, self._onFinished
            )
            self._process.start(question)
        except (OSError, ValueError, RuntimeError) as error:
            self._onFinished(PlanAnswer(error=_("The engine cannot be asked: {reason}").format(reason=error)))
            return
        self._notify()

    def _stop(self) -> None:
        process, self._process = self._process, None
        self.busy, self._proposal = False, None
        if process is not None:
            self._asked = None
            process.cancel()

    def _onProgress(self, phase: str, fraction: float | None, secondsLeft: float | None) -> None:
        self.phase, self.fraction, self.secondsLeft = phase, fraction, secondsLeft
        self._notify()

    def _onFinished(self, answer: PlanAnswer) -> None:
        proposal, self._proposal = self._proposal, None
        self._process, self.busy = None, False
        if proposal is not None and answer.settingIsWrong:
            self.rejected = (*proposal, answer.error)
            self._asked = self._question()  # the plan that is shown still holds
        else:
            if proposal is not None and not answer.error:
                self._keep(*proposal)
            before = self.answer
            same = before is not None and (before.plan, before.device) == (answer.plan, answer.device)
            if same and not answer.estimates:
                answer.estimates = before.estimates
            self.answer = answer
        self._notify()

    def _keep(self, field: str, value: str) -> None:
        overrides = {name: text for name, text in self.context.planOverrides.items() if name != field}
        if value:
            overrides[field] = value
        self.context.set(planOverrides=overrides)

    def _workFolder(self) -> Path:
        if self._folder is None or not self._folder.is_dir():
            self._folder = Path(tempfile.mkdtemp(prefix="TopoMAE-plan-", dir=slicer.app.temporaryPath))
        return self._folder

    def _notify(self) -> None:
        for callback in list(self.changed):
            try:
                callback()
            except Exception:
                logging.exception("TopoMAETrain: a panel could not follow the plan")
