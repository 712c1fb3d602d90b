"""What a run folder tells, as far as it is there: a run may be young, stopped or damaged."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from topomae.bounded_reading import MOST_BYTES, read_text
from topomae.data.plan import Plan
from topomae.errors import TopoMAEError

PREVIEW_KINDS = ("input", "masked", "vit", "unetrpp")
_PREVIEW = re.compile(r"step_(\d+)_(input|masked|vit|unetrpp)\.nii\.gz$")
_MOST_KEY_POINT_BYTES = 1 << 20


@dataclass(frozen=True)
class Preview:
    """Volumes and key points of one step; what is missing is not in the dictionaries.

    Attributes:
        step: training step.
        volumes: "input", "masked", "vit" or "unetrpp" to file.
        key_points: "true", "vit" or "unetrpp" to (9, 3) RAS mm.
    """

    step: int
    volumes: dict[str, Path]
    key_points: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFacts:
    """A run as its folder shows it.

    Attributes:
        folder: of the run.
        plan: None if there is none, or none that can be read.
        curves: (phase, metric) to (steps, values), both (n,) float64, ascending by step; values may be nan.
        previews: ascending by step.
        facts: name and value of what is worth a line (device, versions, time taken ...).
        warnings: sentences that the run said.
    """

    folder: Path
    plan: Plan | None
    curves: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
    previews: tuple[Preview, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def read_run(folder: str | Path) -> RunFacts:
    """Collect what is there. Nothing that is absent or damaged is an error."""
    folder = Path(folder)
    facts, warnings = _read_events(folder / "events.jsonl")
    try:
        plan = Plan.load(folder / "plan.json") if (folder / "plan.json").is_file() else None
    except TopoMAEError as error:
        plan, warnings = None, [*warnings, str(error)]
    return RunFacts(
        folder=folder,
        plan=plan,
        curves=read_curves(folder / "metrics.csv"),
        previews=_find_previews(folder / "previews"),
        facts=tuple(facts),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def read_curves(path: Path) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Read a metrics.csv with the columns step, phase, name, value; incomplete lines are left out."""
    points: dict[tuple[str, str], dict[float, float]] = {}
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        return {}
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:  # one by one, so that a damaged line costs no other
            try:
                step, phase, name, value = next(csv.reader([line.replace("\0", "")]))
                at, height = float(step), float(value)
            except (ValueError, StopIteration, csv.Error):
                continue
            if math.isfinite(at):  # a resumed run may repeat a step: the last one counts
                points.setdefault((phase, name), {})[at] = height
    curves = {}
    for key, values in points.items():
        steps = np.array(sorted(values))
        curves[key] = (steps, np.array([values[step] for step in steps]))
    return curves


def _find_previews(folder: Path) -> tuple[Preview, ...]:
    steps: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.glob("step_*.nii.gz")) if folder.is_dir() else ():
        if (match := _PREVIEW.fullmatch(path.name)) and path.is_file():
            steps.setdefault(int(match[1]), {})[match[2]] = path
    return tuple(
        Preview(step, volumes, _read_key_points(next(iter(volumes.values()))))
        for step, volumes in sorted(steps.items())
    )


def _read_key_points(volume: Path) -> dict[str, np.ndarray]:
    path = volume.with_name(re.sub(r"_[a-z]+\.nii\.gz$", "_keypoints.json", volume.name))
    try:
        content = json.loads(read_text(path, _MOST_KEY_POINT_BYTES))
        points = {name: np.array(content[name], float) for name in ("true", "vit", "unetrpp") if name in content}
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
    return {name: p for name, p in points.items() if p.shape == (9, 3) and np.isfinite(p).all()}


def _read_events(path: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Facts and warnings from the first start to the last end."""
    starts, ends, warnings, times = [], [], [], []
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        return [], []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            event = _parsed(line)
            kind = event.get("event")
            times += [event["time"]] if isinstance(event.get("time"), str) else []
            starts += [event] if kind == "start" else []
            ends += [event] if kind == "end" else []
            if kind in ("warning", "error"):
                case = f"case {event['case']}: " if event.get("case") else ""
                warnings.append(f"{case}{event.get('message', '')}")
    facts = []
    if starts:
        first = starts[0]
        facts += [(name, str(first[name])) for name in ("device", "host") if first.get(name)]
        versions = first.get("versions")
        if isinstance(versions, dict):
            facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if duration := _between(times):
        facts.append(("from first to last event", duration))
    if len(starts) > 1:
        facts.append(("started or resumed", f"{len(starts)} times"))
    if ends:
        facts.append(("ended", str(ends[-1].get("status", ""))))
    return facts, warnings


def _parsed(line: str) -> dict:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _between(times: list[str]) -> str:
    try:
        seconds = (datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])).total_seconds()
    except (IndexError, ValueError, TypeError):
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
