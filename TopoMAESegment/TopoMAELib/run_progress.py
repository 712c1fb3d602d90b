"""What the events of a run tell about how far it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

_LONGEST = 1e9  # seconds, or steps, that a run may take: more is a damaged line
_MOST_WARNINGS = 1000
_MAIN_PHASES = ("pretrain", "finetune")


@dataclass
class PhaseProgress:
    """How far one phase is; `of` and `secondsLeft` are None where unknown."""

    phase: str
    step: int
    of: int | None
    secondsLeft: float | None

    @property
    def fraction(self) -> float | None:
        """Part that is done, 0 to 1; None if unknown."""
        return min(1.0, self.step / self.of) if self.of else None


@dataclass
class RunProgress:
    """Follows the events of a run.

    Attributes:
        main: the training itself; None before it begins.
        side: what goes on before or between its steps (checking data, validation); None while it trains.
        device: where it computes, in words.
        warnings: what the run said, each once.
        error: its last error event; empty if the newest start met none.
        ended: "ok", "stopped" or "failed" once the newest start has ended, else "".
    """

    main: PhaseProgress | None = None
    side: PhaseProgress | None = None
    device: str = ""
    warnings: list[str] = field(default_factory=list)
    error: dict = field(default_factory=dict)
    ended: str = ""

    @property
    def step(self) -> int:
        """Steps of the training done."""
        return self.main.step if self.main else 0

    @property
    def of(self) -> int | None:
        """Steps of the training in all; None while unknown."""
        return self.main.of if self.main else None

    @property
    def secondsLeft(self) -> float | None:
        """Estimated seconds of training left; None while unknown."""
        return self.main.secondsLeft if self.main else None

    def take(self, event: dict) -> None:
        """Take in one event."""
        kind = event.get("event")
        if kind == "start":
            self.main = self.side = None
            self.error, self.ended = {}, ""
            self.device = str(event.get("device") or "")
        elif kind == "progress":
            self._takeProgress(event)
        elif kind == "warning":
            case = f"{event['case']}: " if event.get("case") else ""
            text = f"{case}{event.get('message', '')}"
            if len(self.warnings) < _MOST_WARNINGS and text not in self.warnings:
                self.warnings.append(text)
        elif kind == "error":
            self.error = event
        elif kind == "end":
            self.ended = str(event.get("status", ""))
            self.side = None

    def _takeProgress(self, event: dict) -> None:
        phase = PhaseProgress(
            phase=str(event.get("phase", "")),
            step=wholeNumber(event.get("step")) or 0,
            of=wholeNumber(event.get("of")),
            secondsLeft=_number(event),
        )
        if phase.phase in _MAIN_PHASES:
            self.main, self.side = phase, None
        else:
            self.side = None if phase.of is not None and phase.step >= phase.of else phase


def parsedEvent(line: str) -> dict | None:
    """The event in a line; None if the line is something else."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def wholeNumber(value: object) -> int | None:
    """A number of steps from a file; None if it can be none."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LONGEST
    return value if known else None


def _number(event: dict) -> float | None:
    value = event.get("seconds_left")
    known = isinstance(value, (int, float)) and 0 <= value < _LONGEST  # false for nan, too
    return float(value) if known else None
