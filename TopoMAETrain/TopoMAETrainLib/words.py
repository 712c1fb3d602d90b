"""What the module says about trainings: states, phases, times, events."""

from __future__ import annotations

from datetime import datetime

from slicer.i18n import tr as _

from TopoMAELib.run_folder import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED
from TopoMAELib.run_progress import PhaseProgress, RunProgress


def stateWords(state: str) -> str:
    """A state of a run folder."""
    words = {
        RUNNING: _("running"),
        STOPPED: _("stopped"),
        FAILED: _("failed"),
        DONE: _("done"),
        INTERRUPTED: _("interrupted"),
    }
    return words.get(state, state)


def kindWords(kind: str) -> str:
    """A kind of run."""
    return {"pretrain": _("pre-training"), "finetune": _("fine-tuning")}.get(kind, kind)


def durationWords(seconds: float) -> str:
    """Seconds as people say them: `12 s`, `3 min 20 s`, `1 h 05 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return _("{seconds} s").format(seconds=seconds)
    if seconds < 3600:
        return _("{minutes} min {seconds:02d} s").format(minutes=seconds // 60, seconds=seconds % 60)
    return _("{hours} h {minutes:02d} min").format(hours=seconds // 3600, minutes=seconds % 3600 // 60)


def phaseWords(phase: PhaseProgress) -> str:
    """What is being done, and how far it is."""
    words = {
        "check data": _("checking the data"),
        "preprocess": _("preparing the volumes"),
        "pretrain": _("pre-training"),
        "finetune": _("fine-tuning"),
        "validate": _("validating"),
    }.get(phase.phase, phase.phase)
    if phase.of is None:
        return _("{what}: step {step}").format(what=words, step=phase.step)
    return _("{what}: step {step} of {of}").format(what=words, step=phase.step, of=phase.of)


def progressWords(progress: RunProgress) -> str:
    """What a running training is at, and how long it will take."""
    if progress.main is None and progress.side is None:
        return _("starting")
    parts = [phaseWords(phase) for phase in (progress.main, progress.side) if phase is not None]
    left = progress.secondsLeft if progress.main is not None else progress.side.secondsLeft
    if left is not None:
        parts.append(_("{time} left").format(time=durationWords(left)))
    return ", ".join(parts)


def eventLine(event: dict) -> str:
    """A line of the log about an event; "" for what is shown elsewhere."""
    text = _eventWords(event)
    return f"{_clock(event.get('time'))}  {text}" if text else ""


def _eventWords(event: dict) -> str:
    kind = event.get("event")
    case = f"{event['case']}: " if event.get("case") else ""
    if kind == "start":
        began = _("going on") if event.get("resuming") else _("started")
        return _("{began}: {device}").format(began=began, device=event.get("device") or "")
    if kind == "note":
        return str(event.get("message", ""))
    if kind == "warning":
        return _("warning: {text}").format(text=f"{case}{event.get('message', '')}")
    if kind == "error":
        return _("error: {text}").format(text=f"{case}{event.get('message', '')} {event.get('hint', '')}".strip())
    if kind == "metric":
        return _("step {step}: {values}").format(step=event.get("step"), values=_valueWords(event.get("values")))
    if kind == "checkpoint":
        return _("step {step}: checkpoint saved").format(step=event.get("step"))
    if kind == "preview":
        return _("step {step}: preview written").format(step=event.get("step"))
    if kind == "end":
        ending = {"ok": _("done"), "stopped": _("stopped"), "failed": _("failed")}
        return ending.get(str(event.get("status")), str(event.get("status")))
    return ""


def _valueWords(values: object) -> str:
    if not isinstance(values, dict):
        return ""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, (int, float)))


def _clock(time: object) -> str:
    try:
        return datetime.fromisoformat(str(time).replace("Z", "+00:00")).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"
